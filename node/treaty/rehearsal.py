"""A dry run: what a rule would say of an entry, without the entry having been said.

Rules refuse before they change anything (`Refused`), so a rule that reaches its first change accepts. A rehearsal is the open
book with every way to change it barred: rows, indexes, the clock's queue, derived values. The first attempt ends the run, which
costs no more than the entry itself, copies no table and leaves nothing behind.

What lies behind a change is not rehearsed: an AMEND with a daily course marks that it was judged before its direction is computed
(node decision 0126), so of such a one only what comes before is told.
"""

from typing import Final, NoReturn

from node.treaty.book import Book
from node.treaty.tables import WouldChange

# The book's own ways to change; rows are barred by the tables themselves.
_CHANGES: Final = (
    *("emit", "schedule", "pop_due", "put_case", "put_lot", "index_lot", "take_oldest_lot"),
    *("index_plan", "add_done"),
)


class Rehearsal(Book):
    """`book` as a rule sees it; good for one run, between two calls of the law."""

    def __init__(self, book: Book) -> None:
        vars(self).update(vars(book))
        self.state = book.state.barred()
        self.to_judge = {}
        self.to_draw = []
        self.derived = []
        for name in _CHANGES:
            assert hasattr(Book, name), f"the book has no {name} any more"
            setattr(self, name, _would_change)


def _would_change(*_what: object, **_more: object) -> NoReturn:
    raise WouldChange
