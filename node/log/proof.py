"""Proof files: c2sp.org/tlog-proof@v1, the receipt for humans. One text, verified offline against a policy.

c2sp.org/tlog-proof@v1
extra <base64>            may be missing; not authenticated by anything
index <decimal>
<base64 hash> ...         inclusion proof, leaf first, at most 63
(empty line)
<checkpoint note>

proof = parse_proof(data)
judged = evaluate(policy, proof.note, verify)          # is the checkpoint final?
proof.root_of(entry) == judged.checkpoint.root         # is the entry under it?
"""

from dataclasses import dataclass

from node.log.checkpoint import parse_checkpoint
from node.log.errors import MalformedProof, shown
from node.log.merkle import HASH_BYTES, fold_inclusion, leaf_hash
from node.log.note import NOTE_BYTES_MAX, parse_note
from node.log.strict import base64_bytes, base64_text, decimal

HEADER = "c2sp.org/tlog-proof@v1"
HASHES_MAX = 63
EXTRA_BYTES_MAX = 65_536

_FRONT_BYTES_MAX = 128 + EXTRA_BYTES_MAX * 4 // 3 + HASHES_MAX * 45


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFile:
    """A well-formed proof: nothing in it is believed yet."""

    index: int
    hashes: tuple[bytes, ...]  # leaf first
    note: bytes  # a checkpoint note
    extra: bytes | None = None

    def __bytes__(self) -> bytes:
        extra = [] if self.extra is None else [f"extra {base64_text(self.extra)}"]
        lines = [HEADER, *extra, f"index {self.index}", *map(base64_text, self.hashes)]
        return ("\n".join(lines) + "\n\n").encode() + self.note

    def root_of(self, entry: bytes) -> bytes:
        """The root that the proof leads to from this entry, to be compared with a believed checkpoint's of this note.

        Raises MalformedProof if the proof has no place in a tree of the checkpoint's size.
        """
        size = parse_checkpoint(parse_note(self.note).text).size
        return fold_inclusion(leaf_hash(entry), self.index, size, self.hashes)


def parse_proof(data: bytes) -> ProofFile:
    """The proof that this file spells. Raises MalformedProof, MalformedNote, MalformedCheckpoint."""
    if len(data) > _FRONT_BYTES_MAX + NOTE_BYTES_MAX:
        raise MalformedProof(f"proof file of {len(data)} bytes: too long")
    front, empty_line, note = data.partition(b"\n\n")
    try:
        lines = front.decode("ascii").split("\n")
    except UnicodeDecodeError as err:
        raise MalformedProof(f"proof file: byte {err.start} is not ASCII") from None
    if not empty_line or lines.pop(0) != HEADER:
        raise MalformedProof(f"proof file: want {HEADER}, lines, an empty line, a checkpoint")
    extra: bytes | None = None
    if lines and lines[0].startswith("extra "):
        extra = base64_bytes(lines.pop(0).removeprefix("extra "))
        if not extra or len(extra) > EXTRA_BYTES_MAX:
            raise MalformedProof("proof file: extra is not base64 of 1 to 65,536 bytes")
    index_line = lines.pop(0) if lines else ""
    index = decimal(index_line.removeprefix("index "))
    if index is None or not index_line.startswith("index "):
        raise MalformedProof(f"proof file: {shown(index_line)}: want index and a decimal")
    if len(lines) > HASHES_MAX:
        raise MalformedProof(f"proof file: {len(lines)} hashes: at most {HASHES_MAX}")
    hashes = tuple(map(parse_hash_line, lines))
    parse_checkpoint(parse_note(note).text)
    return ProofFile(index=index, hashes=hashes, note=note, extra=extra)


def parse_hash_line(line: str) -> bytes:
    """One base64 hash. Raises MalformedProof."""
    digest = base64_bytes(line)
    if digest is None or len(digest) != HASH_BYTES:
        raise MalformedProof(f"proof line {shown(line)}: want base64 of {HASH_BYTES} bytes")
    return digest
