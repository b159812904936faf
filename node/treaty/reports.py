"""Sites that owe reports: when a site becomes covered, its slots, and C02, gaps between them (LAW K20, K46)."""

from typing import Final

from node.treaty import outage
from node.treaty.book import RANK_DUTY, Book, Refused
from node.treaty.cases import raise_finding
from node.treaty.codes import Code
from node.treaty.duties import fulfil, owe_census
from node.treaty.rows.sites import Facility, Size

MH_LARGE: Final = 10_000_000  # 10,000 H100-equivalents
MH_MEDIUM: Final = 1_000_000


def cover(book: Book, name: str, row: Facility, mh: int) -> Facility:
    """Begin the duty to report if the site is or has become large enough (LAW K20, K46)."""
    if mh > row.capacity_mh:
        note_size(book, name, mh)
    if row.slot or not (mh > book.value("ccc_mh") or row.mem_gb > book.value("ccc_mem")):
        return row
    size = "l" if mh >= MH_LARGE else "m" if mh >= MH_MEDIUM else "s"
    slot = book.value(f"slot_{size}")
    row = row._replace(
        covered_at=book.now,
        slot=slot,
        due_slot=0,
        severe_after=-(-book.value(f"timeliness_{size}") // slot),
    )
    book.state.facilities.put(name, row)
    _schedule_slot(book, name, row)
    owe_census(book, name)
    return row


def is_large(book: Book, name: str, row: Facility) -> bool:
    """Whether the present thresholds cover a site: by what was declared, or what reports showed (LAW K46)."""
    if row.capacity_mh > book.value("ccc_mh") or row.mem_gb > book.value("ccc_mem"):
        return True
    largest = book.state.sizes.get(name)
    return largest is not None and largest.mh > book.value("ccc_mh")


def note_size(book: Book, name: str, mh: int) -> None:
    """A report showed so much at a site: kept where it is more than was known, for thresholds that move later."""
    before = book.state.sizes.get(name)
    if not book.is_first_law and (before is None or mh > before.mh):
        book.state.sizes.put(name, Size(mh))


def thresholds_moved(book: Book) -> None:
    """Who is covered is judged by the present thresholds (LAW K36): sites become so, or are so no more."""
    for name, row in sorted(book.state.facilities.items()):
        size = book.state.sizes.get(name)
        if not row.slot:
            cover(book, name, row, max(row.capacity_mh, size.mh if size else 0))
        elif not is_large(book, name, row):
            book.state.facilities.put(name, row._replace(slot=0, reported=(), missed=0))
            fulfil(book, f"count:{name}")


def report_slot(book: Book, name: str, row: Facility, start: int, end: int) -> Facility:
    """Note that a slot is reported. Refuses PERIOD if the period is none of the slots."""
    number, rest = divmod(start - row.covered_at, row.slot)
    if rest or number < 0 or end - start != row.slot:
        raise Refused(
            Code.PERIOD,
            f"[{start}, {end}) is no slot of {name}: {row.covered_at} + i * {row.slot}",
        )
    if number >= row.due_slot and number not in row.reported:
        if number == row.due_slot and not row.reported:  # in turn, as nearly always
            row = row._replace(due_slot=number + 1, missed=0)
        else:  # A slot ends at most 300 s ahead, so few lie between due_slot and now.
            row = _settled(row._replace(reported=tuple(sorted((*row.reported, number)))))
        book.state.facilities.put(name, row)
    return row


def _settled(row: Facility) -> Facility:
    """Pass over slots that are reported: each ends the gap, and no clock effect is left to them.

    So a site that reports in time changes nothing by the clock, and idle commits stay empty.
    """
    due, reported, missed = row.due_slot, row.reported, row.missed
    while due in reported:
        due, missed = due + 1, 0
    kept = tuple(number for number in reported if number >= due)
    return row._replace(due_slot=due, reported=kept, missed=missed)


def slot_deadline(book: Book, row: Facility, number: int) -> int:
    """The last second at which slot `number` of a covered site is reported in time."""
    start = row.covered_at + number * row.slot
    return outage.later(book, start, start + 2 * row.slot)  # slot end + one slot


def _schedule_slot(book: Book, name: str, row: Facility) -> None:
    book.schedule(slot_deadline(book, row, row.due_slot) + 1, RANK_DUTY, "slot", name)


def slot_due(book: Book, name: str) -> None:
    """C02: the deadline of one slot has passed: severity 1, at 3 missed 2, at `severe_after` 3."""
    row = book.state.facilities[name]
    if not row.slot:
        return  # covered no more
    if book.now <= slot_deadline(book, row, row.due_slot):
        _schedule_slot(book, name, row)
        return
    missed = row.missed + 1  # were it reported, `_settled` would have passed over it
    row = _settled(row._replace(due_slot=row.due_slot + 1, missed=missed))
    book.state.facilities.put(name, row)
    _schedule_slot(book, name, row)
    severity = 3 if missed >= row.severe_after else 2 if missed >= 3 else 1
    raise_finding(
        book,
        "C02",
        row.state,
        name,
        severity=severity,
        size=0,  # a lasting gap is one act
        numbers=(("missed_slots", missed), ("slot_s", row.slot)),
        fresh=missed == 1,
    )
