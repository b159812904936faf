"""C19: routine inspections by lot: which sites, how many chips there, and whether it was done (CHECKS 4 and 5).

Every `routine_draw` seconds the beacon draws so many of the covered sites that each has its turn once in `routine` seconds:
at least three tenths of them evenly, so that nothing is predictable, the rest by weight (H100-equivalents, more where
findings are open). A site that would otherwise pass a whole `routine` without an inspection is inspected anyway, also where
the beacon gave nothing, and so is one that an undecided case of severity 3 is about (CHECKS 6). At a drawn site inspectors of
two states compare so many serial numbers that 80 H100-equivalents of dummies are missed once in ten at most; they report with
the mandate `drawn` within `routine_due`. After that:

    nobody came, or too few chips were looked at     2, subject SEC, whose work-plan it is
    inspectors of two states were not let in         3
    serial numbers that do not match                 as C03 grades so many chips, at once

Scenarios give a beacon to all draws from the start; they have routine draws only if their policy names `routine_draw`.
"""

from typing import Final

from node.treaty import beacon
from node.treaty.book import RANK_DUTY, Book, Chance
from node.treaty.cases import is_accused, raise_finding
from node.treaty.chips import chip_of
from node.treaty.duties import SECRETARIAT
from node.treaty.rows.clock import Counter
from node.treaty.rows.sites import Facility, Routine
from node.treaty.sampling import sample_size
from node.treaty.stocks import MH_SEVERE, severity_of

SITES: Final = "sites"  # what is drawn
EVEN_BP: Final = 3_000  # drawn without weights
_NEXT: Final = "routine_draw_at"
_NUMBER: Final = "routine_draws"
# Evidence weight of an open finding, in cB (CHECKS 4, weights to start with); others weigh 50 a grade.
_WEIGHTS: Final = {"C03": 150, "C04": 150, "C10": 120, "C15": 200, "C19": 250}
_GRADE_CB: Final = 50


def schedule(book: Book) -> None:
    """Have the clock look at the next draw, and at each drawn site's time."""
    if book.is_first_law or not _is_on(book):
        return
    row = book.state.counters.get(_NEXT)
    if row is None:
        row = Counter(book.now + book.value("routine_draw"))
        book.state.counters.put(_NEXT, row)
    book.schedule(row.value, RANK_DUTY, "draw", "")
    for facility, routine in book.state.routines.items():
        _schedule(book, facility, routine)


def _is_on(book: Book) -> bool:
    return book.genesis.beacon is None or "routine_draw" in book.founding_policy.schedules


def _schedule(book: Book, facility: str, routine: Routine) -> None:
    if not routine.done:
        book.schedule(routine.due + 1, RANK_DUTY, "routine", facility)


def draw_due(book: Book, _name: str) -> None:
    """The clock looks whether to draw again. With no covered site there is nothing to draw."""
    row = book.state.counters[_NEXT]
    if book.now >= row.value:
        row = Counter(row.value + book.value("routine_draw"))
        book.state.counters.put(_NEXT, row)
        if any(facility.slot for facility in book.state.facilities.values()):
            beacon.ask(book, SITES, str(book.count(_NUMBER)))
    book.schedule(row.value, RANK_DUTY, "draw", "")


def draw_sites(book: Book, chance: Chance) -> None:
    """The round is over: the sites whose turn it is."""
    rows = sorted(book.state.facilities.items())
    covered = [name for name, row in rows if row.slot]
    drawn = [name for name in covered if is_accused(book, name) or _is_overdue(book, name)]
    drawn = [name for name in drawn if not _is_open(book, name)]
    rest = [name for name in covered if name not in set(drawn) and not _is_open(book, name)]
    wanted = -(-len(covered) * book.value("routine_draw") // book.value("routine"))
    if chance.value is not None:
        even = -(-wanted * EVEN_BP // 10_000)
        drawn += beacon.draw(chance.value, f"{SITES}:{chance.name}:even", rest, even)
        rest = [name for name in rest if name not in set(drawn)]
        weights = {name: _weight(book, name, book.state.facilities[name]) for name in rest}
        draw_id = f"{SITES}:{chance.name}:weighted"
        drawn += beacon.draw_weighted(chance.value, draw_id, weights, wanted - even)
    for name in drawn:
        _open(book, name, int(chance.name))
    beacon.show(book, chance, covered, tuple(drawn))


def _is_open(book: Book, facility: str) -> bool:
    row = book.state.routines.get(facility)
    return row is not None and not row.done


def _is_overdue(book: Book, facility: str) -> bool:
    """Whether this is the last draw before the site would have gone a whole `routine` without an inspection."""
    row = book.state.routines.get(facility)
    since = row.at if row is not None else book.state.facilities[facility].covered_at
    due = since + book.value("routine") - book.value("routine_draw")
    return book.now > due and not _is_open(book, facility)


def _weight(book: Book, facility: str, row: Facility) -> int:
    """Work that the site could hide, times what speaks for it: mH * (100 + cB of open findings about it)."""
    open_cb = 0
    for check in _WEIGHTS:
        latest = book.state.latest.get(f"{check}:{row.state}:{facility}")
        case = book.state.cases[latest.finding] if latest is not None else None
        if case is not None and case.result in {"", "UPHELD"}:
            open_cb += max(_WEIGHTS[check], _GRADE_CB * case.severity)
    return max(row.capacity_mh, 1) * (100 + open_cb)


def plan_of(book: Book, facility: str) -> tuple[int, int]:
    """(serial numbers to compare, chips by the last counts) at a site. Nothing counted: nothing to compare with."""
    chips = mh = 0
    for key in book.stocks_at.get(facility, ()):
        count = book.state.stocks[key].chips
        chips += count
        mh += count * chip_of(book, key.partition(":")[2]).mh
    if not chips or not mh:
        return 0, chips
    defects = min(max(MH_SEVERE * chips // mh, 1), chips)
    return sample_size(chips, defects), chips


def _open(book: Book, facility: str, number: int) -> None:
    plan, _ = plan_of(book, facility)
    routine = Routine(
        number=number,
        at=book.now,
        due=book.now + book.value("routine_due"),
        plan=plan,
        checked=0,
        visited=0,
        done=0,
        denied=(),
    )
    book.state.routines.put(facility, routine)
    _schedule(book, facility, routine)


def inspected(
    book: Book, facility: str, entry_hash: bytes, *, checked: int, mismatches: int, denied_s: int
) -> None:
    """Inspectors of two states report from a site with the mandate `drawn`."""
    routine = book.state.routines.get(facility)
    if routine is None:
        return
    if denied_s:
        routine = routine._replace(denied=(*routine.denied, entry_hash)[:2])
    else:
        total = routine.checked + checked
        done = int(routine.done or total >= routine.plan)  # a late visit reopens nothing
        routine = routine._replace(checked=total, visited=1, done=done)
    book.state.routines.put(facility, routine)
    if mismatches:
        _mismatch(book, facility, routine, entry_hash, mismatches)


def _mismatch(
    book: Book, facility: str, routine: Routine, entry_hash: bytes, mismatches: int
) -> None:
    """Chips that are not those counted; an unknown stock counts as H100."""
    chips = mh = 0
    for key in book.stocks_at.get(facility, ()):
        chips += book.state.stocks[key].chips
        mh += book.state.stocks[key].chips * chip_of(book, key.partition(":")[2]).mh
    of_one = mh // chips if chips else 1_000
    raise_finding(
        book,
        "C19",
        book.state.facilities[facility].state,
        facility,
        severity=severity_of(mismatches * of_one),
        size=routine.number,
        numbers=(("checked", routine.checked), ("mismatches", mismatches), ("plan", routine.plan)),
        inputs=(entry_hash,),
    )


def routine_due(book: Book, facility: str) -> None:
    """The clock looks: the time for a drawn inspection is over."""
    routine = book.state.routines[facility]
    if routine.done:
        return
    if book.now <= routine.due:
        _schedule(book, facility, routine)
        return
    book.state.routines.put(facility, routine._replace(done=1))
    refused = bool(routine.denied) and not routine.visited
    subject = book.state.facilities[facility].state if refused else SECRETARIAT
    raise_finding(
        book,
        "C19",
        subject,
        facility,
        severity=3 if refused else 2,
        size=routine.number,
        numbers=(("checked", routine.checked), ("due", routine.due), ("plan", routine.plan)),
        inputs=routine.denied,
        fresh=True,  # each draw is a duty of its own
    )
