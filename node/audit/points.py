"""Where the replay of one copy stands, kept while it runs, so that an interrupted one goes on (`foedus audit --resume FILE`).

    FILE.points/NAME.point    the newest point: what follows, whole or not at all (written aside, synced, renamed)
    FILE.points/NAME.facts    the index over all entries up to it: u32 length | entry hash 32 | `facts_row`, ...; only appended to

    point:    format, newline | u32 length, heading | state rows: u32 length, key, u32 length, value, ... | names of blocks
              | SHA-256 over all of it
    heading:  JSON: {"of": {...}, "commit", "entries", "signatures", "blocks", "misdeeds", "facts": [bytes, SHA-256],
              "rows", "accepted", "needed": how many}

What the file is believed for, and what not, is told in `taking_up`. `of` names what the point is good for: the copy, by its two
manifests, which cover every file and were compared with them in this run as well; the ledger, by its genesis; the depth; the
program, by its own files. Anything else there, or a byte that is not what the digests say, and the copy is run from its start.

A point is due when EVERY_S have gone by since the last one, and COST_SHARE times what writing that one took. So keeping points
costs a fiftieth of the time however large the state and however slow the disk is, and an interruption costs a second of work,
or a few on a slow disk. Where points lie does not change what an audit says.
"""

import hashlib
import json
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from consensus.codec import decode_proof, encode_proof
from consensus.types import CommitIndex, Digest, Ref, Round, ValidatorIndex
from node.audit.archive import LENGTH_BYTES, REF_BYTES, encode_ref, framed
from node.audit.ordered import NotTakenUp, OrderStand
from node.ledger.errors import MalformedRecord
from node.ledger.plan import AppendPlan, facts_from_row, facts_row
from node.ledger.state_digest import Row
from node.log.merkle import HASH_BYTES
from node.storage.files import OsFiles
from node.treaty.entries import EntryFacts

FORMAT: Final = b"foedus/audit-point/1\n"
POINT_BYTES_MAX: Final = 1 << 30
EVERY_S: Final = 0.5
COST_SHARE: Final = 50
PART: Final = 16_384  # facts that wait to be written, or are read at once
DIGEST_BYTES: Final = 32
READ_BYTES: Final = 1 << 20
_COUNTS: Final = (
    "commit", "entries", "signatures", "blocks", "rows", "accepted", "needed",
)  # fmt: skip

Note = Callable[[str], None]
"""Told what people should know, in a sentence."""

Rows = tuple[tuple[bytes, bytes], ...]
"""(key, value) of the state map."""


def unheard(sentence: str) -> None:
    """Where nobody listens to notes."""
    del sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a replay stood after a commit that appended something."""

    entries: int  # leaves made and compared
    signatures: int  # of entries and endorsements, verified
    order: OrderStand
    needed: tuple[Ref, ...]  # of the blocks beside the committed ones: that some decider rests on
    facts_bytes: int
    facts_digest: bytes
    rows: Rows


class Unfit(Exception):
    """A point is not to be taken up; the text says why."""


# --- a point as bytes ----------------------------------------------------------------------------


def encode_point(point: Point, of: Mapping[str, str]) -> bytes:
    """`of`: what it is good for."""
    order = point.order
    heading = {
        "of": dict(of),
        "commit": order.index,
        "entries": point.entries,
        "signatures": point.signatures,
        "blocks": order.blocks,
        "misdeeds": [encode_proof(proof).hex() for proof in order.misdeeds],
        "facts": [point.facts_bytes, point.facts_digest.hex()],
        "rows": len(point.rows),
        "accepted": len(order.accepted),
        "needed": len(point.needed),
    }
    parts = [FORMAT, framed(json.dumps(heading, sort_keys=True).encode())]
    parts += [framed(part) for row in point.rows for part in row]
    parts += [encode_ref(ref) for ref in (*order.accepted, *point.needed)]
    data = b"".join(parts)
    return data + hashlib.sha256(data).digest()


def decode_point(data: bytes, of: Mapping[str, str]) -> Point:
    """Raises Unfit: damaged, or good for something else than `of`."""
    if not data.startswith(FORMAT):
        raise Unfit("it is of another format")
    body = data[:-DIGEST_BYTES]
    if hashlib.sha256(body).digest() != data[-DIGEST_BYTES:]:
        raise Unfit("it is damaged: its bytes do not have the digest at its end")
    try:
        return _decoded(body, of)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as err:
        raise Unfit(f"it is not of its form: {err}") from err


def _decoded(body: bytes, of: Mapping[str, str]) -> Point:
    head, at = _frame(body, len(FORMAT))
    heading = json.loads(head)
    for name, wanted in of.items():
        held = heading["of"].get(name)
        if held != wanted:
            raise Unfit(f"it is of another {name}: {held}, and this is {wanted}")
    counts = {name: _count(heading[name]) for name in _COUNTS}
    rows = []
    for _ in range(counts["rows"]):
        key, at = _frame(body, at)
        value, at = _frame(body, at)
        rows.append((key, value))
    refs = [_ref(body[place : place + REF_BYTES]) for place in range(at, len(body), REF_BYTES)]
    if len(refs) != counts["accepted"] + counts["needed"]:
        raise ValueError(f"{len(refs)} names of blocks")
    facts_bytes, facts_digest = heading["facts"]
    return Point(
        entries=counts["entries"],
        signatures=counts["signatures"],
        order=OrderStand(
            index=CommitIndex(counts["commit"]),
            accepted=tuple(refs[: counts["accepted"]]),
            blocks=counts["blocks"],
            misdeeds=tuple(decode_proof(bytes.fromhex(proof)) for proof in heading["misdeeds"]),
        ),
        needed=tuple(refs[counts["accepted"] :]),
        facts_bytes=_count(facts_bytes),
        facts_digest=bytes.fromhex(facts_digest),
        rows=tuple(rows),
    )


def _frame(data: bytes, at: int) -> tuple[bytes, int]:
    """What stands there, and where it ends. Raises ValueError."""
    start = at + LENGTH_BYTES
    end = start + int.from_bytes(data[at:start], "big")
    if end > len(data):
        raise ValueError(f"ends inside a part of {end - start} bytes")
    return data[start:end], end


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.40} is no count")
    return value


def _ref(data: bytes) -> Ref:
    if len(data) != REF_BYTES:
        raise ValueError(f"{len(data)} bytes for the name of a block")
    round_, author = struct.unpack(">IH", data[:6])
    return Ref(Round(round_), ValidatorIndex(author), Digest(data[6:]))


# --- the index -----------------------------------------------------------------------------------


class Journal:
    """The facts of all entries so far, on the disk; the digest goes over all of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._waiting: list[EntryFacts] = []

    def take(self, point: Point) -> None:
        """Go on after what this point has. Raises Unfit, OSError."""
        digest = hashlib.sha256()
        left = point.facts_bytes
        with self.path.open("rb") as file:
            while left and (part := file.read(min(left, READ_BYTES))):
                digest.update(part)
                left -= len(part)
        if left or digest.digest() != point.facts_digest:
            raise Unfit("the index beside it is damaged, or of another point")
        self.bytes, self._digest = point.facts_bytes, digest

    def open(self) -> None:
        """To append: what stands beyond the point that was taken, or anything if none was, is cut off. Raises OSError."""
        self._file = self.path.open("r+b" if self.bytes else "w+b")
        self._file.truncate(self.bytes)
        self._file.seek(self.bytes)

    def add(self, plan: AppendPlan) -> None:
        """What a plan appends. Raises OSError."""
        self._waiting += [appended.facts for appended in plan.leaves if appended.facts is not None]
        if len(self._waiting) >= PART:
            self._write()

    def synced(self) -> tuple[int, bytes]:
        """(bytes, digest) of all that was added, on the disk. Raises OSError."""
        assert self._file is not None, "opened before anything is kept"
        self._write()
        self._file.flush()
        os.fsync(self._file.fileno())
        return self.bytes, self._digest.digest()

    def _write(self) -> None:
        assert self._file is not None, "opened before anything is added"
        data = b"".join([framed(facts.entry_hash + facts_row(facts)) for facts in self._waiting])
        self._waiting = []
        self._file.write(data)
        self._digest.update(data)
        self.bytes += len(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def facts_before(path: Path, length: int) -> Iterator[Sequence[EntryFacts]]:
    """The facts in the first `length` bytes of a journal, PART at a time. Raises NotTakenUp, OSError."""
    many: list[EntryFacts] = []
    left, rest = length, b""
    with path.open("rb") as file:
        while left and (part := file.read(min(left, READ_BYTES))):
            left -= len(part)
            data, at = rest + part, 0
            while (
                end := at + LENGTH_BYTES + int.from_bytes(data[at : at + LENGTH_BYTES], "big")
            ) <= len(data):
                row = data[at + LENGTH_BYTES : end]
                at = end
                try:
                    many.append(facts_from_row(row[:HASH_BYTES], row[HASH_BYTES:]))
                except MalformedRecord as err:
                    raise NotTakenUp(f"{path}: {err}") from err
            rest = data[at:]
            yield many
            many = []
    if rest or left:
        raise NotTakenUp(f"{path}: ends {len(rest) + left} bytes before or after a row")


# --- what one replay takes and keeps -------------------------------------------------------------


class Keeping:
    """The points of one copy: the one that an earlier run left, and those of this run."""

    def __init__(
        self,
        base: Path,
        of: Mapping[str, str],
        note: Note,
        *,
        every_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`base`: the paths of its files without their endings. `of`: what the points are good for."""
        self._path = base.with_name(base.name + ".point")
        self._new = base.with_name(base.name + ".new")
        self._of = dict(of)
        self._note = note
        self._every_s = EVERY_S if every_s is None else every_s
        self._clock = clock
        self._journal = Journal(base.with_name(base.name + ".facts"))
        self._due = 0.0
        self._stands: dict[
            int, tuple[OrderStand, tuple[Ref, ...]]
        ] = {}  # by commit: seen by the order, not yet by the law
        self._is_on = False

    def take(self) -> Point | None:
        """What an earlier run left, if it is good for this one; says why if it is not."""
        if not self._path.exists():
            return None
        try:
            point = decode_point(OsFiles().read(self._path, POINT_BYTES_MAX), self._of)
            self._journal.take(point)
        except (Unfit, OSError) as err:
            self.refuse(str(err))
            return None
        return point

    def refuse(self, why: str) -> None:
        """The point is not gone on from: the copy is run from its start."""
        self._note(f"{self._path}: not taken up, the copy is audited from its start: {why}")
        self._stop()
        self._journal = Journal(self._journal.path)

    def earlier(self, point: Point) -> Callable[[], Iterator[Sequence[EntryFacts]]]:
        """The index that was kept with it."""
        return lambda: facts_before(self._journal.path, point.facts_bytes)

    def begin(self) -> None:
        """Keep points from now on, after the one that was taken, if one was."""
        self._is_on = True
        self._due = self._clock() + self._every_s
        self._tried(self._open)

    def _open(self) -> None:
        if not self._journal.bytes:
            self._path.unlink(missing_ok=True)  # before the index that goes with it
        self._journal.open()

    @property
    def is_due(self) -> bool:
        """Whether the order should show where it stands after its next commit."""
        return self._is_on and self._clock() >= self._due

    def seen(self, stand: OrderStand, needed: tuple[Ref, ...] | None) -> None:
        """The order stands here; the law comes to that commit later. `needed` None: something is wrong beside the blocks."""
        if needed is not None:
            self._stands[stand.index] = (stand, needed)
        self._due = self._clock() + self._every_s

    def on_plan(
        self,
        plan: AppendPlan,
        *,
        is_sound: bool,
        signatures: int,
        state: Callable[[], Mapping[Row, bytes]],
    ) -> None:
        """The law has come to this plan, and to this state.

        `is_sound`: nothing is wrong so far, and the plan's record is under a cosigned root.
        """
        if not self._is_on:
            return
        self._tried(lambda: self._journal.add(plan))
        found = self._stands.pop(plan.index, None)
        if found is None or not is_sound or not plan.leaves:
            return
        self._tried(lambda: self._keep(plan, *found, signatures, state))

    def _keep(
        self,
        plan: AppendPlan,
        stand: OrderStand,
        needed: tuple[Ref, ...],
        signatures: int,
        state: Callable[[], Mapping[Row, bytes]],
    ) -> None:
        begun = self._clock()
        facts_bytes, facts_digest = self._journal.synced()
        point = Point(
            entries=plan.tree.size,
            signatures=signatures,
            order=stand,
            needed=needed,
            facts_bytes=facts_bytes,
            facts_digest=facts_digest,
            rows=tuple([(key, value) for (_, key), value in state().items()]),
        )
        files = OsFiles()
        files.write(self._new, encode_point(point, self._of))
        files.rename(self._new, self._path)
        ended = self._clock()
        self._due = max(self._due, ended + COST_SHARE * (ended - begun))

    def _tried(self, work: Callable[[], None]) -> None:
        """An audit does not end because nothing can be kept of it."""
        try:
            work()
        except OSError as err:
            self._note(f"{self._path}: no points are kept any more: {err}")
            self._stop()

    def _stop(self) -> None:
        self._is_on = False
        self._stands = {}
        self._journal.close()

    def forget(self) -> None:
        """The copy is done. Raises OSError."""
        for path in (self._path, self._new, self._journal.path):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
