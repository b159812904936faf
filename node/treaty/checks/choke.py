"""C24 as far as makers go: how few make what every frontier chip needs, and whether that lever weakens (M34).

Registered sources report what fabs put out (`fab_output`), tools of lithography (`litho_tool`) and memory (`hbm`) by maker
(`seller`). At the first report of a new quarter the largest maker's share over the four quarters before is compared with
`choke_floor`: below it the secretariat owes a review, severity 1. Shares are in basis points, rounded down.
"""

from collections.abc import Mapping
from typing import Final

from node.treaty.book import Book
from node.treaty.cases import raise_finding
from node.treaty.duties import SECRETARIAT, owe_review
from node.treaty.policy import DAY
from node.treaty.rows.clock import Counter
from node.treaty.rows.sites import Output

STEPS: Final = frozenset({"fab_output", "litho_tool", "hbm"})
QUARTER_S: Final = 91 * DAY
QUARTERS: Final = 4  # that a share is computed over
MAKERS_MAX: Final = 256  # of one step; more are summed up as one
OTHERS: Final = "others"


def take_output(book: Book, step: str, maker: str, count: int, entry_hash: bytes) -> None:
    """A source says what a maker put out."""
    if book.is_first_law or step not in STEPS or not maker:
        return
    quarter = (book.now - book.genesis.time_s) // QUARTER_S
    judged = book.state.counters.get(_judged(step))
    if judged is None or judged.value < quarter:
        if judged is not None:
            _judge(book, step, quarter, entry_hash)
        book.state.counters.put(_judged(step), Counter(quarter))
    key = f"{step}:{maker}"
    if key not in book.state.outputs and len(_rows(book, step)) >= MAKERS_MAX:
        key = f"{step}:{OTHERS}"
    row = book.state.outputs.get(key)
    made = dict(row.quarters) if row else {}
    made[quarter] = made.get(quarter, 0) + count
    kept = sorted(item for item in made.items() if item[0] > quarter - QUARTERS - 1)
    book.state.outputs.put(key, Output(tuple(kept)))


def _judged(step: str) -> str:
    return f"choke:{step}"


def _rows(book: Book, step: str) -> Mapping[str, Output]:
    prefix = f"{step}:"
    return {
        key.removeprefix(prefix): row
        for key, row in sorted(book.state.outputs.items())
        if key.startswith(prefix)
    }


def shares(book: Book, step: str, before: int) -> dict[str, int]:
    """Of each maker its pieces in the four quarters before quarter `before`."""
    return {
        maker: sum(
            pieces for number, pieces in row.quarters if before - QUARTERS <= number < before
        )
        for maker, row in _rows(book, step).items()
    }


def _judge(book: Book, step: str, quarter: int, entry_hash: bytes) -> None:
    made = shares(book, step, quarter)
    whole = sum(made.values())
    single = {maker: pieces for maker, pieces in made.items() if maker != OTHERS}
    top_bp = 10_000 * max(single.values(), default=0) // whole if whole else 10_000
    floor_bp = book.value("choke_floor")
    if top_bp >= floor_bp:
        return
    raise_finding(
        book,
        "C24",
        SECRETARIAT,
        f"choke:{step}",
        severity=1,
        size=quarter,
        numbers=(("top_bp", top_bp), ("floor_bp", floor_bp), ("makers", len(made))),
        inputs=(entry_hash,),
    )
    owe_review(book)
