r"""Checkpoints: c2sp.org/tlog-checkpoint v1.0.0, the text of a signed note.

    origin "\n" size "\n" base64(root) "\n" *( extension "\n" )

We write no extension lines: ML-DSA cosignatures do not cover them. What a commit is about stands in its commit record.
Compare the origin with the expected one *after* the signatures: the key name is not the origin.
"""

import re
from dataclasses import dataclass

from node.log.errors import MalformedCheckpoint, shown
from node.log.merkle import HASH_BYTES
from node.log.note import is_key_name
from node.log.strict import base64_bytes, base64_text, decimal

ORIGIN_BYTES_MAX = 255  # of our own ledgers: ML-DSA cosigners sign a u8 length before it

_CONTROL = re.compile(
    rb"[\x00-\x09\x0b-\x1f]"
)  # a signed note holds none, and the text is a note's


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a log: the root over its first `size` entries."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> bytes:
        """The signed text, ended by a newline."""
        lines = (self.origin, str(self.size), base64_text(self.root), *self.extensions)
        return ("\n".join(lines) + "\n").encode()


def parse_checkpoint(text: bytes) -> Checkpoint:
    """The checkpoint that this text spells. Raises MalformedCheckpoint; writing gives the same bytes."""
    control = _CONTROL.search(text)
    if control is not None:
        raise MalformedCheckpoint(f"checkpoint: control octet {control[0].hex()}")
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as err:
        raise MalformedCheckpoint(f"checkpoint: byte {err.start} is not UTF-8") from None
    if lines.pop() != "" or len(lines) < 3:
        raise MalformedCheckpoint("checkpoint: want origin, size and root, each ended by a newline")
    if "" in lines:
        raise MalformedCheckpoint(f"checkpoint: line {lines.index('') + 1} is empty")
    origin, size_text, root_text, *extensions = lines
    size = decimal(size_text)
    root = base64_bytes(root_text)
    if size is None:
        raise MalformedCheckpoint(f"checkpoint size {shown(size_text)}: want decimal below 2^64")
    if root is None or len(root) != HASH_BYTES:
        raise MalformedCheckpoint(f"checkpoint root {shown(root_text)}: want base64 of 32 bytes")
    return Checkpoint(origin=origin, size=size, root=root, extensions=tuple(extensions))


def is_origin(origin: str) -> bool:
    """May a ledger of ours have this origin? It is a key name too: no space, no '+' (FORMATS 1), no scheme or slash end."""
    return (
        is_key_name(origin)
        and len(origin.encode()) <= ORIGIN_BYTES_MAX
        and "://" not in origin
        and not origin.endswith("/")
    )
