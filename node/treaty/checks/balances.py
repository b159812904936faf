"""C05 and C06: what fabs, memory makers and customs say against what the register of chips shows (M29, M33b; record 0243; law 3).

    customs   chips of a type that a state's customs let in     <= chips that arrived at its sites from elsewhere     (C06)
    fab       good dies that a state's sources report of a maker <= chips in batches that name this maker             (C05)
    hbm       memory that others sold to a packager             <= its batches times the stacks on each chip          (C05)
    memory    its batches times the stacks on each chip         <= memory that others sold to it                      (C05)

Balances run from the first report on: a gap does not fade, and what crosses the turn of a quarter is not counted twice. They
are judged at each quarter's end, where what was said until the end of the quarter before must have been registered: so much
may be on its way or in stock. C05 tolerates `fab_tol` of what was said, C06 `customs_tol`, or 16 chips. Severity 2; in `hbm` and
`fab` 3 from 80 H100-equivalents on, where the subject's own sources say so, or those of two other states.

An `in` that names no origin counts as come from abroad, and so does one from a fab at home: that hides a gap rather than
invents one. Scenarios have these balances only where their policy names the tolerance.
"""

from hashlib import sha256
from typing import Final

from node.treaty.bodies import BASIS_POINTS, is_name
from node.treaty.book import RANK_DUTY, Book
from node.treaty.cases import raise_finding
from node.treaty.checks.choke import QUARTER_S
from node.treaty.chips import CHIP_TYPES, chip_of
from node.treaty.rows.clock import Counter
from node.treaty.rows.sites import Registered, Said
from node.treaty.stocks import MH_SEVERE

SINCE_LAW: Final = 3
CUSTOMS: Final = "customs"
FAB: Final = "fab"
HBM: Final = "hbm"
CHIPS_MIN: Final = 16  # C06: up to so many are no gap
STATES_KEPT: Final = 8
ENTRIES_KEPT: Final = 32  # of each side; a finding shows them as its inputs
ROWS_MAX: Final = (
    1_024  # of one state's sources on one side; what is beyond is summed up as one maker
)
OTHERS: Final = "others"
_JUDGED_AT: Final = "balances_at"  # counter: the second of the next judgement
STACKS: Final = {"H100": 5, "H200": 6, "A100": 5, "B200": 8}  # of the types known at genesis


def is_on(book: Book, param: str) -> bool:
    """Whether this ledger keeps the balances that a tolerance is for."""
    return book.law >= SINCE_LAW and book.draws_for(param)


def tag(maker: str) -> str:
    """A maker's name as ids hold it: itself, or 16 hex digits of its hash."""
    return maker if is_name(maker) else sha256(maker.encode()).hexdigest()[:16]


def take_trade(
    book: Book, kind: str, author: str, chip: str, seller: str, buyer: str, count: int, entry: bytes
) -> None:
    """A source reports pieces of a known chip type, or memory for it."""
    state = book.state_of(author)
    if kind == "customs" and is_on(book, "customs_tol"):
        if not _is_of(book, seller, state):  # else it leaves the state
            _say(book, f"{CUSTOMS}:{state}:{chip}", state, count, entry)
    elif kind == "fab_output" and is_on(book, "fab_tol"):
        _say(book, f"{FAB}:{state}:{chip}:{tag(seller or author)}", state, count, entry)
    elif kind == "hbm" and is_on(book, "fab_tol") and buyer in book.state.parties:
        _say(book, f"{HBM}:{buyer}:{chip}", state, count, entry)


def take_batch(book: Book, author: str, chip: str, fab: str, count: int, entry_hash: bytes) -> None:
    """Chips came into the register."""
    if is_on(book, "fab_tol"):
        maker = f"{FAB}:{chip}:{tag(fab or author)}"
        is_new = maker not in book.state.registered
        if is_new and book.count(f"registered:{book.state_of(author)}") > ROWS_MAX:
            maker = f"{FAB}:{chip}:{OTHERS}"
        _register(book, maker, count, entry_hash)
        _register(book, f"{HBM}:{author}:{chip}", count, entry_hash)


def take_arrival(
    book: Book, site: str, chip: str, origin: str, count: int, entry_hash: bytes
) -> None:
    """Chips arrived at a site."""
    state = book.state.facilities[site].state
    is_abroad = not origin or book.state.facilities[origin].state != state
    if is_abroad and is_on(book, "customs_tol"):
        _register(book, f"{CUSTOMS}:{state}:{chip}", count, entry_hash)


def known_chip(book: Book, author: str, name: str) -> str:
    """The id of the chip type, approved or not, that a report's `item` names; empty: it names none."""
    chip = name if name in CHIP_TYPES else book.qualified(author, name)
    return chip if chip in CHIP_TYPES or chip in book.state.chip_types else ""


def _is_of(book: Book, party: str, state: str) -> bool:
    row = book.state.parties.get(party)
    return row is not None and row.state == state


def _quarter(book: Book) -> int:
    return (book.now - book.genesis.time_s) // QUARTER_S


def _say(book: Book, key: str, state: str, count: int, entry_hash: bytes) -> None:
    row = book.state.said.get(key)
    if row is None:
        if book.count(f"said:{state}") > ROWS_MAX and key.startswith(FAB):
            key = f"{key.rpartition(':')[0]}:{OTHERS}"
        row = book.state.said.get(key) or Said((), (), ())
        if _JUDGED_AT not in book.state.counters:
            _await_quarter(book)
    quarter = _quarter(book)
    pieces = dict(row.quarters)
    pieces[quarter] = pieces.get(quarter, 0) + count
    old = sum(number for at, number in pieces.items() if at < quarter - 1)
    recent = [(at, number) for at, number in sorted(pieces.items()) if at >= quarter - 1]
    quarters = ((quarter - 2, old), *recent) if old else tuple(recent)
    states = row.states if state in row.states else (*row.states, state)[:STATES_KEPT]
    entries = (*row.entries, entry_hash)[-ENTRIES_KEPT:]
    book.state.said.put(key, Said(quarters, states, entries))


def _register(book: Book, key: str, count: int, entry_hash: bytes) -> None:
    row = book.state.registered.get(key) or Registered(0, ())
    entries = (*row.entries, entry_hash)[-ENTRIES_KEPT:]
    book.state.registered.put(key, Registered(row.pieces + count, entries))


def schedule(book: Book) -> None:
    """Have the clock look when the next quarter ends, if anything is to be judged."""
    row = book.state.counters.get(_JUDGED_AT)
    if row is not None:
        book.schedule(row.value, RANK_DUTY, "balance", "")


def _await_quarter(book: Book) -> None:
    ends = book.genesis.time_s + (_quarter(book) + 1) * QUARTER_S
    book.state.counters.put(_JUDGED_AT, Counter(ends))
    schedule(book)


def quarter_due(book: Book, _name: str) -> None:
    """A quarter is over: what was said before it must be in the register."""
    if book.now < book.state.counters[_JUDGED_AT].value:
        schedule(book)
        return
    _await_quarter(book)
    for key, row in sorted(book.state.said.items()):
        kind, *rest = key.split(":")
        if kind == CUSTOMS:
            _judge_customs(book, row, *rest)
        elif kind == FAB:
            _judge_fab(book, row, *rest)
        else:
            _judge_memory(book, row, *rest)


def _before(book: Book, row: Said) -> int:
    """Pieces said until the end of the quarter before the one that has just ended."""
    return sum(pieces for at, pieces in row.quarters if at < _quarter(book) - 1)


def _judge_customs(book: Book, row: Said, state: str, chip: str) -> None:
    said = _before(book, row)
    other = book.state.registered.get(f"{CUSTOMS}:{state}:{chip}") or Registered(0, ())
    gap = said - other.pieces
    if gap > CHIPS_MIN and gap * BASIS_POINTS > said * book.value("customs_tol"):
        numbers = (("imported", said), ("arrived", other.pieces), ("missing", gap))
        _raise(book, "C06", state, f"customs:{chip}", 2, gap, numbers, row, other)


def _judge_fab(book: Book, row: Said, state: str, chip: str, maker: str) -> None:
    said = _before(book, row)
    other = book.state.registered.get(f"{FAB}:{chip}:{maker}") or Registered(0, ())
    gap = said - other.pieces
    if gap * BASIS_POINTS > said * book.value("fab_tol"):
        numbers = (("good", said), ("registered", other.pieces), ("missing", gap))
        severity = _grade(row, state, gap * chip_of(book, chip).mh)
        _raise(book, "C05", state, f"fab:{chip}:{maker}", severity, gap, numbers, row, other)


def _judge_memory(book: Book, row: Said, packager: str, chip: str) -> None:
    memory = book.state.memories.get(chip)
    stacks = STACKS.get(chip, memory.stacks if memory is not None else 0)
    if not stacks:
        return
    state = book.state_of(packager)
    other = book.state.registered.get(f"{HBM}:{packager}:{chip}") or Registered(0, ())
    used, bought = other.pieces * stacks, sum(pieces for _, pieces in row.quarters)
    before, tolerance = _before(book, row), book.value("fab_tol")
    surplus = before - used
    if surplus * BASIS_POINTS > before * tolerance:
        hidden = surplus // stacks
        numbers = (("stacks", before), ("stacks_used", used), ("chips_possible", hidden))
        severity = _grade(row, state, hidden * chip_of(book, chip).mh)
        _raise(book, "C05", state, f"hbm:{packager}:{chip}", severity, surplus, numbers, row, other)
    if (used - bought) * BASIS_POINTS > bought * tolerance:
        numbers = (("stacks", bought), ("stacks_used", used), ("missing", used - bought))
        about = f"memory:{packager}:{chip}"
        _raise(book, "C05", state, about, 2, used - bought, numbers, row, other)


def _grade(row: Said, subject: str, mh: int) -> int:
    """3 needs the subject's own signed numbers, or two groups (CHECKS 2)."""
    others = set(row.states) - {subject}
    return 3 if mh >= MH_SEVERE and (subject in row.states or len(others) >= 2) else 2


def _raise(
    book: Book,
    check: str,
    subject: str,
    about: str,
    severity: int,
    gap: int,
    numbers: tuple[tuple[str, int], ...],
    said: Said,
    other: Registered,
) -> None:
    raise_finding(
        book,
        check,
        subject,
        about,
        severity=severity,
        size=gap,
        numbers=numbers,
        inputs=(*said.entries, *other.entries),
    )
