"""What stands for the law where members change: a pure function of the commits that it has executed (SPEC 14.1).

    joins 5     leaves 0        entries among the others in blocks; who wants what is wanted once
    execute     one commit further. The first one that finds a change wanted closes the epoch, unless it has just begun
    end_epoch   the order has ended it: who was fixed at the closing validates from now on

Bounds as in decision 0130: of n members at most max(1, f) are new, so the others are a quorum; who is too many waits.
"""

from collections.abc import Iterable
from typing import Final

EPOCH_COMMITS_MIN: Final = 3  # so long an epoch lasts at least: changes meet in one
JOINS: Final = b"joins "
LEAVES: Final = b"leaves "


class Law:
    """Of one member, as far as it is."""

    def __init__(self, founders: Iterable[int]) -> None:
        self.committee = tuple(founders)  # seats, ascending
        self.closing: tuple[int, ...] | None = None  # who validates next, once that is fixed
        self.wanted: dict[bytes, None] = {}  # changes, in the order of the log
        self.known: dict[bytes, None] = {}  # those that have taken effect included
        self._commits = 0  # of this epoch

    def execute(self, transactions: Iterable[bytes]) -> None:
        for transaction in transactions:
            if transaction.startswith((JOINS, LEAVES)) and transaction not in self.known:
                self.known[transaction] = self.wanted[transaction] = None
        self._commits += 1
        if self.closing is None and self.wanted and self._commits >= EPOCH_COMMITS_MIN:
            self._close()

    def _close(self) -> None:
        seats = list(self.committee)
        fresh = 0
        for change in list(self.wanted):
            word, _, number = change.partition(b" ")
            seat = int(number)
            if word + b" " == LEAVES:
                seats.remove(seat)
            elif fresh < max(1, len(seats) // 3):  # f of the committee with it
                fresh += 1
                seats.append(seat)
            else:
                continue
            del self.wanted[change]
        self.closing = tuple(sorted(seats))

    def end_epoch(self) -> tuple[int, ...]:
        assert self.closing is not None, "an epoch ends that nothing has closed"
        self.committee, self.closing, self._commits = self.closing, None, 0
        return self.committee
