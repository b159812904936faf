"""When the newest own block goes out again, and when peers are woken (SPEC 5; PACEMAKER P4).

Delivery is best effort: one lost block at marginal quorum stalls everybody until it is sent again. While there is nothing to
order the pause between re-sends doubles, up to the cap.
"""

from consensus.pacemaker import Pacemaker
from consensus.types import Millis, Parameters


class Resending:
    """Two deadlines: of the next re-send to all peers, and of the next Wake."""

    def __init__(self, pacemaker: Pacemaker, parameters: Parameters) -> None:
        self.at: Millis | None = None
        self.wake_at: Millis | None = None
        self._pause_ms = 0
        self._pacemaker = pacemaker
        self._parameters = parameters

    def made(self, now: Millis) -> None:
        """An own block was made: it is pushed now, and again after T."""
        self._pause_ms = self._pacemaker.timeout_ms
        self.at = Millis(now + self._pause_ms)

    def soon(self, now: Millis) -> None:
        """A pause that grew while idle is over as soon as somebody has something to order; still one re-send in each T."""
        if self.at is not None:
            self.at = min(self.at, Millis(now + self._pacemaker.timeout_ms))

    def is_due(self, now: Millis) -> bool:
        return self.at is not None and now >= self.at

    def sent(self, now: Millis, *, may_idle: bool) -> None:
        """All were sent it again. Idle, the next time can wait."""
        self._pause_ms = (
            min(2 * self._pause_ms, self._parameters.timeout_cap_ms)
            if may_idle
            else self._pacemaker.timeout_ms
        )
        self.at = Millis(now + self._pause_ms)

    def is_wake_due(self, now: Millis, *, moved: bool, may_idle: bool) -> bool:
        """Where rounds follow one another no Wake is needed: it goes out when one did not, and then every T."""
        if may_idle or not self._pacemaker.has_made_block:
            self.wake_at = None
        elif moved or self.wake_at is None:
            self.wake_at = Millis(now + self._parameters.half_delta_ms)
        elif now >= self.wake_at:
            self.wake_at = Millis(now + self._pacemaker.timeout_ms)
            return True
        return False
