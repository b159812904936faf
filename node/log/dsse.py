"""DSSE v1.0.2 envelopes, verified only: the ledger does not admit them in version 1 (RULINGS R17).

    PAE = "DSSEv1" SP len(type) SP type SP len(body) SP body          lengths in bytes, decimal

What is verified is PAE over the decoded payload, and those very bytes are what the caller then uses. `keyid` is a hint that
nobody relies on; a threshold counts distinct keys.
"""

import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass

from node.log.cosignature import Verify
from node.log.errors import MalformedEnvelope, shown
from node.log.tiles import ENTRY_BYTES_MAX

SIGNATURES_MAX = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DsseEnvelope:
    """A well-formed envelope, not authenticated."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]

    def to_be_signed(self) -> bytes:
        return pre_authentication_encoding(self.payload_type, self.payload)


def pre_authentication_encoding(payload_type: str, body: bytes) -> bytes:
    """PAE(type, body)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)


def parse_envelope(data: bytes) -> DsseEnvelope:
    """Raises MalformedEnvelope. Unknown fields are allowed, as the specification asks; doubled ones are not."""
    if len(data) > ENTRY_BYTES_MAX:
        raise MalformedEnvelope(f"envelope of {len(data)} bytes: at most {ENTRY_BYTES_MAX}")
    try:
        value = json.loads(
            data.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as err:
        raise MalformedEnvelope(f"envelope: {err}") from None
    match value:
        case {
            "payload": str(payload),
            "payloadType": str(payload_type),
            "signatures": [*signatures],
        } if 0 < len(signatures) <= SIGNATURES_MAX:
            return DsseEnvelope(
                payload_type=_utf8(payload_type),
                payload=_base64(payload, "payload"),
                signatures=tuple(map(_signature, signatures)),
            )
    raise MalformedEnvelope("envelope: want payload, payloadType and 1 to 64 signatures")


def verify_envelope(
    envelope: DsseEnvelope, public_keys: Sequence[bytes], verify: Verify, *, threshold: int = 1
) -> tuple[bytes, ...]:
    """The distinct keys, in the order given, that signed; empty if fewer than `threshold` did."""
    message = envelope.to_be_signed()
    good = tuple(
        key
        for key in dict.fromkeys(public_keys)
        if any(verify(key, message, signature) for signature in envelope.signatures)
    )
    return good if len(good) >= threshold else ()


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedEnvelope(
            f"envelope: a field stands twice in {shown([name for name, _ in pairs])}"
        )
    return fields


def _refuse_constant(name: str) -> object:
    raise MalformedEnvelope(f"envelope: {name} is not JSON")


def _signature(value: object) -> bytes:
    match value:
        case {"sig": str(text)}:
            return _base64(text, "sig")
    raise MalformedEnvelope(f"envelope signature {shown(value)}: want sig")


def _utf8(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise MalformedEnvelope(f"payloadType {shown(text)}: not UTF-8")
    return text


def _base64(text: str, field: str) -> bytes:
    """Standard or URL-safe, padded: a verifier must take both."""
    try:
        return binascii.a2b_base64(
            text.replace("-", "+").replace("_", "/").encode("ascii"), strict_mode=True
        )
    except (binascii.Error, UnicodeEncodeError):
        raise MalformedEnvelope(f"{field} {shown(text)}: want base64") from None
