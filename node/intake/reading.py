"""One device reading: the bytes a meter or a counter signs and publishes.

A reading is fixed-width, big-endian, 90 bytes, one spelling by construction:

    version u8 = 1 | kind u8 | sequence u64 | time_s u64 | value u64 | signature 64B (Ed25519)

The signature covers the ledger, the topic and the 26 bytes before it, under the label `reading/1`
(RULINGS R7 for the hash form): a reading replayed on another topic, device or ledger does not verify.
`sequence` counts from 1 without gaps per device and kind, so a lost reading shows and a repeated one is dropped.

Story: a rack meter publishes `foedus/v1/KE/nairobi-1/meter-7/energy` with its cumulative watt-hour counter.
The gateway checks it, writes it to the journal, and only then lets the broker forget it.
"""

import hashlib
import re
import struct
from dataclasses import dataclass
from enum import Enum
from typing import Final

TOPIC_PREFIX: Final = "foedus/v1"
VERSION: Final = 1
SIGNATURE_BYTES: Final = 64
_BODY: Final = struct.Struct(">BBQQQ")
READING_BYTES: Final = _BODY.size + SIGNATURE_BYTES
VALUE_MAX: Final = 2**53 - 1  # MODEL 2: every integer is safe in JSON
_LABEL: Final = b"reading/1"
# A name is what a topic level, a file name and a log line can all carry without escaping.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class MalformedReading(ValueError):
    """A topic or payload is not a reading. The message names field and value."""


class Kind(Enum):
    """What a device measures. The value is the topic's last level."""

    POWER = "power"  # instantaneous, W
    ENERGY = "energy"  # cumulative counter, Wh
    PFLOP = "pflop"  # cumulative counter, PFLOP (1e15 FLOP)


_CODE: Final = {Kind.POWER: 1, Kind.ENERGY: 2, Kind.PFLOP: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a reading comes from: one device's one measured quantity."""

    state: str
    facility: str
    device: str
    kind: Kind

    @property
    def topic(self) -> str:
        return f"{TOPIC_PREFIX}/{self.state}/{self.facility}/{self.device}/{self.kind.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A well-formed reading, not yet authenticated. Units as in `Kind`; time in Unix seconds, UTC."""

    source: Source
    sequence: int
    time_s: int
    value: int
    signature: bytes


def is_topic_name(name: str) -> bool:
    """Whether a state, facility or device may be called so."""
    return _NAME.fullmatch(name) is not None


def parse_topic(topic: str) -> Source:
    """`foedus/v1/<state>/<facility>/<device>/<kind>` to a Source. Raises MalformedReading."""
    levels = topic.split("/")
    if len(levels) != 6 or "/".join(levels[:2]) != TOPIC_PREFIX:
        raise MalformedReading(
            f"topic={topic[:200]!r}: want {TOPIC_PREFIX}/<state>/<facility>/<device>/<kind>"
        )
    state, facility, device, kind = levels[2:]
    for field, name in (("state", state), ("facility", facility), ("device", device)):
        if not is_topic_name(name):
            raise MalformedReading(
                f"topic {field}={name[:80]!r}: want 1 to 63 of A-Z a-z 0-9 _ . -"
            )
    try:
        return Source(state=state, facility=facility, device=device, kind=Kind(kind))
    except ValueError:
        known = ", ".join(each.value for each in Kind)
        raise MalformedReading(f"topic kind={kind[:80]!r}: want one of {known}") from None


def parse_reading(topic: str, payload: bytes) -> Reading:
    """Untrusted topic and payload in, Reading out. Raises MalformedReading naming field and value."""
    source = parse_topic(topic)
    if len(payload) != READING_BYTES:
        raise MalformedReading(f"payload of {len(payload)} bytes: a reading has {READING_BYTES}")
    version, code, sequence, time_s, value = _BODY.unpack_from(payload)
    if version != VERSION:
        raise MalformedReading(f"version={version}: this gateway reads {VERSION}")
    if code != _CODE[source.kind]:
        raise MalformedReading(f"kind={code}: topic {topic} carries kind {_CODE[source.kind]}")
    for field, number in (("sequence", sequence), ("time_s", time_s), ("value", value)):
        if number > VALUE_MAX:
            raise MalformedReading(f"{field}={number}: want at most {VALUE_MAX}")
    if sequence == 0:
        raise MalformedReading("sequence=0: the first reading of a device has sequence 1")
    return Reading(
        source=source,
        sequence=sequence,
        time_s=time_s,
        value=value,
        signature=payload[_BODY.size :],
    )


def _body(reading_kind: Kind, sequence: int, time_s: int, value: int) -> bytes:
    return _BODY.pack(VERSION, _CODE[reading_kind], sequence, time_s, value)


def signed_message(ledger: bytes, source: Source, sequence: int, time_s: int, value: int) -> bytes:
    """The 32 bytes that the device signs: SHA-256 under the label over ledger, topic and body."""
    assert len(ledger) == 32, f"ledger id of {len(ledger)} bytes"
    topic = source.topic.encode()
    body = _body(source.kind, sequence, time_s, value)
    return hashlib.sha256(
        bytes([len(_LABEL)]) + _LABEL + ledger + len(topic).to_bytes(2, "big") + topic + body
    ).digest()


def message_of(ledger: bytes, reading: Reading) -> bytes:
    """What the signature of this reading must cover."""
    return signed_message(ledger, reading.source, reading.sequence, reading.time_s, reading.value)


def encode_reading(reading: Reading) -> bytes:
    """The payload to publish on `reading.source.topic`."""
    assert len(reading.signature) == SIGNATURE_BYTES, f"signature of {len(reading.signature)} bytes"
    body = _body(reading.source.kind, reading.sequence, reading.time_s, reading.value)
    return body + reading.signature
