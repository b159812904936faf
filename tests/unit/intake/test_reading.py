"""Readings: every byte string is one value or the one error, and a signature covers all that the value says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.intake.reading import (
    READING_BYTES,
    VALUE_MAX,
    Kind,
    MalformedReading,
    Reading,
    Source,
    encode_reading,
    message_of,
    parse_reading,
    parse_topic,
)
from node.signing.verify import verify_ed25519
from tests.unit.intake.world import LEDGER, device, source

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", fullmatch=True)
NUMBERS = st.integers(0, VALUE_MAX)
SOURCES = st.builds(
    Source, state=NAMES, facility=NAMES, device=NAMES, kind=st.sampled_from(list(Kind))
)
READINGS = st.builds(
    Reading,
    source=SOURCES,
    sequence=st.integers(1, VALUE_MAX),
    time_s=NUMBERS,
    value=NUMBERS,
    signature=st.binary(min_size=64, max_size=64),
)


@given(READINGS)
def test_what_is_encoded_is_read_back(reading: Reading) -> None:
    payload = encode_reading(reading)
    assert len(payload) == READING_BYTES
    assert parse_reading(reading.source.topic, payload) == reading


@given(READINGS, st.data())
def test_a_changed_byte_is_another_value_or_the_one_error(
    reading: Reading, data: st.DataObject
) -> None:
    payload = bytearray(encode_reading(reading))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = parse_reading(reading.source.topic, bytes(payload))
    except MalformedReading:
        return
    assert changed != reading
    assert encode_reading(changed) == bytes(payload), "one value, one spelling"


@given(st.text(max_size=200), st.binary(max_size=120))
def test_any_topic_and_payload_is_a_value_or_the_one_error(topic: str, payload: bytes) -> None:
    try:
        reading = parse_reading(topic, payload)
    except MalformedReading:
        return
    assert reading.source.topic == topic


@given(SOURCES, st.data())
def test_a_topic_with_a_changed_character_is_another_or_none(
    of: Source, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(of.topic) - 1))
    topic = of.topic[:place] + data.draw(st.characters(codec="utf-8")) + of.topic[place + 1 :]
    try:
        read = parse_topic(topic)
    except MalformedReading:
        return
    assert read.topic == topic


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"", "0 bytes"),
        (bytes(READING_BYTES + 1), "91 bytes"),
        (b"\x02" + bytes(READING_BYTES - 1), "version=2"),
        (b"\x01\x01" + bytes(READING_BYTES - 2), "kind=1"),
        (b"\x01\x02" + bytes(READING_BYTES - 2), "sequence=0"),
        (b"\x01\x02" + b"\xff" * 8 + bytes(READING_BYTES - 10), "sequence=18446744073709551615"),
    ],
)
def test_the_error_names_field_and_value(payload: bytes, words: str) -> None:
    with pytest.raises(MalformedReading, match=words):
        parse_reading(source().topic, payload)


def test_the_signature_covers_ledger_topic_and_every_number() -> None:
    meter = device()
    good = meter.reading(time_s=7, value=9)

    def holds(reading: Reading, ledger: bytes = LEDGER) -> bool:
        return verify_ed25519(meter.public_key, message_of(ledger, reading), reading.signature)

    assert holds(good)
    assert not holds(good, bytes(32))
    for other in (
        replace(good, sequence=2),
        replace(good, time_s=8),
        replace(good, value=10),
        replace(good, source=source(device="m2")),
        replace(good, source=source(facility="dc2")),
        replace(good, source=source(Kind.POWER)),
        replace(good, source=replace(good.source, state="US")),
    ):
        assert not holds(other), other
