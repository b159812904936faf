"""The witness API: c2sp.org/tlog-witness over HTTP (FORMATS 8, RULINGS R40).

    POST /witness/add-checkpoint                        cosign a checkpoint that extends the one held; see `node.log.witness`
    GET  /witness/<hex SHA-256 of origin>/checkpoint    the newest note cosigned here for that origin; 404 if there is none

Other people's logs are those of the setting `witness.logs`. They are cosigned with the witness key, which signs nothing else and
no checkpoint of this ledger: a cosignature here says "consistent with all I saw before", one by the cosigner key says "executed
and stored" (RULINGS R46). For this ledger's own origin no request makes a signature: the line made already is shown, or none.

Of each origin one file is kept, the cosigned note. It is on the disk before the line leaves, one request at a time. A file that
cannot be read or verified stops the cosigning of its origin, as an older size must never be cosigned again as if it were new.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from node.api.bodies import read_body
from node.api.node import ServedNode
from node.ledger.cosigned import note_lines
from node.log.checkpoint import Checkpoint
from node.log.cosignature import open_checkpoint
from node.log.errors import MalformedInput, MalformedPolicy, Untrusted
from node.log.note import NOTE_BYTES_MAX, Note, VerifierKey
from node.log.policy import POLICY_BYTES_MAX, parse_policy
from node.log.witness import (
    NOTHING_HELD,
    REQUEST_BYTES_MAX,
    Answer,
    Held,
    decide,
    decide_own,
    parse_request,
)
from node.settings import BadSettings, Settings
from node.signing.checkpoints import log_vkey, sign_witness_line, witness_vkey
from node.signing.keys import NodeKeys, SigningKey
from node.signing.verify import verify_ed25519, verify_mldsa44
from node.storage.files import Files, OsFiles
from node.telemetry import event

LOGS_MAX: Final = 256  # other people's logs: a file and a note in memory for each
NOTE_TYPE: Final = "text/plain; charset=utf-8"
NO_STORE: Final = {"cache-control": "no-store"}
_log = logging.getLogger("foedus.witness")


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessKeys:
    """Whose checkpoints are cosigned, and with what."""

    key: SigningKey  # of role WITNESS
    vkey: VerifierKey
    logs: Mapping[str, tuple[VerifierKey, ...]]  # by origin


class WitnessBook:
    """What was cosigned for other people's logs: the newest of each, on the disk and here."""

    def __init__(self, keys: WitnessKeys, folder: Path, files: Files | None = None) -> None:
        """Reads `folder`, which is made if it is not there. Raises OSError."""
        assert len(keys.logs) <= LOGS_MAX, f"{len(keys.logs)} logs"
        self._keys = keys
        self._folder = folder
        self._files = files or OsFiles()
        self._lock = asyncio.Lock()
        self._notes: dict[str, Note] = {}
        self._held: dict[str, Held] = {}
        self._stopped: dict[str, str] = {}  # origin -> why
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for origin in keys.logs:
            self._load(origin)

    def note(self, origin_hash: str) -> Note | None:
        """The newest cosigned note of the origin with this SHA-256, in hex."""
        return next(
            (note for origin, note in self._notes.items() if name_of(origin) == origin_hash), None
        )

    async def add(self, body: bytes, clock_s: Callable[[], int]) -> Answer:
        """Look up, decide and persist as one step. Raises OSError if the disk refuses: then nothing is cosigned."""
        async with self._lock:
            answer = decide(
                body,
                logs=self._keys.logs,
                held=self._held,
                verify=verify_ed25519,
                verify_mldsa=verify_mldsa44,
            )
            if answer.cosign is None:
                return answer
            origin = answer.cosign.origin
            if origin in self._stopped:
                return Answer(status=503, body=f"{self._stopped[origin]}\n".encode())
            return await self._cosign(parse_request(body).note, answer.cosign, clock_s())

    async def _cosign(self, note: Note, checkpoint: Checkpoint, now_s: int) -> Answer:
        known = {(key.name, key.key_id) for key in self._keys.logs[checkpoint.origin]}
        logs = tuple(line for line in note.lines if (line.name, line.key_id) in known)
        line = sign_witness_line(self._keys.key, self._keys.vkey, checkpoint, now_s)
        kept = Note(text=note.text, lines=(*logs, line))
        await asyncio.to_thread(self._write, checkpoint.origin, bytes(kept))
        self._take(kept, checkpoint)
        return Answer(status=200, body=str(line).encode())

    def _take(self, note: Note, checkpoint: Checkpoint) -> None:
        self._notes[checkpoint.origin] = note
        self._held[checkpoint.origin] = Held(size=checkpoint.size, root=checkpoint.root)

    def _write(self, origin: str, note: bytes) -> None:
        path = self._folder / name_of(origin)
        fresh = path.with_suffix(".new")
        self._files.write(fresh, note)
        self._files.rename(fresh, path)

    def _load(self, origin: str) -> None:
        path = self._folder / name_of(origin)
        try:
            data = self._files.read(path, NOTE_BYTES_MAX)
        except FileNotFoundError:
            self._held[origin] = NOTHING_HELD
            return
        try:
            opened = open_checkpoint(data, [self._keys.vkey], verify_ed25519)
            if opened.checkpoint.origin != origin:
                raise MalformedInput(f"it is of {opened.checkpoint.origin}")
        except (MalformedInput, Untrusted) as err:
            remedy = "restore it, or have that log's operators take this witness out"
            why = f"{path}: not a note that this node cosigned: {err}: {remedy}"
            self._stopped[origin] = why
            event(_log, "witness stopped", level=logging.ERROR, origin=origin, why=why)
            return
        self._take(opened.note, opened.checkpoint)


def name_of(origin: str) -> str:
    """How an origin stands in paths: hex SHA-256."""
    return sha256(origin.encode()).hexdigest()


class WitnessFace:
    """The HTTP handlers. `book` None: this node is a witness of its own ledger alone."""

    def __init__(self, node: ServedNode, book: WitnessBook | None) -> None:
        self._node = node
        self._book = book
        self._own_origin = node.ledger.genesis.origin

    def routes(self) -> list[Route]:
        return [
            Route("/witness/add-checkpoint", self.add_checkpoint, methods=["POST"]),
            Route("/witness/{origin_hash}/checkpoint", self.checkpoint),
        ]

    async def add_checkpoint(self, request: Request) -> Response:
        try:
            body = await read_body(request, REQUEST_BYTES_MAX)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            why = f"the body has more than {REQUEST_BYTES_MAX} bytes\n"
            return PlainTextResponse(why, 413, headers=NO_STORE)
        answer = await self._answer(body)
        # As a header: a media type of text gets "; charset=utf-8" here, and witness clients compare the whole.
        headers = {**NO_STORE, "content-type": answer.content_type}
        return Response(answer.body, answer.status, headers)

    async def _answer(self, body: bytes) -> Answer:
        try:
            origin = parse_request(body).checkpoint.origin
        except MalformedInput as err:
            return Answer(status=400, body=f"{err}\n".encode("utf-8", "backslashreplace"))
        if origin == self._own_origin:
            return decide_own(
                body,
                log_keys=self._own_log_keys(),
                own_size=self._own_size(),
                made=self._own_line,
                verify=verify_ed25519,
            )
        if self._book is None:
            return Answer(status=404, body=b"no logs but its own are witnessed here\n")
        try:
            return await self._book.add(body, self._node.clock_s)
        except OSError as err:
            return Answer(status=503, body=f"cannot be kept, so not cosigned: {err}\n".encode())

    async def checkpoint(self, request: Request) -> Response:
        wanted = request.path_params["origin_hash"]
        if wanted == name_of(self._own_origin):
            note = self._node.finality.lean_note()
        else:
            note = None if self._book is None else self._book.note(wanted)
        if note is None:
            why = f"no checkpoint of an origin with SHA-256 {wanted[:64]} was cosigned here\n"
            return PlainTextResponse(why, 404, headers=NO_STORE)
        return Response(bytes(note), headers={"cache-control": "max-age=1"}, media_type=NOTE_TYPE)

    # This ledger's own origin

    def _own_log_keys(self) -> list[VerifierKey]:
        """Of every epoch: an older checkpoint is known by the keys of its time."""
        found = {
            member.log_key: log_vkey(self._own_origin, member.log_key)
            for epoch in self._node.ledger.epochs
            for member in epoch.members
        }
        return list(found.values())

    def _own_size(self) -> int:
        own = self._node.finality.newest_own()
        return 0 if own is None else own.size

    def _own_line(self, size: int) -> tuple[bytes, bytes] | None:
        epoch = next(
            (each for each in reversed(self._node.ledger.epochs) if each.after_size < size), None
        )
        own = None if epoch is None else epoch.index_of(self._node.state)
        if epoch is None or own is None:
            return None
        for line in self._node.finality.lines(size):
            if line.member == own:
                (shown,) = note_lines(self._own_origin, epoch.members, [line])
                return line.root, str(shown).encode()
        return None


def read_witness_keys(settings: Settings, keys: NodeKeys, own_origin: str) -> WitnessKeys | None:
    """Whose logs the settings name; None if no file is named. Raises BadSettings."""
    path = settings.witnessed_logs_path
    if path is None:
        return None
    where = f"witness.logs: {path}"
    if keys.witness is None:
        raise BadSettings(
            f"{where}: the key file has no witness key, as those of earlier versions: leave witness.logs empty, or make new keys"
        )
    try:
        with path.open("rb") as file:
            policy = parse_policy(file.read(POLICY_BYTES_MAX + 1))
    except OSError as err:
        raise BadSettings(f"{where}: {err.strerror}") from err
    except MalformedPolicy as err:
        raise BadSettings(f"{where}: {err}") from err
    logs: dict[str, tuple[VerifierKey, ...]] = {}
    for log in policy.logs:
        logs[log.key.name] = (*logs.get(log.key.name, ()), log.key)
    if own_origin in logs:
        raise BadSettings(f"{where}: {own_origin} is this node's own ledger: take its line out")
    if not logs or len(logs) > LOGS_MAX:
        raise BadSettings(f"{where}: {len(logs)} logs: want 1 to {LOGS_MAX}")
    vkey = witness_vkey(own_origin, keys.state, keys.witness.public)
    return WitnessKeys(key=keys.witness, vkey=vkey, logs=logs)
