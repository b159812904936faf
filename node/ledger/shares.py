"""One state's flood and the others' latency: what a busy node proposes of a state that brings most (SPEC 13, decision 0180).

Turns (`turns`) see to it that nobody waits behind a flood in a queue. But every entry that is ordered costs every node processor
time, and where that runs out rounds take longer, for everybody. So a node that is behind its own timers proposes less of it:

    heavy       of a state more than twice its even share of what was ordered in the last WINDOW_COMMITS, others having brought
                something as well; with five states more than two fifths. Where that is little, what comes next counts too
    allowance   units in one own block for each heavy state: down by a quarter with each block while the node is busy. Up while it
                is not and the allowance is used up: by an eighth, but near to where the node was busy last by one unit

Nobody is refused what he needs: states that share evenly are never heavy, at whatever rate; a heavy state keeps ALLOWANCE_MIN in
each block of each node; whose promised time comes near goes before all that; and a state alone on the ledger has all of it.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

UNIT_BYTES: Final = 512
WINDOW_COMMITS: Final = 64  # at drill pace 4 s, between states half a minute
WINDOW_ENTRIES_MIN: Final = 64  # of fewer, no share is worth speaking of
QUIET_ENTRIES_MAX: Final = 1_024  # in a window: what is about to come counts as well
EVEN_SHARES: Final = 2
ALLOWANCE_MIN: Final = 8
ALLOWANCE_FIRST: Final = 64
ALLOWANCE_MAX: Final = 2_048 + 256 * 1024 // UNIT_BYTES  # more than any block has room for
CALM_BLOCKS: Final = 64  # so many of them, and what the node was busy with is forgotten
BLOCKS_WAITING_MAX: Final = 64  # of the allowance: what a heavy state may have waiting here


def units_of(entries: int, size: int) -> int:
    """What entries of `size` bytes in all cost: as much for each, and for every half KiB."""
    return entries + size // UNIT_BYTES


class Shares:
    """Whose entries were ordered lately, and the allowance. Used from one event loop."""

    def __init__(self, states: Callable[[], int]) -> None:
        """`states`: how many there are now."""
        self.allowance = ALLOWANCE_FIRST
        self._states = states
        self._commits: deque[Mapping[str, int]] = deque()
        self._lately: Counter[str] = Counter()
        self._total = 0
        self._is_used_up = False  # a heavy state had more for the last block than it was allowed
        self._busy_at: int | None = None  # the allowance with which the node became busy last
        self._calm_blocks = 0

    def ordered(self, entries: Mapping[str, int]) -> None:
        """One commit: how many entries of each state it brought, by whichever node."""
        self._commits.append(entries)
        self._lately.update(entries)
        self._total += sum(entries.values())
        if len(self._commits) > WINDOW_COMMITS:
            gone = self._commits.popleft()
            self._total -= sum(gone.values())
            for state, count in gone.items():
                self._lately[state] -= count
                if not self._lately[state]:
                    del self._lately[state]

    def is_heavy(self, state: str, more: int = 0, more_of_all: int = 0) -> bool:
        """`more` entries of this state, and `more_of_all` with the others', come on top of what was ordered.

        They count where little was: where a flood begins. Else what was ordered tells, for of what others propose now only their
        own nodes know.
        """
        if self._total > QUIET_ENTRIES_MAX:
            more = more_of_all = 0
        brought, total = self._lately.get(state, 0) + more, self._total + more_of_all
        if total < WINDOW_ENTRIES_MIN or brought == total:
            return False
        return brought * self._states() > EVEN_SHARES * total

    def used_up(self) -> None:
        """A heavy state would have had more for the block that is made now."""
        self._is_used_up = True

    def next_block(self, *, is_busy: bool) -> int:
        """The allowance of the next own block. `is_busy`: the node is behind its own timers, or with what was ordered."""
        if is_busy:
            if self._calm_blocks:
                self._busy_at, self._calm_blocks = self.allowance, 0
            self.allowance = max(ALLOWANCE_MIN, self.allowance * 3 // 4)
        else:
            self._calm_blocks += 1
            if self._calm_blocks > CALM_BLOCKS:
                self._busy_at = None
            if self._is_used_up:
                busy_at = self._busy_at
                is_near = busy_at is not None and self.allowance >= busy_at * 3 // 4
                step = 1 if is_near else max(1, self.allowance // 8)
                self.allowance = min(ALLOWANCE_MAX, self.allowance + step)
        self._is_used_up = False
        return self.allowance
