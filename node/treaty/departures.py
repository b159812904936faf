"""What a state owes that leaves the treaty (MODEL 7): a last count of every site, and no covered stock left there.

For the year between notice and effect all duties stay. Beyond them each of its sites owes, by the second of leaving,

    final:<site>      a count within the last `inventory` seconds before it
    removal:<site>    chips destroyed before inspectors, or sent to another member's site, until the site is not covered

Overdue, either is C28 of severity 2, against a state that has left: it stays on the record, and in the next case.
"""

from node.treaty.book import Book
from node.treaty.duties import fulfil, is_owed, owe


def begun(book: Book, state: str, within_s: int) -> None:
    """The state gave notice; it leaves `within_s` from now."""
    if book.is_first_law:
        return
    for name, facility in sorted(book.state.facilities.items()):
        if facility.state == state:
            _owe(book, name, within_s)


def site_declared(book: Book, facility: str, leaves_at: int | None) -> None:
    """A site of a state that leaves at that second is declared after the notice: it owes the same."""
    if leaves_at is not None and not book.is_first_law:
        _owe(book, facility, leaves_at - book.now)


def _owe(book: Book, facility: str, within_s: int) -> None:
    owe(book, f"final:{facility}", within_s)
    owe(book, f"removal:{facility}", within_s)


def counted(book: Book, facility: str) -> None:
    """A count came: the last one, if the day of leaving is near enough."""
    what = f"final:{facility}"
    if is_owed(book, what) and book.state.duties[what].due - book.now <= book.value("inventory"):
        fulfil(book, what)
