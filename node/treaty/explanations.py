"""Cases below severity 3 end by an explanation that satisfies a panel, or stay open for all to see (MODEL 9).

    RAISED -> REPLIED      the subject explains; five states are drawn for it, the subject's not among them
    REPLIED -> EXPLAINED   three of them say so by a note of type `explained`
    SILENT, or not said    "open, unexplained", for ever

Where the beacon gives nothing all states may say so, and a majority of them must. Nobody's silence ends a case, and no
explanation erases the finding.
"""

from typing import Final

from node.treaty import beacon
from node.treaty.book import Book, Chance, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.filing import is_filing_state, require_past, require_role
from node.treaty.rows.verdicts import Case, Explanation

PANEL: Final = "explanation"  # what is drawn for a case
SEATS: Final = 5
BELOW: Final = 3  # severity
EXPLAINED: Final = "EXPLAINED"


def replied(book: Book, name: str, case: Case) -> None:
    """A reply came: have its panel drawn."""
    if book.is_first_law or case.severity >= BELOW or not is_filing_state(book, case.subject):
        return
    book.state.explanations.put(name, Explanation((), ()))
    if book.genesis.beacon is not None or beacon.can_open(book):
        beacon.ask(book, PANEL, name)


def draw_panel(book: Book, chance: Chance) -> None:
    """The round is over: five states, fewer where there are fewer."""
    name = chance.name
    row = book.state.explanations.get(name)
    if row is None:
        return
    population = [state for state in book.standing() if state != book.state.cases[name].subject]
    panel: tuple[str, ...] = ()
    if chance.value is not None:
        panel = beacon.draw(chance.value, f"{PANEL}:{name}", population, SEATS)
        book.state.explanations.put(name, row._replace(panel=panel))
    beacon.show(book, chance, population, panel)


def take(book: Book, entry: Entry, name: str) -> Case | None:
    """One state is satisfied. Returns the case as that ends it, if it does.

    Refuses UNKNOWN_REF, FILER, CLOSED, NOT_ELIGIBLE.
    """
    case = book.state.cases.get(name)
    if case is None:
        raise Refused(Code.UNKNOWN_REF, f"no case {name}")
    require_role(book, entry, "state")
    state = entry.parsed.author
    row = book.state.explanations.get(name)
    if row is None or case.status != "REPLIED" or case.severity >= BELOW:
        raise Refused(Code.CLOSED, f"{name} is {case.status}, with nothing before a panel")
    if beacon.waits(book, PANEL, name):
        raise Refused(Code.NOT_ELIGIBLE, f"the panel for {name} is still to be drawn")
    standing = [other for other in book.standing() if other != case.subject]
    voters = row.panel or tuple(standing)
    if state not in voters or state == case.subject:
        raise Refused(Code.NOT_ELIGIBLE, f"{state} is not of the panel for {name}")
    require_past(book, entry)
    accepted = tuple(sorted({*row.accepted, state}))
    book.state.explanations.put(name, row._replace(accepted=accepted))
    if 2 * len(accepted) <= len(voters):
        return None
    return case._replace(status=EXPLAINED, result=EXPLAINED)


def grown(book: Book, name: str) -> None:
    """The case rose to severity 3 and starts anew: no panel of five decides it any more."""
    if name in book.state.explanations:
        beacon.forget(book, PANEL, name)
        book.state.explanations.drop(name)
