"""Who is silent: the leaders that nobody need wait for (decision 0166; Mysticeti's own code skips leaders it has no link to).

A leader's block is waited for until the leader timeout, and of n leaders in turn a member that is down costs that in every
turn. So a validator is silent once GRACE_TIMEOUTS base timeouts have passed since we entered some round x, and it has shown no
block of x-1 or later in all that time.

Nobody who is alive is silent once messages take at most delta. We entered x with blocks of a quorum of x-1. What of these it
lacks we push: it has them within delta (Push), or 4 delta (Lazy-Push: history goes after 3). Then rule C3 lets it make its own
block of x-1 whatever else holds, idle or not, and that is here within delta: after 2 or 5 delta, at most one base timeout. A
liar can be silent or not, as it likes: not silent, it is waited for as ever. The first block that it shows ends it, and its
blocks are referred to as anybody's: only the wait for its turns as a leader is given up, here and not elsewhere.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from consensus.types import Millis, Parameters, Round, ValidatorIndex

GRACE_TIMEOUTS: Final = 2  # base leader timeouts; one would do
ENTRIES_PER_TIMEOUT: Final = (
    64  # rounds entered faster are not all kept: the wait grows by as little
)


class Silence:
    """When we entered the rounds of late, held against the newest round that each validator showed."""

    def __init__(self, shown: Sequence[Round], parameters: Parameters) -> None:
        """`shown`: of each validator the highest round of which it signed a block, as far as we saw; kept by admission."""
        self._shown = shown
        base_ms = parameters.delta_ms * parameters.timeout_deltas
        self._grace_ms = GRACE_TIMEOUTS * base_ms
        self._apart_ms = base_ms // ENTRIES_PER_TIMEOUT
        # Ascending in both. The first is the newest that is older than the grace, so that there are few, and never none.
        self._entries: deque[tuple[Round, Millis]] = deque()

    def entered(self, round_: Round, now: Millis) -> None:
        """We are in this round from now on."""
        entries = self._entries
        if entries and now < entries[-1][1] + self._apart_ms:
            return
        entries.append((round_, now))
        while len(entries) > 1 and now >= entries[1][1] + self._grace_ms:
            entries.popleft()

    def begins_at(self, author: ValidatorIndex) -> Millis | None:
        """When the author counts as silent, if it shows nothing before; None if by no round that we entered."""
        newest = self._shown[author]
        for round_, at in self._entries:
            if round_ > newest + 1:
                return Millis(at + self._grace_ms)
        return None

    def is_silent(self, author: ValidatorIndex, now: Millis) -> bool:
        begins = self.begins_at(author)
        return begins is not None and now >= begins
