"""C24 as far as prices go: what a forbidden training would cost, and how near that is to anybody's purse (M46 to M48).

Work of an hour of one chip: its 16-bit peak at 40 %. At 2 USD an hour of an H100 10^25 FLOP cost about 14 million. Of each
state the price last reported by any of its sources counts, and of these the second lowest, so no single source rings or
silences a bell. Below `cost_floor` the secretariat owes a review meeting within `review` seconds; below `readiness_floor`
for one significant quantity the measures of level 4 are due (hardware and publication): severity 2.
"""

from typing import Final

from node.treaty.book import Book
from node.treaty.cases import raise_finding
from node.treaty.duties import SECRETARIAT, owe_review
from node.treaty.entries import Entry
from node.treaty.rows.sites import Price

PEAK_BF16: Final = {"H100": 989_000, "H200": 989_000, "A100": 312_000, "B200": 2_250_000}
UTILISATION_BP: Final = 4_000  # u_typ of CHECKS 1
SIGNIFICANT_PFLOP: Final = 10**9
HOUR_S: Final = 3_600
_SCALE: Final = 10**9  # prices are compared in billionths of a dollar an hour


def pflop_per_hour(book: Book, chip_type: str) -> int:
    """Work of one chip in an hour of training, PFLOP rounded down; 0 = its 16-bit rate is unknown."""
    spec = book.state.specs.get(chip_type)
    peak = PEAK_BF16.get(chip_type, spec.peak_bf16 if spec else 0)
    return peak * HOUR_S * UTILISATION_BP // (10**6 * 10_000)


def cost_usd(book: Book, chip_type: str, pflop: int) -> int | None:
    """What so much work costs on this chip, USD rounded down; None without prices of two states."""
    per_hour = pflop_per_hour(book, chip_type)
    price = _confirmed(book, chip_type)
    if price is None or not per_hour:
        return None
    return pflop * price.usd // (per_hour * price.hours)


def _confirmed(book: Book, chip_type: str) -> Price | None:
    """The second lowest of the states' prices: the lowest one that another state's is not above."""
    rows = [book.state.prices.get(f"{chip_type}:{state}") for state in sorted(book.state.members)]
    prices = sorted(
        (row.usd * _SCALE // row.hours, number)
        for number, row in enumerate(rows)
        if row is not None
    )
    return rows[prices[1][1]] if len(prices) >= 2 else None


def take_price(book: Book, entry: Entry, chip_type: str, usd: int, hours: int) -> None:
    """A source says what chip-hours cost; `hours` from 1."""
    author = entry.parsed.author
    row = Price(author, usd, hours, book.now)
    book.state.prices.put(f"{chip_type}:{book.state_of(author)}", row)
    horizon = cost_usd(book, chip_type, book.value("horizon_flop"))
    floor = book.value("cost_floor")
    is_cheap = horizon is not None and horizon < floor
    if (
        horizon is not None
        and is_cheap
        and _alarm(book, entry, f"cost:{chip_type}", 1, horizon, floor)
    ):
        owe_review(book)
    significant = cost_usd(book, chip_type, SIGNIFICANT_PFLOP)
    if significant is not None and significant < book.value("readiness_floor"):
        floor = book.value("readiness_floor")
        _alarm(book, entry, f"readiness:{chip_type}", 2, significant, floor)


def _alarm(book: Book, entry: Entry, about: str, severity: int, cost: int, floor: int) -> bool:
    """One finding while it stays below its floor; True if it is new."""
    known = f"C24:{SECRETARIAT}:{about}" in book.state.latest
    raise_finding(
        book,
        "C24",
        SECRETARIAT,
        about,
        severity=severity,
        size=0,
        numbers=(("cost_usd", cost), ("floor_usd", floor)),
        inputs=(entry.entry_hash,),
    )
    return not known
