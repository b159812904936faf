"""What an upheld case asks of its subject (MODEL 9): a remedy by a due second, confirmed by inspectors, else a graver case.

Inspectors of k+1 states (of two under law 2; of 15 at most), none the subject's, confirm by notes of type `remedy` that what
the case found is put right: the chips counted or gone, the run ended, the reports there. `remedy` seconds after the verdict the
duty is overdue (C28), one grade above the case, 4 at most: it is a case of its own, and when that is upheld it asks again.

Scenarios ask for remedies only where their policy names `remedy`, as with other duties of a node alone.
"""

from typing import Final

from node.treaty import duties
from node.treaty.book import Book, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import is_filing_state, require_past, require_role
from node.treaty.inspections import is_appointed, require_inspectors
from node.treaty.rows.verdicts import Confirmed, Remedy
from node.treaty.rules import PANEL_SEATS_MAX, k_of

SEVERITY_MIN: Final = 3
SINCE_LAW: Final = 3  # of the count of states that confirm


def upheld(book: Book, name: str) -> None:
    """A case of severity 3 or 4 was upheld."""
    case = book.state.cases[name]
    owing = case.severity >= SEVERITY_MIN and is_filing_state(book, case.subject)
    if owing and book.draws_for("remedy"):
        within_s = book.value("remedy")
        book.state.remedies.put(name, Remedy(book.now + within_s, b""))
        duties.owe(book, f"remedy:{name}", within_s)


def overturned(book: Book, name: str) -> None:
    """On appeal: nothing is owed any more."""
    if name in book.state.confirmed:
        book.state.confirmed.drop(name)
    if name in book.state.remedies:
        book.state.remedies.drop(name)
        duties.fulfil(book, f"remedy:{name}")


def _is_enough(book: Book, entry: Entry, name: str) -> bool:
    """Whether inspectors of k+1 states have confirmed it by now, in one note or several (record 0245).

    Two are k where membership is large: together they could clear whom they like. Up to law 2 two were enough.
    """
    if book.law < SINCE_LAW:
        return True
    signers = (entry.parsed.author, *entry.endorsers)
    now = {book.state_of(one) for one in signers if is_appointed(book, "inspector", one)}
    before = book.state.confirmed.get(name)
    states = now | set(before.states if before is not None else ())
    if len(states) >= min(k_of(book.membership()) + 1, PANEL_SEATS_MAX):
        if before is not None:
            book.state.confirmed.drop(name)
        return True
    book.state.confirmed.put(name, Confirmed(tuple(sorted(states))))
    return False


def take(book: Book, entry: Entry, name: str) -> None:
    """Inspectors confirm it. Refuses UNKNOWN_REF, FILER, INSPECTORS, REPEATED."""
    row = book.state.remedies.get(name)
    if row is None:
        raise Refused(Code.UNKNOWN_REF, f"no remedy is owed for {name}")
    require_role(book, entry, "inspector")
    require_inspectors(book, entry, book.state.cases[name].subject)
    if row.done:
        raise Refused(Code.REPEATED, f"the remedy for {name} is confirmed already")
    require_past(book, entry)
    if not _is_enough(book, entry, name):
        return
    book.state.remedies.put(name, row._replace(done=entry.entry_hash))
    duties.fulfil(book, f"remedy:{name}")
