"""A dry run: what a rule would say of an entry, without the entry having been said.

Rules refuse before they change anything (`Refused`), so a rule that reaches its first change accepts. A rehearsal is the open
book with every way to change it barred: rows, indexes, the clock's queue, derived values. The first attempt ends the run, which
costs no more than the entry itself, copies no table and leaves nothing behind.

What lies behind a change is not rehearsed: an AMEND with a daily course marks that it was judged before its direction is computed
(node decision 0126), so of such a one only what comes before is told.
"""

from typing import NoReturn

from node.treaty.book import Book
from node.treaty.state import State
from node.treaty.tables import WouldChange


class Rehearsal(Book):
    """`book` as a rule sees it; good for one run, between two calls of the law."""

    def __init__(
        self, book: Book
    ) -> None:  # not Book's own: everything but rows and queues is shared
        self.genesis = book.genesis
        self.law = book.law
        self.founding_policy = book.founding_policy
        self.policy = book.policy
        self.index = book.index
        self.state = State(shown=book.state)  # a change of a row raises
        self.now = book.now
        self.derived = []
        self.case_moved = book.case_moved
        self.to_draw = []
        self.to_judge = {}
        self.due = book.due
        self.pending = book.pending
        self.by_ref = book.by_ref
        self.runs_at = book.runs_at
        self.stocks_at = book.stocks_at
        self.on_way = book.on_way
        self.children = book.children
        self.groups = book.groups
        self.groups_of = book.groups_of
        self.component = book.component

    # The book's own ways to change.

    def emit(self, *_what: object, **_more: object) -> NoReturn:
        raise WouldChange

    def schedule(self, *_what: object, **_more: object) -> NoReturn:
        raise WouldChange

    def pop_due(self, *_what: object, **_more: object) -> NoReturn:
        raise WouldChange

    def put_case(self, *_what: object, **_more: object) -> NoReturn:
        raise WouldChange

    def put_lot(self, *_what: object, **_more: object) -> NoReturn:
        raise WouldChange

    def index_lot(self, *_what: object, **_more: object) -> NoReturn:
        raise WouldChange

    def take_oldest_lot(self, *_what: object, **_more: object) -> NoReturn:
        raise WouldChange

    def index_plan(self, *_what: object, **_more: object) -> NoReturn:
        raise WouldChange

    def add_done(self, *_what: object, **_more: object) -> NoReturn:
        raise WouldChange
