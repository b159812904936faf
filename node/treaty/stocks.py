"""Chips at a site: `inventory`, with the balance (C03) and serial numbers counted twice (C29).

The balance closes at each count, from the one before it: begin + in - out - destroyed + found - lost - end
must be 0 (LAW K21). Movements are summed as they are reported, so a count costs the same after any number.
"""

from typing import Final

from foedus.v1 import content_pb2 as pb
from node.treaty.book import Accepted, Book, Refused
from node.treaty.cases import raise_finding
from node.treaty.chips import Chip, approved_chip
from node.treaty.codes import Code
from node.treaty.duties import counted
from node.treaty.entries import Entry
from node.treaty.filing import countersigned, operator_of, require_past
from node.treaty.reports import cover
from node.treaty.state import Serial, Stock

MH_ANOMALY: Final = 16_000  # from 16 H100-equivalents severity 2 (CHECKS 4, C03)
MH_SEVERE: Final = 80_000  # the hardware significant quantity: severity 3
# Inputs that a finding lists one by one besides its two counts (RULINGS R12). A site that moves more lots
# between two counts has them in the log all the same; its row must not grow with them.
MOVES_KEPT: Final = 254


def stock_key(facility: str, chip_type: str) -> str:
    """Facility ids hold no colon."""
    return f"{facility}:{chip_type}"


def severity_of(missing_mh: int) -> int:
    """C03's grades by the size of what is missing or too many."""
    return 3 if missing_mh >= MH_SEVERE else 2 if missing_mh >= MH_ANOMALY else 1


def take_inventory(book: Book, entry: Entry, body: pb.Inventory) -> Accepted:
    """A physical count of one chip type at one site."""
    author = entry.parsed.author
    name = book.qualified(author, body.facility)
    facility = book.state.facilities.get(name)
    if facility is None:
        raise Refused(Code.UNKNOWN_REF, f"no facility {name}")
    uncountersigned = countersigned(book, entry, operator_of(book, entry))
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
    book.state.stocks.put(key, stock)
    if before is not None:
        _balance(book, entry, name, facility.state, chip, before, stock)
        _release(book, key, before.serial_root)
    _declare_serials(book, key, facility.state, stock)
    cover(book, name, book.state.facilities[name], max(facility.capacity_mh, body.count * chip.mh))
    counted(book, name)
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
        size=entry.index,  # each count closes a balance of its own: a later one is another event
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


def move(book: Book, key: str, entry: Entry, **sums: int) -> None:
    """A reported movement of chips at a site: `came`, `went`, `destroyed`, `found` or `lost`.

    Before the first count there is no balance to keep.
    """
    stock = book.state.stocks.get(key)
    if stock is None:
        return
    changed = {name: getattr(stock, name) + count for name, count in sums.items()}
    moves = (*stock.moves, entry.entry_hash)[-MOVES_KEPT:]
    book.state.stocks.put(key, stock._replace(moves=moves, **changed))


# --- C29: one chip counted at two sites -----------------------------------------------------------


def _declare_serials(book: Book, key: str, state: str, stock: Stock) -> None:
    """One serial root in the last counts of two sites, and none has sent it out: one of them lies (LAW K27, K48)."""
    root = stock.serial_root.hex()
    row = book.state.serials.get(root)
    holders = (*(row.holders if row else ()), (key, stock.entry))
    book.state.serials.put(root, Serial(holders))
    site = _site(key)
    others = [holder for holder in holders if _site(holder[0]) != site]
    if not others:
        return
    inputs = tuple(hash_ for _, hash_ in holders)
    accused = {book.state.facilities[_site(other)].state: 2 for other, _ in others}
    for subject, severity in sorted((accused | {state: 3}).items()):
        raise_finding(
            book,
            "C29",
            subject,
            root,
            severity=severity,
            size=len(holders),
            numbers=(("sites", len({_site(holder) for holder, _ in holders})),),
            inputs=inputs,
        )


def _site(key: str) -> str:
    return key.partition(":")[0]


def _release(book: Book, key: str, serial_root: bytes) -> None:
    """A site's last count no longer shows that root, or its chips were sent out."""
    root = serial_root.hex()
    row = book.state.serials.get(root)
    if row is None:
        return
    holders = tuple(holder for holder in row.holders if holder[0] != key)
    if holders:
        book.state.serials.put(root, Serial(holders))
    else:
        book.state.serials.drop(root)


def sent_out(book: Book, key: str, serial_root: bytes) -> None:
    """A custody `out` of these very chips: another site may count them from now on."""
    _release(book, key, serial_root)
