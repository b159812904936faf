"""Outboxes: what an author has signed, on disk before the signature leaves (RULINGS R28).

Two different entries with one `seq` are equivocation, the worst an author can do. So there is one outbox per author; it says what
the chain's last entry is, and it is written, file and folder flushed, before anybody gets the entry.

    <outbox>/<first 16 hex digits of the ledger id>/<author>/
      lock           held while a process signs for this author
      tip            the last entry signed: the truth about the chain
      00000007.entry  the signed bytes, kept until they are final, so that a crash or a deaf node costs nothing
      00000007.KE.ack what node KE promised about it: evidence against that node if it breaks its word
      endorsed       one line for each content that others endorsed: its hash and seq

The ledger accepts an endorsed content once (R14). Said twice, the second entry would never be included, and nothing after it
could be; so `said` tells before anything is signed.

The order is entry, then tip. A crash between the two leaves an entry that `tip` does not know: it never left, and the next
one takes its place. A crash after leaves an entry that can be sent again, byte for byte.
"""

import fcntl
import os
import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from node.cli.errors import OutboxBehind, OutboxBusy, OutboxDamaged, OutboxError
from node.log import cose
from node.log.errors import MalformedStatement
from node.log.tiles import ENTRY_BYTES_MAX
from node.signing.statements import FIRST_PREV, entry_hash
from node.treaty.bodies import is_name
from node.treaty.entries import ParsedEntry
from node.treaty.errors import MalformedContent
from node.treaty.parsing import parse_entry

_MAGIC: Final = "foedus-outbox/1"
_TIP_BYTES_MAX: Final = 1024
_TIP = re.compile(
    rf"{_MAGIC}\nledger ([0-9a-f]{{64}})\nauthor (\S+)\nseq (0|[1-9][0-9]{{0,15}})\nhash ([0-9a-f]{{64}})\n"
)
_ENTRY_NAME = re.compile(r"([0-9]{8,16})\.entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The last entry of a chain: seq 0 and 32 zero bytes before the first."""

    seq: int = 0
    entry_hash: bytes = FIRST_PREV


class Outbox(Protocol):
    """Where an author's chain stands, and what makes it move."""

    @property
    def tip(self) -> Tip:
        """The last entry signed."""

    def record(self, entry: bytes, *, endorsed_content: bytes | None) -> None:
        """Make this entry the chain's next, for good: it is durable on return, and only then may it leave.

        `endorsed_content` is the hash of its content if others endorsed it.
        """

    def said(self, content_hash: bytes) -> int | None:
        """The seq of the last entry with this endorsed content."""

    def adopt(self, tip: Tip) -> None:
        """Go on from where the ledger's chain of this author stands. Never back: raises OutboxBehind."""


class MemoryOutbox:
    """For authors who live no longer than their process: demonstrations, load generators, tests."""

    def __init__(self, tip: Tip | None = None) -> None:
        self.tip = tip or Tip()
        self._endorsed: dict[bytes, int] = {}  # grows with what this process says, and ends with it

    def record(self, entry: bytes, *, endorsed_content: bytes | None) -> None:
        self.tip = Tip(seq=self.tip.seq + 1, entry_hash=entry_hash(entry))
        if endorsed_content is not None:
            self._endorsed[endorsed_content] = self.tip.seq

    def said(self, content_hash: bytes) -> int | None:
        return self._endorsed.get(content_hash)

    def adopt(self, tip: Tip) -> None:
        _only_forward(self.tip, tip)
        self.tip = tip


class FileOutbox:
    """The outbox of one author on one ledger. Blocks on the disk's flush, about 1 ms a call; one process at a time."""

    def __init__(self, folder: Path, *, ledger: bytes, author: str) -> None:
        """Opens or makes the outbox, and locks it. Raises OutboxBusy, OutboxDamaged, OSError."""
        if not is_name(author):
            raise OutboxError(f"author {author!r}: no party id")
        self.folder = folder / ledger.hex()[:16] / author
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._ledger, self._author = ledger, author
        self._lock = _locked(self.folder / "lock", author)
        try:
            self._tip = self._read_tip()
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others sign for this author."""
        os.close(self._lock)

    @property
    def tip(self) -> Tip:
        return self._tip

    def record(self, entry: bytes, *, endorsed_content: bytes | None) -> None:
        following = Tip(seq=self._tip.seq + 1, entry_hash=entry_hash(entry))
        write_durably(self._entry_path(following.seq), entry)
        if endorsed_content is not None:
            self._note_endorsed(endorsed_content, following.seq)
        self._write_tip(following)

    def said(self, content_hash: bytes) -> int | None:
        wanted = content_hash.hex()
        found: int | None = None
        try:
            with (self.folder / "endorsed").open(encoding="ascii", errors="replace") as file:
                for line in file:
                    digest, _, seq = line.rstrip("\n").partition(" ")
                    # A crash may leave a seq that the chain gave to something else, or half a line.
                    if digest == wanted and seq.isdigit() and int(seq) <= self._tip.seq:
                        found = int(seq)
        except FileNotFoundError:
            return None
        return found

    def replace_last(self, entry: bytes) -> None:
        """The chain's last entry, said again with the same content: more endorsements, or another key (RULINGS R28).

        The ledger takes such a pair for one entry. With another content it would be equivocation: raises OutboxError.
        """
        parsed = parsed_entry(entry)
        last = self._entry_path(self._tip.seq)
        try:
            standing = parsed_entry(last.read_bytes())
        except FileNotFoundError:
            raise OutboxError(f"{last}: gone: it is final, or was never signed here") from None
        if (parsed.seq, parsed.content_hash) != (standing.seq, standing.content_hash):
            raise OutboxError(
                f"seq {standing.seq} of {self._author} says something else: what was signed cannot be taken back,"
                " only said again with the same content"
            )
        write_durably(last, entry)
        self._write_tip(Tip(seq=parsed.seq, entry_hash=entry_hash(entry)))

    def adopt(self, tip: Tip) -> None:
        _only_forward(self._tip, tip)
        self._write_tip(tip)

    def waiting(self, first_seq: int) -> list[bytes]:
        """Kept entries from this seq on, ascending: those to send again. Raises OutboxDamaged."""
        found: list[bytes] = []
        for seq in self._kept():
            if not first_seq <= seq <= self._tip.seq:
                continue
            path = self._entry_path(seq)
            data = path.read_bytes()
            if not 0 < len(data) <= ENTRY_BYTES_MAX:
                raise OutboxDamaged(f"{path}: {len(data)} bytes are no entry")
            found.append(data)
        return found

    def keep_acknowledgement(self, seq: int, node: str, acknowledgement: bytes) -> Path:
        """Keep a node's signed promise; the newest stands."""
        path = self.folder / f"{seq:08d}.{node}.ack"
        write_durably(path, acknowledgement)
        return path

    def forget_final(self, seq: int) -> None:
        """Entries up to this one are final: their bytes are on the ledger. Acknowledgements stay."""
        for kept in self._kept():
            if kept <= seq:
                self._entry_path(kept).unlink(missing_ok=True)

    def _note_endorsed(self, content_hash: bytes, seq: int) -> None:
        with (self.folder / "endorsed").open("a", encoding="ascii") as file:
            file.write(f"{content_hash.hex()} {seq}\n")
            file.flush()
            os.fsync(file.fileno())

    def _kept(self) -> list[int]:
        matches = (_ENTRY_NAME.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match is not None)

    def _entry_path(self, seq: int) -> Path:
        return self.folder / f"{seq:08d}.entry"

    def _read_tip(self) -> Tip:
        path = self.folder / "tip"
        try:
            with path.open("rb") as file:
                data = file.read(_TIP_BYTES_MAX)
        except FileNotFoundError:
            return Tip()
        match = _TIP.fullmatch(data.decode("utf-8", "replace"))
        if match is None:
            raise OutboxDamaged(
                f"{path}: not an outbox's tip: restore it, or move the folder away and take the chain"
                " from the ledger with --adopt if nothing signed here is still on its way"
            )
        ledger, author, seq, digest = match.groups()
        if (ledger, author) != (self._ledger.hex(), self._author):
            raise OutboxDamaged(f"{path}: of author {author} on ledger {ledger[:16]}: moved here?")
        return self._after_replacement(Tip(seq=int(seq), entry_hash=bytes.fromhex(digest)))

    def _after_replacement(self, tip: Tip) -> Tip:
        """A crash inside `replace_last` leaves the new bytes of the last entry under the old tip: they stand."""
        path = self._entry_path(tip.seq)
        try:
            entry = path.read_bytes()
        except FileNotFoundError:
            return tip
        if entry_hash(entry) == tip.entry_hash:
            return tip
        try:
            seq = parsed_entry(entry).seq
        except (MalformedStatement, MalformedContent) as err:
            raise OutboxDamaged(f"{path}: {err}: restore the folder from one copy") from err
        if seq != tip.seq:
            raise OutboxDamaged(f"{path}: holds seq {seq}: restore the folder from one copy")
        return Tip(seq=seq, entry_hash=entry_hash(entry))

    def _write_tip(self, tip: Tip) -> None:
        text = (
            f"{_MAGIC}\nledger {self._ledger.hex()}\nauthor {self._author}\n"
            f"seq {tip.seq}\nhash {tip.entry_hash.hex()}\n"
        )
        write_durably(self.folder / "tip", text.encode())
        self._tip = tip


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """The file holds exactly these bytes, also after a power loss; a crash on the way leaves the old file."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def parsed_entry(entry: bytes) -> ParsedEntry:
    """What a signed entry says; its signature is not looked at. Raises MalformedStatement, MalformedContent."""
    payload = cose.parse_entry(entry).payload
    assert payload is not None, "parse_entry gives no detached one"
    return parse_entry(payload)


def _only_forward(own: Tip, other: Tip) -> None:
    if other.seq < own.seq:
        raise OutboxBehind(
            f"the outbox is at seq {own.seq}, the chain to adopt at {other.seq}: going back would sign a seq twice"
        )


def _locked(path: Path, author: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OutboxBusy(
            f"{path}: another process signs for {author} now: wait until it has ended"
        ) from None
    return descriptor
