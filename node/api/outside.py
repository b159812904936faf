"""Asking outside witnesses to cosign this ledger (c2sp.org/tlog-witness, FORMATS 1.6 and 8).

Each round takes the newest final checkpoint, with this node's log line alone, and asks every witness of the setting `witness.ask`
for its line over it, proving that it extends what that witness holds:

    old 0          → 409 "700"       it holds 700 entries already
    old 700, proof → 200 "— igo..."  its line is verified and kept, durable

What came together for one checkpoint is one note: own log line, the states' cosignatures, the outside lines. Of each number of
outside lines the newest such note is kept and served, so that a witness which falls silent makes nobody's older proof worse.

A witness decides nothing here: consensus and finality never wait for one, whatever it answers is bounded in bytes and time and
told in the log, and who fails again and again is asked less often. To a 422, the answer to a proof that does not lead from what
it holds, the node asks for the note that it holds, as monitors do. If a member's log key signed that, and this node's log has
another root there, the note is kept and the operator told by an alarm: somebody showed it another history. `foedus monitor
--witness` then compares all nodes with it, and writes the evidence.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from node.api.exchange import BadUrl, get, parse_url, post
from node.ledger.errors import LedgerError
from node.ledger.finality import LEAN_LINES_MAX, Finality
from node.ledger.ledger import Ledger
from node.log.checkpoint import Checkpoint, parse_checkpoint
from node.log.cosignature import line_check, open_checkpoint
from node.log.errors import MalformedInput, MalformedPolicy, Untrusted
from node.log.note import NOTE_BYTES_MAX, Note, SignatureLine, VerifierKey, open_note, parse_note
from node.log.policy import POLICY_BYTES_MAX, PolicyWitness, parse_policy
from node.log.witness import encode_request, held_size, witness_line
from node.settings import BadSettings, Settings
from node.signing.checkpoints import log_vkey
from node.signing.verify import mldsa_check, verify_ed25519
from node.storage.errors import StorageError
from node.storage.files import Files, OsFiles
from node.telemetry import event

WITNESSES_MAX: Final = 32  # with the states' lines, a note stays below what other readers take
ANSWER_S: Final = 20.0
ANSWER_BYTES_MAX: Final = 64 * 1024
TRIES_MAX: Final = 3  # of one round: others may ask the same witness at the same time
ROUNDS_RESTED_MAX: Final = 32
WHY_CHARACTERS: Final = 200
_log = logging.getLogger("foedus.witness")


class NoLine(Exception):
    """A witness gave no line: says why."""


@dataclass(slots=True)
class _Standing:
    """How one witness stands."""

    size: int = 0  # what it holds, as far as known
    failures: int = 0
    rest: int = 0  # rounds in which it is not asked
    why: str = ""


class OutsideWitnesses:
    """Used from the node's event loop; `run` is one task of the node for its whole life."""

    def __init__(
        self,
        ledger: Ledger,
        finality: Finality,
        witnesses: Sequence[PolicyWitness],
        folder: Path,
        *,
        every_s: int,
        files: Files | None = None,
    ) -> None:
        """Reads `folder`, which is made if it is not there. Raises OSError."""
        assert len(witnesses) <= WITNESSES_MAX, f"{len(witnesses)} witnesses"
        self._ledger = ledger
        self._finality = finality
        self._witnesses = tuple(witnesses)
        self._folder = folder
        self._every_s = every_s
        self._files = files or OsFiles()
        self._check = line_check(verify_ed25519, mldsa_check())
        self._standings = {witness.name: _Standing() for witness in witnesses}
        self._text = b""  # of the checkpoint that `_lines` are for
        self._lines: dict[VerifierKey, SignatureLine] = {}
        self._alarms: dict[str, str] = {}  # by witness: what it was shown
        self._notes: dict[int, Note] = {}  # by number of outside lines: the newest with so many
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for count in range(1, len(witnesses) + 1):
            self._load(count)

    def note(self, at_least: int = 1) -> Note | None:
        """The newest checkpoint with lines of so many outside witnesses; None: there is none."""
        return self._notes.get(at_least)

    @property
    def alarms(self) -> list[str]:
        """What an operator must look at, one sentence each."""
        return list(self._alarms.values())

    @property
    def size(self) -> int:
        """Entries of the newest checkpoint that an outside witness cosigned."""
        note = self._notes.get(1)
        return 0 if note is None else parse_checkpoint(note.text).size

    async def run(self) -> None:
        """For ever, from the first final checkpoint on."""
        await self._finality.wait_past(0)
        while True:
            await self.round()
            await asyncio.sleep(self._every_s)

    async def round(self) -> None:
        """Ask each witness that is not at rest, all at once."""
        note = self._finality.final_note(max(self._finality.quorum, LEAN_LINES_MAX))
        if note is None:
            return
        checkpoint = parse_checkpoint(note.text)
        asked = Note(text=note.text, lines=note.lines[:1])  # the own log line
        due = [witness for witness in self._witnesses if self._is_due(witness)]
        found = await asyncio.gather(*(self._one(w, asked, checkpoint) for w in due))
        if note.text != self._text:
            self._text, self._lines = note.text, {}
        for witness, line in zip(due, found, strict=True):
            if line is not None:
                self._lines[witness.key] = line
        if any(found):
            outside = tuple(self._lines.values())
            await self._keep(Note(text=note.text, lines=(*note.lines, *outside)), len(outside))

    def _is_due(self, witness: PolicyWitness) -> bool:
        standing = self._standings[witness.name]
        if standing.rest:
            standing.rest -= 1
            return False
        return True

    async def _one(
        self, witness: PolicyWitness, asked: Note, checkpoint: Checkpoint
    ) -> SignatureLine | None:
        """Its line; None: it is told why not, once for each reason."""
        standing = self._standings[witness.name]
        try:
            line = await self._ask(witness, standing, asked, checkpoint)
        except (NoLine, OSError, LedgerError, StorageError, MalformedInput, Untrusted) as err:
            why = f"{err or type(err).__name__}"[:WHY_CHARACTERS]
            standing.failures += 1
            standing.rest = min(2 ** min(standing.failures - 1, 16) - 1, ROUNDS_RESTED_MAX)
            if why != standing.why:
                event(
                    _log,
                    "no line by an outside witness",
                    level=logging.WARNING,
                    witness=witness.name,
                    size=checkpoint.size,
                    why=why,
                )
            standing.why = why
            return None
        if standing.why:
            event(_log, "outside witness is back", witness=witness.name, size=checkpoint.size)
        standing.failures, standing.why = 0, ""
        return line

    async def _ask(
        self, witness: PolicyWitness, standing: _Standing, asked: Note, checkpoint: Checkpoint
    ) -> SignatureLine:
        """Raises what `_one` tells."""
        url = f"{(witness.url or '').rstrip('/')}/add-checkpoint"
        for _ in range(TRIES_MAX):
            if standing.size > checkpoint.size:
                held, standing.size = standing.size, 0  # or a lie would be believed for ever
                raise NoLine(f"it holds {held} entries: {checkpoint.size} are final here")
            proof = []
            if 0 < standing.size < checkpoint.size:
                proof = self._ledger.consistency_proof(standing.size, checkpoint.size)
            body = encode_request(standing.size, proof, asked)
            status, answer = await post(url, body, seconds=ANSWER_S, bytes_max=ANSWER_BYTES_MAX)
            if status == 200:
                line = witness_line(asked.text, answer, witness.key, self._check)
                standing.size = checkpoint.size
                return line
            size = held_size(answer) if status == 409 else None
            if size is None or size == standing.size:
                standing.size = 0
                why = f"it answers {status}: {answer[:80]!r}"
                raise NoLine(why + (await self._compare(witness) if status == 422 else ""))
            standing.size = size
        raise NoLine(f"it answers 409 {TRIES_MAX} times")

    # What it was shown instead

    async def _compare(self, witness: PolicyWitness) -> str:
        """Raise the alarm if the note that it holds is of another history; else why that cannot be told."""
        try:
            await self._look(witness)
        except (OSError, LedgerError, StorageError, MalformedInput, Untrusted) as err:
            return f"; its own note: {err}"
        return ""

    async def _look(self, witness: PolicyWitness) -> None:
        origin = self._ledger.genesis.origin
        path = f"{sha256(origin.encode()).hexdigest()}/checkpoint"
        url = f"{(witness.url or '').rstrip('/')}/{path}"
        status, note = await get(url, seconds=ANSWER_S, bytes_max=2 * NOTE_BYTES_MAX)
        states = self._against(witness, note) if status == 200 else ()
        if not states or witness.name in self._alarms:
            return
        kept = self._folder / f"{witness.key.key_id.hex()}.against"
        size = parse_checkpoint(parse_note(note).text).size
        why = (
            f"outside witness {witness.name} was shown another log of {size} entries, signed by the log key of"
            f" {', '.join(states)}: {kept} is its note, and `foedus monitor --witness` compares all nodes with it"
        )
        self._alarms[witness.name] = why
        event(_log, "another history", level=logging.ERROR, witness=witness.name, why=why)
        await asyncio.to_thread(self._files.write, kept, note)

    def _against(self, witness: PolicyWitness, note: bytes) -> tuple[str, ...]:
        """Whose log key signed what this node's log contradicts; nobody's, if the note says nothing of the kind.

        Raises MalformedInput, Untrusted: a line is bad, or none counts.
        """
        size = parse_checkpoint(parse_note(note).text).size
        epochs = [epoch for epoch in self._ledger.epochs if epoch.after_size < size]
        if not epochs or size > self._finality.final_size:
            return ()
        origin = self._ledger.genesis.origin
        keys = {log_vkey(origin, member.log_key): member.state for member in epochs[-1].members}
        opened = open_checkpoint(note, [witness.key, *keys], verify_ed25519, mldsa_check())
        is_ours = opened.checkpoint.root == self._ledger.root_at(size)
        if opened.checkpoint.origin != origin or is_ours or witness.key not in opened.signers:
            return ()
        return tuple(keys[key] for key in opened.signers if key in keys)

    # What is kept

    async def _keep(self, note: Note, count: int) -> None:
        """The newest for each number of lines up to `count`: shown once it is durable."""
        try:
            for number in range(1, count + 1):
                await asyncio.to_thread(self._write, number, bytes(note))
                self._notes[number] = note
        except OSError as err:
            why = f"{self._folder}: {err}"
            event(_log, "witnessed checkpoint not kept", level=logging.ERROR, why=why)

    def _write(self, number: int, note: bytes) -> None:
        path = self._folder / str(number)
        fresh = path.with_suffix(".new")
        self._files.write(fresh, note)
        self._files.rename(fresh, path)

    def _load(self, number: int) -> None:
        """What an earlier run kept, if it is still a checkpoint of this log with so many of these witnesses' lines."""
        try:
            data = self._files.read(self._folder / str(number), NOTE_BYTES_MAX)
        except FileNotFoundError:
            return
        try:
            note = parse_note(data)
            checkpoint = parse_checkpoint(note.text)
            keys = [witness.key for witness in self._witnesses]
            held = len(open_note(note, keys, self._check))
            is_ours = checkpoint.origin == self._ledger.genesis.origin
            if not is_ours or self._ledger.root_at(checkpoint.size) != checkpoint.root:
                raise NoLine("it is of another log than this node holds")
            if held < number:
                raise NoLine(f"{held} of these witnesses cosigned it: want {number}")
        except (MalformedInput, Untrusted, NoLine, LedgerError, StorageError) as err:
            why = f"{self._folder / str(number)}: {err}: left aside; it is gathered anew"
            event(_log, "witnessed checkpoint not shown", level=logging.WARNING, why=why)
            return
        self._notes[number] = note


def read_asked_witnesses(settings: Settings) -> tuple[PolicyWitness, ...]:
    """Whom the settings name; none if no file is named. Raises BadSettings."""
    path = settings.asked_witnesses_path
    if path is None:
        return ()
    where = f"witness.ask: {path}"
    try:
        with path.open("rb") as file:
            policy = parse_policy(file.read(POLICY_BYTES_MAX + 1))
        for witness in policy.witnesses:
            parse_url(witness.url or "")
    except OSError as err:
        raise BadSettings(f"{where}: {err.strerror}") from err
    except (MalformedPolicy, BadUrl) as err:
        raise BadSettings(f"{where}: {err}") from err
    if not 0 < len(policy.witnesses) <= WITNESSES_MAX:
        count = len(policy.witnesses)
        raise BadSettings(f"{where}: {count} witnesses: want 1 to {WITNESSES_MAX}")
    return policy.witnesses
