"""`inventory`: a physical count, with the balance (C03) and serial numbers counted twice (C29) (MODEL 3, kind 7).

The balance closes at each count, from the one before it: begin + in - out - destroyed + found - lost - end
must be 0 (LAW K21). Movements are summed as they are reported, so a count costs the same after any number.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty import departures
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.cases import raise_finding
from node.treaty.chips import Chip, approved_chip
from node.treaty.codes import Code
from node.treaty.duties import counted
from node.treaty.entries import Entry
from node.treaty.filing import countersigned, require_past, require_role
from node.treaty.inspections import require_inspectors
from node.treaty.kinds import Kind
from node.treaty.reports import cover
from node.treaty.rows.sites import Serial, Stock
from node.treaty.stocks import release, severity_of, site_of, stock_key


def take_inventory(book: Book, entry: Entry, body: pb.Inventory) -> Accepted:
    """A physical count of one chip type at one site: by its operator with its state, or by two inspectors."""
    author = entry.parsed.author
    name = book.qualified(author, body.facility)
    facility = book.state.facilities.get(name)
    if facility is None:
        raise Refused(Code.UNKNOWN_REF, f"no facility {name}")
    uncountersigned = False
    if require_role(book, entry, "operator", "inspector") == "inspector":
        require_inspectors(book, entry, facility.state)
    else:
        uncountersigned = countersigned(book, entry, book.state_of(author))
        if facility.operator != author:
            raise Refused(Code.STANDING, f"{name} is {facility.operator}'s")
    chip = approved_chip(book, author, body.chip_type)
    require_past(book, entry)
    key = stock_key(name, chip.name)
    before = book.state.stocks.get(key)
    stock = Stock(
        entry=entry.entry_hash,
        chips=body.count,
        serial_root=body.serial_root,
        came=0,
        went=0,
        destroyed=0,
        found=0,
        lost=0,
        moves=(),
    )
    book.put_stock(name, key, stock)
    if before is not None:
        _balance(book, entry, name, facility.state, chip, before, stock)
        release(book, key, before.serial_root)
    _declare_serials(book, key, facility.state, stock)
    cover(book, name, book.state.facilities[name], max(facility.capacity_mh, body.count * chip.mh))
    counted(book, name)
    departures.counted(book, name)
    return Accepted(f"inventory:{name}", uncountersigned)


def _balance(
    book: Book, entry: Entry, name: str, state: str, chip: Chip, begin: Stock, end: Stock
) -> None:
    """C03: what the counts and the movements between them leave unexplained."""
    expected = begin.chips + begin.came - begin.went - begin.destroyed + begin.found - begin.lost
    balance = expected - end.chips
    if not balance:
        return
    raise_finding(
        book,
        "C03",
        state,
        name,
        severity=severity_of(chip.mh * abs(balance)),
        size=entry.leaf,  # each count closes a balance of its own: a later one is another event
        numbers=(
            ("balance", balance),
            ("begin", begin.chips),
            ("destroyed", begin.destroyed),
            ("end", end.chips),
            ("found", begin.found),
            ("in", begin.came),
            ("lost", begin.lost),
            ("mh", chip.mh),
            ("out", begin.went),
        ),
        inputs=(begin.entry, *begin.moves, end.entry),
    )


def _declare_serials(book: Book, key: str, state: str, stock: Stock) -> None:
    """One serial root in the last counts of two sites, and none has sent it out: one of them lies (LAW K27, K48)."""
    root = stock.serial_root.hex()
    row = book.state.serials.get(root)
    holders = (*(row.holders if row else ()), (key, stock.entry))
    book.state.serials.put(root, Serial(holders))
    site = site_of(key)
    others = [holder for holder in holders if site_of(holder[0]) != site]
    if not others:
        return
    inputs = tuple(hash_ for _, hash_ in holders)
    accused = {book.state.facilities[site_of(other)].state: 2 for other, _ in others}
    for subject, severity in sorted((accused | {state: 3}).items()):
        raise_finding(
            book,
            "C29",
            subject,
            root,
            severity=severity,
            size=len(holders),
            numbers=(("sites", len({site_of(holder) for holder, _ in holders})),),
            inputs=inputs,
        )


KIND: Final[Kind] = Kind(
    form=Form(
        required=("chip_type", "facility", "count", "serial_root"),
        integers=("count", "taken_at"),
        references=("chip_type", "facility"),
        texts=("method",),
        hashes=("serial_root",),
    ),
    take=take_inventory,
    speaks_of="facility",
)
