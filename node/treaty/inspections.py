"""Who counts as an inspector, and which signatures make a report of inspectors (LAW K29)."""

from typing import Final

from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry

INSPECTOR_STATES_MIN: Final = 2


def is_appointed(book: Book, what: str, party: str) -> bool:
    """Whether `party` was appointed as `what`, by genesis or by an APPOINT."""
    return f"{what}/{party}" in book.state.appointments


def require_inspectors(book: Book, entry: Entry, inspected: str) -> None:
    """The author and who signs with it: appointed, of two states, none the inspected. Refuses INSPECTORS."""
    signers = (entry.parsed.author, *entry.endorsers)
    states = {book.state_of(one) for one in signers if is_appointed(book, "inspector", one)}
    if not is_appointed(book, "inspector", entry.parsed.author):
        raise Refused(Code.INSPECTORS, f"{entry.parsed.author} is no appointed inspector")
    if inspected in states or len(states) < INSPECTOR_STATES_MIN:
        raise Refused(
            Code.INSPECTORS,
            f"signed by inspectors of {sorted(states)}: two states other than {inspected} are needed",
        )
