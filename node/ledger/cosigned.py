"""One cosignature as it travels between nodes and lies in a store, and who may give it.

A member has one Ed25519 line for a size, on which finality rests (RULINGS R38), and, if its node holds such a key, for some sizes
a second one by ML-DSA-44 (R36, `second_lines`). They differ by the length of the signature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from node.ledger.errors import MalformedRecord
from node.ledger.genesis import GenesisMember
from node.log.cosignature import SIGNATURE_BYTES, TIMESTAMP_MAX, Cosignature
from node.log.note import KeyType, SignatureLine
from node.signing.checkpoints import cosignature_line, cosigner_vkey, mldsa_cosigner_vkey

_HEAD_BYTES: Final = 2 + 8 + 32 + 8
COSIGNED_BYTES: Final = _HEAD_BYTES + SIGNATURE_BYTES[KeyType.COSIGNATURE]
SECOND_BYTES: Final = _HEAD_BYTES + SIGNATURE_BYTES[KeyType.MLDSA_COSIGNATURE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """One member's cosignature: well-formed, not yet authenticated."""

    member: int  # validator index
    size: int
    root: bytes  # 32 bytes
    timestamp: int  # seconds, the signer's clock
    signature: bytes  # 64 bytes, Ed25519; 2,420 in a second line

    @property
    def is_second(self) -> bool:
        """By the member's ML-DSA-44 key."""
        return len(self.signature) == SIGNATURE_BYTES[KeyType.MLDSA_COSIGNATURE]


def encode_cosigned(line: Cosigned) -> bytes:
    """114 or 2,470 bytes: u16 member | u64 size | root 32 | u64 timestamp | signature 64 or 2,420."""
    return b"".join(
        (
            line.member.to_bytes(2, "big"),
            line.size.to_bytes(8, "big"),
            line.root,
            line.timestamp.to_bytes(8, "big"),
            line.signature,
        )
    )


def parse_cosigned(data: bytes) -> Cosigned:
    """An Ed25519 line. Raises MalformedRecord naming what is wrong."""
    return _parse(data, COSIGNED_BYTES)


def parse_second(data: bytes) -> Cosigned:
    """An ML-DSA-44 line. Raises MalformedRecord."""
    return _parse(data, SECOND_BYTES)


def parse_line(data: bytes) -> Cosigned:
    """Either. Raises MalformedRecord."""
    return _parse(data, SECOND_BYTES if len(data) == SECOND_BYTES else COSIGNED_BYTES)


def _parse(data: bytes, length: int) -> Cosigned:
    if len(data) != length:
        raise MalformedRecord(f"cosigned line of {len(data)} bytes: want {length}")
    timestamp = int.from_bytes(data[42:50], "big")
    if timestamp > TIMESTAMP_MAX:
        raise MalformedRecord(f"cosigned line: timestamp {timestamp} is above 2^63-1")
    return Cosigned(
        member=int.from_bytes(data[:2], "big"),
        size=int.from_bytes(data[2:10], "big"),
        root=data[10:42],
        timestamp=timestamp,
        signature=data[_HEAD_BYTES:],
    )


class Added(Enum):
    """What became of a line that came in."""

    HELD = "held"  # new and good, counted
    KNOWN = "known"  # held already, or its size is long final
    AHEAD = "ahead"  # good, for a size that our log has not reached
    REFUSED = "refused"  # no member, or not signed by that member's cosigner: charge the sender
    CONFLICT = "conflict"  # good, but for another root than ours: evidence kept, alarm raised


def note_lines(
    origin: str, members: Sequence[GenesisMember], lines: Sequence[Cosigned]
) -> list[SignatureLine]:
    """The note lines of these cosignatures, of either kind; `members` in validator order."""
    found = []
    for line in lines:
        member = members[line.member]
        if line.is_second:
            vkey = mldsa_cosigner_vkey(origin, member.state, member.cosigner_pq_key)
        else:
            vkey = cosigner_vkey(origin, member.state, member.cosigner_key)
        made = Cosignature(timestamp=line.timestamp, signature=line.signature)
        found.append(cosignature_line(vkey, made))
    return found
