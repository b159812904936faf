"""The node's clock for the core: milliseconds since the Unix epoch, slewed and never stepped (decision 0070).

It runs with the machine's monotonic clock and is drawn towards the wall clock by at most 1/`SLEW` of the time that passes. A wall
clock that is set an hour forward moves this one by 18 seconds in the next hour, not by an hour at once: timers stay timers, and
no block is dated an hour ahead because somebody set the clock.
"""

import time
from collections.abc import Callable
from typing import Final

from consensus.types import Millis

SLEW: Final = 200  # at most 1/200 of the elapsed time: 5 ms a second
_NS_PER_MS: Final = 1_000_000


class SlewedClock:
    """`wall` and `monotonic` give nanoseconds."""

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._last = monotonic()
        self._now = wall()

    def now_ms(self) -> Millis:
        """Never below an earlier answer."""
        tick = self._monotonic()
        elapsed = tick - self._last
        self._last = tick
        error = self._wall() - (self._now + elapsed)
        most = elapsed // SLEW
        self._now += elapsed + max(-most, min(most, error))
        return Millis(self._now // _NS_PER_MS)
