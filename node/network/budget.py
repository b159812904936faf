"""How much one peer may cost us: token buckets, and a score of what it sent that no honest peer sends.

    bucket   requests, bytes served, frames and bytes read: what is spent comes back with time
    score    each fault is charged; who has spent it all is left alone for a while, twice as long each time

The clock is an argument: seconds of any clock that does not run backwards.
"""

from dataclasses import dataclass
from typing import Final

SCORE_MAX: Final = 100.0
SCORE_BACK_PER_S: Final = 1.0
PENALTY_FIRST_S: Final = 10.0
PENALTY_MAX_S: Final = 600.0


class Bucket:
    """`rate` tokens come back each second, up to `burst`. One charge may overdraw it: then it waits the longer."""

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._held = burst
        self._seen = now

    def take(self, amount: float, now: float) -> bool:
        """False, and nothing is taken, while the bucket is in debt or empty."""
        self._refill(now)
        if self._held <= 0:
            return False
        self._held -= amount
        return True

    def wait_s(self, amount: float, now: float) -> float:
        """Take in any case; returns how long the caller must wait for that to be covered."""
        self._refill(now)
        self._held -= amount
        return max(0.0, -self._held / self._rate)

    def _refill(self, now: float) -> None:
        self._held = min(self._burst, self._held + (now - self._seen) * self._rate)
        self._seen = now


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """A peer has spent its score: it is left alone until then."""

    seconds: float
    until: float


class Score:
    """What one peer has done wrong lately."""

    def __init__(self, now: float) -> None:
        self._bucket = Bucket(rate=SCORE_BACK_PER_S, burst=SCORE_MAX, now=now)
        self._until = now
        self._next_s = PENALTY_FIRST_S

    def charge(self, points: float, now: float) -> Penalty | None:
        """Returns the penalty that this charge brings, if it does."""
        if self._bucket.wait_s(points, now) <= 0 or now < self._until:
            return None
        if now - self._until > PENALTY_MAX_S:
            self._next_s = PENALTY_FIRST_S  # long well-behaved
        seconds = self._next_s
        self._next_s = min(PENALTY_MAX_S, 2 * seconds)
        self._until = now + seconds
        self._bucket = Bucket(rate=SCORE_BACK_PER_S, burst=SCORE_MAX, now=now)
        return Penalty(seconds=seconds, until=self._until)

    def penalty_s(self, now: float) -> float:
        """Seconds that the peer must still be left alone; 0 if it need not."""
        return max(0.0, self._until - now)
