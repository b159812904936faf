"""Chips at a site as the last count and the movements since leave them; and which serial roots a site vouches for."""

from typing import Final

from node.treaty.book import Book
from node.treaty.chips import chip_of
from node.treaty.entries import Entry
from node.treaty.rows.sites import Serial

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


def site_of(key: str) -> str:
    return key.partition(":")[0]


def release(book: Book, key: str, serial_root: bytes) -> None:
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
    release(book, key, serial_root)


def mh_left(book: Book, facility: str) -> int:
    """Capacity at a site by its last counts and what moved since; declared capacity where nothing was ever counted."""
    keys = book.stocks_at.get(facility, ())
    if not keys:
        return book.state.facilities[facility].capacity_mh
    total = 0
    for key in keys:
        row = book.state.stocks[key]
        chips = row.chips + row.came - row.went - row.destroyed + row.found - row.lost
        total += chips * chip_of(book, key.partition(":")[2]).mh
    return total


def is_cleared(book: Book, facility: str) -> bool:
    """Whether what is left there is below the threshold of covered sites."""
    return mh_left(book, facility) <= book.value("ccc_mh")
