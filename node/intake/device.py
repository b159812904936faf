"""The device's side: how a meter or a counter makes its readings.

A device is a small program with one key; this is what it runs, in tests, in the demonstration and as the reference for
those who build meters. It remembers its next sequence number; a real one keeps that in its own flash.
"""

from node.intake.reading import Reading, Source, signed_message
from node.signing.keys import SigningKey


class Device:
    """One measured quantity of one device. Not thread-safe."""

    def __init__(
        self, source: Source, *, key: SigningKey, ledger: bytes, sequence: int = 1
    ) -> None:
        self.source = source
        self.public_key = key.public
        self._key = key
        self._ledger = ledger
        self._sequence = sequence  # of the next reading

    def reading(self, *, time_s: int, value: int) -> Reading:
        """The next signed reading: Unix seconds, value in the unit of the source's kind."""
        message = signed_message(self._ledger, self.source, self._sequence, time_s, value)
        reading = Reading(
            source=self.source,
            sequence=self._sequence,
            time_s=time_s,
            value=value,
            signature=self._key.sign(message),
        )
        self._sequence += 1
        return reading
