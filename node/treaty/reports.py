"""Facilities and their reports: `facility`, `usage`, `energy`, with C02 (gaps) and C07 (too much work)."""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.book import RANK_DUTY, Accepted, Book, Refused
from node.treaty.cases import raise_finding
from node.treaty.chips import Chip, approved_chip
from node.treaty.codes import Code
from node.treaty.duties import owe_census
from node.treaty.entries import Entry
from node.treaty.filing import countersigned, operator_of, require_past, require_role
from node.treaty.runs import add_usage
from node.treaty.state import Facility

MH_LARGE: Final = 10_000_000  # 10,000 H100-equivalents
MH_MEDIUM: Final = 1_000_000
# C07: the share of the best peak rate that no training exceeds, in bp (CHECKS 1: u_max at 8 bit).
UTILISATION_MAX_BP: Final = 5_000


def take_facility(book: Book, entry: Entry, body: pb.Facility) -> Accepted:
    """Declare a site, once."""
    author = entry.parsed.author
    state = operator_of(book, entry)
    uncountersigned = countersigned(book, entry, state)
    name = book.qualified(author, body.facility)
    if name in book.state.facilities:
        raise Refused(Code.REPEATED, f"facility {name} is already declared")
    require_past(book, entry)
    row = Facility(
        operator=author,
        state=state,
        capacity_mh=body.capacity_mh,
        mem_gb=body.mem_gb,
        covered_at=0,
        slot=0,
        severe_after=0,
        due_slot=0,
        reported=(),
        missed=0,
    )
    book.state.facilities.put(name, row)
    cover(book, name, row, body.capacity_mh)
    return Accepted(f"facility:{name}", uncountersigned)


def take_usage(book: Book, entry: Entry, body: pb.Usage) -> Accepted:
    """A facility's work in one period."""
    parsed = entry.parsed
    name = book.qualified(parsed.author, body.facility)
    row = book.state.facilities.get(name)
    if row is None:
        raise Refused(Code.UNKNOWN_REF, f"no facility {name}")
    runs = [(book.qualified(parsed.author, share.run), share.pflop) for share in body.runs]
    for run, _ in runs:
        if run not in book.state.plans:
            raise Refused(Code.UNKNOWN_REF, f"no run {run}")
    operator_of(book, entry)
    if row.operator != parsed.author:
        raise Refused(Code.STANDING, f"{name} is {row.operator}'s")
    for run, _ in runs:
        plan = book.state.plans[run]
        if plan.operator != parsed.author and name not in plan.sites:
            raise Refused(Code.STANDING, f"{run} is not {parsed.author}'s and does not list {name}")
    chip = approved_chip(book, parsed.author, body.chip_type)
    assert parsed.period is not None, "parse_entry let a usage without a period through"
    start, end = parsed.period
    require_past(book, entry)
    if row.slot and end > row.covered_at:
        row = _report_slot(book, name, row, start, end)
    row = cover(book, name, row, max(row.capacity_mh, body.chips_on * chip.mh))
    _check_possible(book, entry, body, row.state, chip, end - start)
    for run, pflop in runs:
        add_usage(book, run, pflop, start, entry.entry_hash)
    return Accepted(f"usage:{name}")


def take_energy(book: Book, entry: Entry, body: pb.Energy) -> Accepted:
    """A meter's reading for one period: from the operator, a utility, or a device at the site."""
    parsed = entry.parsed
    name = book.qualified(parsed.author, body.facility)
    row = book.state.facilities.get(name)
    if row is None:
        raise Refused(Code.UNKNOWN_REF, f"no facility {name}")
    role = require_role(book, entry, "operator", "source", "device")
    if row.operator != parsed.author and (
        role == "operator" or book.state_of(parsed.author) != row.state
    ):
        raise Refused(Code.STANDING, f"{name} is {row.operator}'s, in {row.state}")
    require_past(book, entry)
    return Accepted(f"energy:{name}")


def cover(book: Book, name: str, row: Facility, mh: int) -> Facility:
    """Begin the duty to report if the site is or has become large enough (LAW K20, K46)."""
    if row.slot or not (mh > book.value("ccc_mh") or row.mem_gb > book.value("ccc_mem")):
        return row
    size = "l" if mh >= MH_LARGE else "m" if mh >= MH_MEDIUM else "s"
    slot = book.value(f"slot_{size}")
    row = row._replace(
        covered_at=book.now,
        slot=slot,
        severe_after=-(-book.value(f"timeliness_{size}") // slot),
    )
    book.state.facilities.put(name, row)
    _schedule_slot(book, name, row)
    owe_census(book, name)
    return row


def _report_slot(book: Book, name: str, row: Facility, start: int, end: int) -> Facility:
    """Note that a slot is reported. Refuses PERIOD if the period is none of the slots."""
    number, rest = divmod(start - row.covered_at, row.slot)
    if rest or number < 0 or end - start != row.slot:
        raise Refused(
            Code.PERIOD,
            f"[{start}, {end}) is no slot of {name}: {row.covered_at} + i * {row.slot}",
        )
    if number >= row.due_slot and number not in row.reported:
        # A slot ends at most 300 s ahead, so few lie between due_slot and now.
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


def _slot_deadline(row: Facility) -> int:
    return row.covered_at + (row.due_slot + 2) * row.slot  # slot end + one slot


def _schedule_slot(book: Book, name: str, row: Facility) -> None:
    book.schedule(_slot_deadline(row) + 1, RANK_DUTY, "slot", name)


def slot_due(book: Book, name: str) -> None:
    """C02: the deadline of one slot has passed: severity 1, at 3 missed 2, at `severe_after` 3."""
    row = book.state.facilities[name]
    if book.now <= _slot_deadline(row):
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


def _check_possible(
    book: Book, entry: Entry, body: pb.Usage, state: str, chip: Chip, seconds: int
) -> None:
    """C07: no more work and no more seconds than the chips can give, and the classes add up (K23).

    A report that breaks this stays on the log and is evidence: a Finding, not a rejection.
    PFLOP * 10^6 = GFLOP, and bp * 10^4: hence the factor 10^10. What the last count showed goes before what is said.
    """
    stock = book.state.stocks.get(
        f"{book.qualified(entry.parsed.author, body.facility)}:{chip.name}"
    )
    chips = body.chips_on if stock is None else stock.chips
    possible = chips * chip.peak_any * seconds * UTILISATION_MAX_BP
    by_class = sum(item.amount for item in body.by_class)
    if (
        body.pflop_total * 10**10 <= possible
        and body.chip_seconds <= chips * seconds
        and by_class == body.pflop_total
    ):
        return
    raise_finding(
        book,
        "C07",
        state,
        entry.name,
        severity=2,
        size=0,
        numbers=(
            ("by_class_pflop", by_class),
            ("chip_seconds", body.chip_seconds),
            ("chips", chips),
            ("pflop_possible", possible // 10**10),
            ("pflop_total", body.pflop_total),
            ("seconds", seconds),
        ),
        inputs=(entry.entry_hash,),
    )
