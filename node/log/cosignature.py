r"""Cosignatures: c2sp.org/tlog-cosignature v1.0.1 (Ed25519, type 0x04) and v1.1 (ML-DSA-44, type 0x06).

After the key ID a line carries `uint64 big-endian timestamp || signature`. What is signed:

    0x04   "cosignature/v1\ntime " decimal "\n" and the whole checkpoint text, extension lines included. The cosigner's
           name is not covered: one key belongs to one cosigner.
    0x06   "subtree/v1\n\0" || u8 length || cosigner name || u64 timestamp || u8 length || origin || u64 start ||
           u64 end || root, with start 0 and end = size for a checkpoint. Extension lines are not covered.

A state's cosignature says "I executed and durably store every entry below this size" (FORMATS 1.5): two roots at
one size are proof of misbehaviour.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.log.checkpoint import Checkpoint, parse_checkpoint
from node.log.errors import MalformedCheckpoint, MalformedCosignature
from node.log.note import CheckLine, KeyType, Note, VerifierKey, open_note, parse_note

Verify = Callable[[bytes, bytes, bytes], bool]
"""verify(public key, message, signature): handed in by node/signing, the only place that checks signatures (R70, R71)."""

TIMESTAMP_MAX = 2**63 - 1
TIMESTAMP_BYTES = 8
SIGNATURE_BYTES = {KeyType.COSIGNATURE: 64, KeyType.MLDSA_COSIGNATURE: 2420}

_SUBTREE_LABEL = b"subtree/v1\n\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """The signature bytes of a cosigner's line. `timestamp` is POSIX seconds by the cosigner's own clock (R6)."""

    timestamp: int
    signature: bytes

    def __bytes__(self) -> bytes:
        return self.timestamp.to_bytes(TIMESTAMP_BYTES, "big") + self.signature


def parse_cosignature(data: bytes, key_type: KeyType) -> Cosignature:
    """Raises MalformedCosignature on a wrong length or a timestamp above 2^63-1."""
    want = TIMESTAMP_BYTES + SIGNATURE_BYTES[key_type]
    if len(data) != want:
        raise MalformedCosignature(f"cosignature of {len(data)} bytes: {key_type.name} has {want}")
    timestamp = int.from_bytes(data[:TIMESTAMP_BYTES], "big")
    if timestamp > TIMESTAMP_MAX:
        raise MalformedCosignature(f"timestamp {timestamp}: above 2^63-1")
    return Cosignature(timestamp=timestamp, signature=data[TIMESTAMP_BYTES:])


def cosigned_message(timestamp: int, checkpoint_text: bytes) -> bytes:
    """What an Ed25519 cosigner signs."""
    return b"cosignature/v1\ntime %d\n" % timestamp + checkpoint_text


def cosigned_subtree_message(timestamp: int, cosigner: str, checkpoint: Checkpoint) -> bytes:
    """What an ML-DSA-44 cosigner of that name signs. Raises MalformedCheckpoint if the origin is over 255 bytes."""
    name, origin = cosigner.encode(), checkpoint.origin.encode()
    if not 0 < len(origin) <= 255:
        raise MalformedCheckpoint(f"origin of {len(origin)} bytes: ML-DSA cosigners sign 1 to 255")
    assert 0 < len(name) <= 255, f"cosigner name of {len(name)} bytes"
    return b"".join(
        (
            _SUBTREE_LABEL,
            bytes([len(name)]),
            name,
            timestamp.to_bytes(8, "big"),
            bytes([len(origin)]),
            origin,
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def line_check(verify: Verify, verify_mldsa: Verify | None = None) -> CheckLine:
    """What `open_note` needs. Without `verify_mldsa`, keys of type 0x06 count as unknown: their lines are ignored."""

    def check(key: VerifierKey, text: bytes, data: bytes) -> bool | None:
        if key.key_type is KeyType.ED25519:
            return verify(key.public_key, text, data)
        if key.key_type is KeyType.MLDSA_COSIGNATURE and verify_mldsa is None:
            return None
        try:
            cosignature = parse_cosignature(data, key.key_type)
            if key.key_type is KeyType.COSIGNATURE:
                message = cosigned_message(cosignature.timestamp, text)
                return verify(key.public_key, message, cosignature.signature)
            message = cosigned_subtree_message(
                cosignature.timestamp, key.name, parse_checkpoint(text)
            )
        except (MalformedCosignature, MalformedCheckpoint):
            return False
        assert verify_mldsa is not None, "checked above"
        return verify_mldsa(key.public_key, message, cosignature.signature)

    return check


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedCheckpoint:
    """A checkpoint, the note it came in, and the known keys that signed it."""

    checkpoint: Checkpoint
    note: Note
    signers: tuple[VerifierKey, ...]


def open_checkpoint(
    data: bytes,
    keys: Sequence[VerifierKey],
    verify: Verify,
    verify_mldsa: Verify | None = None,
) -> OpenedCheckpoint:
    """A note of these bytes, signed by at least one of `keys`; the caller then compares the origin.

    Raises MalformedNote, MalformedCheckpoint, BadSignature, NoKnownKey, AmbiguousKey.
    """
    note = parse_note(data)
    signers = open_note(note, keys, line_check(verify, verify_mldsa))
    return OpenedCheckpoint(checkpoint=parse_checkpoint(note.text), note=note, signers=signers)


def median_timestamp(timestamps: Sequence[int]) -> int:
    """The lower median: with a quorum of cosigners, no f liars move it outside the honest range (FORMATS 6)."""
    assert timestamps, "median of nothing"
    return sorted(timestamps)[(len(timestamps) - 1) // 2]
