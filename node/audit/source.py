"""What a history is read from: a node's store, an archive, a running node. Three ways to the same questions.

A source answers by index or name, raises `Lost` for a part that is not there or cannot be read, and judges nothing: what
it hands out is what is there. Only form is its business: a tile of the wrong length is lost, a wrong hash is not.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from consensus.types import Ref
from node.ledger.cosigned import Cosigned, note_lines
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import Genesis
from node.log.checkpoint import Checkpoint
from node.log.cosignature import SIGNATURE_BYTES, TIMESTAMP_BYTES, TIMESTAMP_MAX
from node.log.note import KeyType, Note, SignatureLine, signature_line
from node.reporting import CouldNot
from node.signing.checkpoints import cosigner_vkey, log_vkey, mldsa_cosigner_vkey

ED25519_SIGNATURE: Final = SIGNATURE_BYTES[KeyType.COSIGNATURE]
SECOND_SIGNATURE: Final = SIGNATURE_BYTES[KeyType.MLDSA_COSIGNATURE]
_TABLE: Final = re.compile(r"table file ([0-9]+)")  # how RocksDB names one whose inside it doubts
_DATABASE_FILE: Final = re.compile(r"[0-9]{6,}\.(?:sst|log|blob)|MANIFEST-[0-9]+|CURRENT")


TrustAt = Callable[[int], Genesis]
"""Log size -> the genesis with the members who cosign it (`epochs.Trust.at`)."""


class Lost(Exception):
    """A part of a source is missing, unreadable, or not of its form. `file` says where it was, if that is known."""

    def __init__(self, why: str, file: str | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.file = file


class CannotAudit(CouldNot):
    """Nothing is known about the history: no such folder, another ledger, no answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A checkpoint and the lines that came with it; nothing is verified yet."""

    checkpoint: Checkpoint
    lines: tuple[Cosigned, ...]  # cosignatures, by whom they name
    second: tuple[Cosigned, ...] = ()  # ML-DSA-44 ones, likewise
    log_lines: tuple[tuple[int, bytes], ...] = ()  # (member, signature) of log keys
    strange: tuple[str, ...] = ()  # lines that name no member's key

    def note(self, genesis: Genesis) -> bytes:
        """As a signed note again, but for strange lines."""
        lines = [
            signature_line(log_vkey(genesis.origin, genesis.members[index].log_key), signature)
            for index, signature in self.log_lines
        ]
        lines += note_lines(genesis.origin, genesis.members, (*self.lines, *self.second))
        return bytes(Note(text=self.checkpoint.text(), lines=tuple(lines)))


class Source(Protocol):
    """One copy of a history."""

    name: str  # short, unique in one audit: "US", "archive of US"
    kind: str  # store, archive, web
    where: str  # path or URL
    document: bytes  # the genesis as this source has it
    size: int  # entries it holds
    certificates: tuple[Certificate, ...]  # ascending by size; the last one is its final checkpoint
    every_level: bool  # holds the hashes of every level, or of every eighth, as tiles do
    shows_entries: bool
    last_commit: int | None  # of the commit records it holds; None: it shows no order
    state: str | None  # the member whose node it is, as far as known

    def entries(self, first: int, count: int) -> list[bytes]:
        """Leaf bytes. Raises Lost if any of them is."""
        ...

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        """Tree hashes of one level. Raises Lost if any of them is."""
        ...

    def commit_record(self, index: int) -> bytes:
        """The engine's record of commit `index`, deciders included. Raises Lost."""
        ...

    def block(self, ref: Ref, epoch: int = 0) -> bytes:
        """A whole block by name. Raises Lost."""
        ...

    def close(self) -> None: ...


def lost_entries(source: Source, first: int, count: int) -> dict[int, Lost]:
    """Which of these entries cannot be read, one by one."""
    found: dict[int, Lost] = {}
    for index in range(first, first + count):
        try:
            source.entries(index, 1)
        except Lost as lost:
            found[index] = lost
    return found


def database_file(message: str) -> str | None:
    """The file that RocksDB names as unreadable; the manifest, which it suspects each time, only if it names no other."""
    found = _DATABASE_FILE.findall(message.split("  The file ")[0])
    found += [f"{int(number):06d}.sst" for number in _TABLE.findall(message)]
    names: list[str] = found or _DATABASE_FILE.findall(message)
    return names[-1] if names else None


def certificate_of(note: Note, checkpoint: Checkpoint, genesis: Genesis) -> Certificate:
    """A note's lines sorted by whom they name."""
    origin = genesis.origin
    cosigners: dict[tuple[str, bytes], int] = {}
    lengths: dict[tuple[str, bytes], int] = {}
    logs: dict[tuple[str, bytes], int] = {}
    for index, member in enumerate(genesis.members):
        cosigner = cosigner_vkey(origin, member.state, member.cosigner_key)
        cosigners[cosigner.name, cosigner.key_id] = index
        if member.cosigner_pq_key:
            second = mldsa_cosigner_vkey(origin, member.state, member.cosigner_pq_key)
            cosigners[second.name, second.key_id] = index
            lengths[second.name, second.key_id] = SECOND_SIGNATURE
        log = log_vkey(origin, member.log_key)
        logs[log.name, log.key_id] = index
    lines: list[Cosigned] = []
    log_lines: list[tuple[int, bytes]] = []
    strange: list[str] = []
    for line in note.lines:
        label = (line.name, line.key_id)
        if label in logs:
            log_lines.append((logs[label], line.signature))
            continue
        try:
            length = lengths.get(label, ED25519_SIGNATURE)
            lines.append(_cosigned(line, cosigners.get(label), checkpoint, length))
        except MalformedRecord as err:
            strange.append(f"{line.name}+{line.key_id.hex()}: {err}")
    return Certificate(
        checkpoint=checkpoint,
        lines=tuple(line for line in lines if not line.is_second),
        second=tuple(line for line in lines if line.is_second),
        log_lines=tuple(log_lines),
        strange=tuple(strange),
    )


def _cosigned(
    line: SignatureLine, member: int | None, checkpoint: Checkpoint, length: int
) -> Cosigned:
    """`length`: bytes of its signature."""
    if member is None:
        raise MalformedRecord("no cosigner of a member")
    timestamp = int.from_bytes(line.signature[:TIMESTAMP_BYTES], "big")
    if len(line.signature) != TIMESTAMP_BYTES + length or timestamp > TIMESTAMP_MAX:
        raise MalformedRecord(f"no cosignature of {length} bytes")
    return Cosigned(
        member=member,
        size=checkpoint.size,
        root=checkpoint.root,
        timestamp=timestamp,
        signature=line.signature[TIMESTAMP_BYTES:],
    )
