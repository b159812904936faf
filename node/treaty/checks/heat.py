"""C23: heat seen from outside against the power that a site declares (M33a; record 0244; law 3).

    (thermal - error) kW   >   max_w of the site, or of all declared at that place, and `thermal_tol` more

The least heat that the sensor may have seen counts. Severity 1 for the first state whose sensors see it, 2 from the second
on, and never more: no two states' pictures convict a third. A report that names no site is held against all sites that
declare the place, if they are one state's. Where none is declared no state follows from a place: an `evidence` note names
one (LAW K37).
Scenarios have it only where their policy names `thermal_tol`.
"""

from typing import Final

from node.treaty.bodies import BASIS_POINTS
from node.treaty.book import Book
from node.treaty.cases import raise_finding
from node.treaty.checks.balances import tag
from node.treaty.rows.sites import Passes, Power

SINCE_LAW: Final = 3
STATES_KEPT: Final = 8


def declared(book: Book, facility: str, max_w: int, cell: str) -> None:
    """A site says what it draws at most, and where it stands."""
    if book.law >= SINCE_LAW and (max_w or cell):
        book.state.powers.put(facility, Power(max_w, cell))


def seen(
    book: Book, state: str, facility: str, cell: str, least_kw: int, entry_hash: bytes
) -> None:
    """A state's sensors saw at least so much heat at a site, or at a place."""
    if book.law < SINCE_LAW or not book.draws_for("thermal_tol"):
        return
    sites = [facility] if facility else _sites_at(book, cell)
    watts = [book.state.powers[site].max_w for site in sites if site in book.state.powers]
    subjects = {book.state.facilities[site].state for site in sites}
    # A site that says nothing of its power can be held to nothing: C28 asks for no such word.
    if len(subjects) != 1 or len(watts) != len(sites) or not all(watts):
        return
    limit = sum(watts) * (BASIS_POINTS + book.value("thermal_tol"))
    if least_kw * 1_000 * BASIS_POINTS <= limit:
        return
    about = facility or f"cell:{tag(cell)}"
    row = book.state.passes.get(about)
    before = row.states if row is not None else ()
    states = before if state in before else (*before, state)[:STATES_KEPT]
    book.state.passes.put(about, Passes(states))
    raise_finding(
        book,
        "C23",
        subjects.pop(),
        about,
        severity=2 if len(states) > 1 else 1,
        size=least_kw,
        numbers=(("least_kw", least_kw), ("max_w", sum(watts)), ("states", len(states))),
        inputs=(entry_hash,),
    )


def _sites_at(book: Book, cell: str) -> list[str]:
    """At most some thousands of sites are looked at, for reports that each relay may make a few times a day."""
    powers = book.state.powers.items()
    return sorted(facility for facility, row in powers if row.cell == cell)
