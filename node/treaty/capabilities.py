"""The list of dangerous capabilities that evaluations look for (M38, M40).

The treaty's five, what APPOINT added by a majority, less what APPOINT took off by three quarters and 90 days. Its version is 1
at genesis and one more with each change, so that a DEPLOY shows which list it was filed under.
"""

from typing import Final

from node.treaty.book import Book
from node.treaty.releases import all_to_be_evaluated
from node.treaty.rows.parties import Appointment

AT_GENESIS: Final = frozenset(
    {"cyber", "bio_chem", "self_improvement", "deception", "self_replication"}
)
PREFIX: Final = "capability/"
REMOVED: Final = "capability_removed/"
_CHANGES: Final = "capability_changes"


def capabilities(book: Book) -> frozenset[str]:
    """The names on the list now."""
    names = set(AT_GENESIS)
    removed = set()
    for name in book.state.appointments:
        if name.startswith(PREFIX):
            names.add(name.removeprefix(PREFIX))
        elif name.startswith(REMOVED):
            removed.add(name.removeprefix(REMOVED))
    return frozenset(names - removed)


def listed_version(book: Book) -> int:
    """1 at genesis, one more with each change."""
    row = book.state.counters.get(_CHANGES)
    return 1 + (row.value if row is not None else 0)


def add(book: Book, name: str, motion: str) -> None:
    """A majority put it on the list: every deployed model is evaluated for it now (M40)."""
    if name in capabilities(book):
        return
    book.state.appointments.put(f"{PREFIX}{name}", Appointment(motion))
    if f"{REMOVED}{name}" in book.state.appointments:
        book.state.appointments.drop(f"{REMOVED}{name}")
    book.count(_CHANGES)
    all_to_be_evaluated(book)


def remove(book: Book, name: str, motion: str) -> None:
    """Three quarters took it off, 90 days ago."""
    if name not in capabilities(book):
        return
    if f"{PREFIX}{name}" in book.state.appointments:
        book.state.appointments.drop(f"{PREFIX}{name}")
    if name in AT_GENESIS:
        book.state.appointments.put(f"{REMOVED}{name}", Appointment(motion))
    book.count(_CHANGES)
