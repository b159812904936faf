"""The device's side: how a meter or a counter makes its readings and hands them to a broker.

A device is a small program with one key; this is what it runs, in `foedus intake device`, in the demonstration, in tests, and
as the reference for those who build meters.

    meter = Device(source, key=key, ledger=ledger, sequence=SequenceFile(path).next())
    await publish(broker, [meter.reading(time_s=now, value=counter)])

It remembers its next sequence number, for a number used twice with different content is refused by the gateway: a real
one keeps that in its own flash, this one in a file.
"""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from node.intake.adapter import BrokerLost, BrokerSettings, Publisher
from node.intake.reading import (
    VALUE_MAX,
    MalformedReading,
    Reading,
    Source,
    encode_reading,
    signed_message,
)
from node.signing.keys import SigningKey

RETRY_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)  # between attempts to reach the broker
_DIGITS_MAX: Final = 16


class Device:
    """One measured quantity of one device. Not thread-safe."""

    def __init__(
        self, source: Source, *, key: SigningKey, ledger: bytes, sequence: int = 1
    ) -> None:
        """`sequence`: of the next reading."""
        self.source = source
        self.public_key = key.public
        self.sequence = sequence
        self._key = key
        self._ledger = ledger

    def reading(self, *, time_s: int, value: int) -> Reading:
        """The next signed reading: Unix seconds, value in the unit of the source's kind. Raises MalformedReading."""
        for field, number in (("time_s", time_s), ("value", value)):
            if not 0 <= number <= VALUE_MAX:
                raise MalformedReading(f"{field}={number}: want 0 to {VALUE_MAX}")
        message = signed_message(self._ledger, self.source, self.sequence, time_s, value)
        reading = Reading(
            source=self.source,
            sequence=self.sequence,
            time_s=time_s,
            value=value,
            signature=self._key.sign(message),
        )
        self.sequence += 1
        return reading


class SequenceFile:
    """The next sequence number of one source, on disk before a reading with the one before leaves."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def next(self) -> int:
        """1 if there is no file yet. Raises MalformedReading if it holds something else, OSError."""
        try:
            with self._path.open("rb") as file:
                data = file.read(_DIGITS_MAX + 2)
        except FileNotFoundError:
            return 1
        text = data.removesuffix(b"\n")
        if not text.isdigit() or len(text) > _DIGITS_MAX or not 1 <= int(text) <= VALUE_MAX:
            raise MalformedReading(f"{self._path}: {text[:40]!r} is no sequence number")
        return int(text)

    def keep(self, sequence: int) -> None:
        """The next reading will have this one. Durable on return."""
        temporary = self._path.with_name(f".{self._path.name}.new")
        with temporary.open("wb") as file:
            file.write(b"%d\n" % sequence)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


async def publish(
    broker: BrokerSettings, readings: Iterable[Reading] | AsyncIterable[Reading]
) -> int:
    """Publish each at QoS 1 until the broker has it, reconnecting for as long as that takes; how many there were.

    Cancel it to give up. A reading that the broker took just before it was lost is published again, and counted once.
    """
    waiting = _one_by_one(readings)
    pending: Reading | None = None
    published = 0
    attempt = 0
    while True:
        try:
            async with Publisher(broker) as publisher:
                attempt = 0
                while True:
                    if pending is None:
                        pending = await anext(waiting, None)
                    if pending is None:
                        return published
                    await publisher.publish(pending.source.topic, encode_reading(pending))
                    pending = None
                    published += 1
        except BrokerLost:
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
            attempt += 1


async def _one_by_one(
    readings: Iterable[Reading] | AsyncIterable[Reading],
) -> AsyncIterator[Reading]:
    if isinstance(readings, AsyncIterable):
        async for reading in readings:
            yield reading
    else:
        for reading in readings:
            yield reading
