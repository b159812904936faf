"""C10: chips' own counters against what the operator says (CHECKS 4; M32).

Both sides report the same slot of a covered site. When the slot's deadline has passed, the sums are compared: |counters -
operator| * 10^4 > 100 * counters is severity 2, from a tenth of the significant quantity 3 (both numbers are signed on the
subject's own side, which admits them). Where the counters read fewer chips than the operator had on, they are a lower
bound: only more work than was told is then a finding. A reading for no slot, or one that comes when its slot is judged,
stays on the log uncompared.

Bounded: a slot ends at most 300 s ahead and is judged one slot after its end, so few are open at a site at any time.
"""

from typing import Final

from node.treaty.book import RANK_DUTY, Book
from node.treaty.cases import raise_finding
from node.treaty.rows.sites import Facility, Tally

TOLERANCE_BP: Final = 100
SEVERE_PFLOP: Final = 10**8  # a tenth of the significant quantity of 10^9 PFLOP


def by_meter(
    book: Book, facility: str, row: Facility, period: tuple[int, int], pflop: int, chips: int
) -> None:
    """A group's counters for a period."""
    _add(book, facility, row, period, (pflop, chips, 0, 0))


def by_operator(
    book: Book, facility: str, row: Facility, period: tuple[int, int], pflop: int, chips: int
) -> None:
    """The operator's report on a period."""
    _add(book, facility, row, period, (0, 0, pflop, chips))


def _add(
    book: Book, facility: str, row: Facility, period: tuple[int, int], gained: tuple[int, ...]
) -> None:
    start, end = period
    if book.is_first_law or not row.slot or end - start != row.slot or start < row.covered_at:
        return
    number, rest = divmod(start - row.covered_at, row.slot)
    if rest or book.now > judged_at(row, number):
        return
    tally = book.state.tallies.get(facility)
    slots = tally.slots if tally else ()
    if not slots or slots[-1][0] < number:  # the first word on the newest slot
        rows = (*slots, (number, *gained))
    else:
        sums = {slot[0]: slot[1:] for slot in slots}
        known = sums.get(number, (0, 0, 0, 0))
        sums[number] = tuple(map(sum, zip(known, gained, strict=True)))
        rows = tuple(sorted((slot, *amounts) for slot, amounts in sums.items()))
    book.state.tallies.put(facility, Tally(rows))
    _schedule(book, facility, row, rows[0][0])


def judged_at(row: Facility, number: int) -> int:
    """The last second at which a report on this slot is in time: its end and one slot more (LAW K20)."""
    return row.covered_at + (number + 2) * row.slot


def schedule(book: Book, facility: str, row: Facility) -> None:
    """Have the clock look when the oldest open slot is to be judged."""
    tally = book.state.tallies.get(facility)
    if tally is not None:
        _schedule(book, facility, row, tally.slots[0][0])


def _schedule(book: Book, facility: str, row: Facility, oldest: int) -> None:
    book.schedule(judged_at(row, oldest) + 1, RANK_DUTY, "tally", facility)


def tally_due(book: Book, facility: str) -> None:
    """The clock looks at a site's sums: those whose time is over are compared and forgotten."""
    tally = book.state.tallies.get(facility)
    if tally is None:
        return
    row = book.state.facilities[facility]
    over = [slot for slot in tally.slots if not row.slot or book.now > judged_at(row, slot[0])]
    left = tally.slots[len(over) :]
    if left:
        book.state.tallies.put(facility, Tally(left))
        schedule(book, facility, row)
    else:
        book.state.tallies.drop(facility)
    for number, metered, metered_chips, told, told_chips in over:
        if metered and _differs(metered, told, whole=metered_chips >= told_chips):
            _raise(book, facility, row.state, number, metered, told)


def _differs(metered: int, told: int, *, whole: bool) -> bool:
    gap = abs(metered - told) if whole else metered - told
    return gap * 10_000 > TOLERANCE_BP * metered


def _raise(book: Book, facility: str, state: str, number: int, metered: int, told: int) -> None:
    gap = abs(metered - told)
    raise_finding(
        book,
        "C10",
        state,
        facility,
        severity=3 if gap >= SEVERE_PFLOP else 2,
        size=number,  # each slot has sums of its own: a later one is another event
        numbers=(
            ("counters_pflop", metered),
            ("operator_pflop", told),
            ("slot", number),
            ("tolerance_bp", TOLERANCE_BP),
        ),
    )
