"""Who counts as an inspector, and which signatures make a report of inspectors (LAW K29).

A challenge inspection that goes ahead gets its inspectors by lot (MODEL 10): one each of up to k+2 states, so that
two honest ones are among them whoever the k hostile states are, and none chosen by a party to it. Where
the beacon gave nothing, any two appointed inspectors do.
"""

from typing import Final

from node.treaty import beacon
from node.treaty.book import Book, Chance, Refused
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.rows.sites import Team
from node.treaty.rules import PANEL_SEATS_MAX, k_of

INSPECTOR_STATES_MIN: Final = 2
TEAM: Final = "team"  # what is drawn for an inspection
_APPOINTED: Final = "inspector/"


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


def ask_for_team(book: Book, motion_id: str) -> None:
    """An inspection goes ahead: have its team drawn. Scenarios name their inspectors themselves."""
    if book.genesis.beacon is None:
        beacon.ask(book, TEAM, motion_id)


def draw_team(book: Book, chance: Chance) -> None:
    """Draw states, then one inspector of each, in that order."""
    access = book.state.access[chance.name]
    names: dict[str, list[str]] = {}
    for key in sorted(book.state.appointments):
        name = key.removeprefix(_APPOINTED)
        if name != key and book.state_of(name) != access.subject:
            names.setdefault(book.state_of(name), []).append(name)
    team: list[str] = []
    if chance.value is not None and len(names) >= INSPECTOR_STATES_MIN:
        seats = min(PANEL_SEATS_MAX, k_of(book.membership()) + INSPECTOR_STATES_MIN)
        draw_id = f"{TEAM}:{chance.name}"
        for state in beacon.draw(chance.value, draw_id, sorted(names), seats):
            team += beacon.draw(chance.value, f"{draw_id}:{state}", names[state], 1)
        book.state.teams.put(chance.name, Team(tuple(team)))
    beacon.show(book, chance, sorted(names), tuple(team))


def require_team(book: Book, entry: Entry, mandate: str) -> None:
    """Of those who sign under this mandate, two of the team drawn for it, if one was. Refuses INSPECTORS."""
    if beacon.waits(book, TEAM, mandate):
        raise Refused(Code.INSPECTORS, f"the team for {mandate} is still to be drawn")
    row = book.state.teams.get(mandate)
    if row is None:
        return
    signers = (entry.parsed.author, *entry.endorsers)
    states = {book.state_of(one) for one in signers if one in row.inspectors}
    if len(states) < INSPECTOR_STATES_MIN:
        raise Refused(
            Code.INSPECTORS, f"for {mandate} two of {', '.join(row.inspectors)} were drawn to sign"
        )
