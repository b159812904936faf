"""How far this process is behind its own timers: what a full processor does to a node, whatever fills it.

A timer of the core that fires late by 20 ms means that everything here starts so much later than it could, each hop of a block or
a cosignature. Smoothed over some timers; one is set for each round at least.
"""

from typing import Final

SMOOTHING: Final = 4  # the newest timer counts for one part in four
LATE_MS_MIN: Final = 5  # a loop that has nothing to do is late by one or two
LATE_PARTS: Final = 20  # of delta: a round is five hops and more, each of them late by as much


class Pulse:
    """Told of each timer; times in milliseconds of one clock."""

    def __init__(self, delta_ms: int) -> None:
        """`delta_ms`: of the node's pace. Where timers are late by a twentieth of it, the node is."""
        self._late_us = 0
        self._late_max_us = 1000 * max(LATE_MS_MIN, delta_ms // LATE_PARTS)

    @property
    def late_ms(self) -> float:
        return self._late_us / 1000

    @property
    def is_late(self) -> bool:
        return self._late_us > self._late_max_us

    def fired(self, due_ms: int, now_ms: int) -> None:
        """A timer that was due then was seen to now."""
        late_us = 1000 * max(0, now_ms - due_ms)
        self._late_us += (late_us - self._late_us) // SMOOTHING
