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
WATCH: Final = "watch"  # what is drawn for a run
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
    names = _by_state(book, but=access.subject)
    team: list[str] = []
    if chance.value is not None and len(names) >= INSPECTOR_STATES_MIN:
        team = _draw_by_state(book, chance.value, f"{TEAM}:{chance.name}", names)
        book.state.teams.put(chance.name, Team(tuple(team)))
    beacon.show(book, chance, sorted(names), tuple(team))


def ask_for_watch(book: Book, run: str) -> None:
    """A run of Tier 2 or 3 was approved: have its inspectors drawn; those whom the motion named stand till then (M35)."""
    if book.genesis.beacon is None and not book.is_first_law:
        beacon.ask(book, WATCH, run)


def draw_watch(book: Book, chance: Chance) -> None:
    """Draw states other than the developer's, then one inspector of each without a declared interest.

    Where the beacon gave nothing, or inspectors of fewer than two states are left, the named ones stay.
    """
    run = chance.name
    plan, life = book.state.plans[run], book.state.lives[run]
    names = _by_state(book, but=plan.state, interest=plan.operator)
    team: list[str] = []
    if chance.value is not None and len(names) >= INSPECTOR_STATES_MIN:
        team = _draw_by_state(book, chance.value, f"{WATCH}:{run}", names)
        book.state.lives.put(run, life._replace(inspectors=tuple(sorted(team))))
    beacon.show(book, chance, sorted(names), tuple(team))


def _by_state(book: Book, *, but: str, interest: str = "") -> dict[str, list[str]]:
    """Appointed inspectors by state, without those of one state and those with an interest in a party."""
    names: dict[str, list[str]] = {}
    for key in sorted(book.state.appointments):
        name = key.removeprefix(_APPOINTED)
        if name == key or book.state_of(name) == but:
            continue
        if f"{name}/{interest}" not in book.state.conflicts:
            names.setdefault(book.state_of(name), []).append(name)
    return names


def _draw_by_state(
    book: Book, value: bytes, draw_id: str, names: dict[str, list[str]]
) -> list[str]:
    """One inspector each of up to k+2 states, in draw order."""
    team: list[str] = []
    seats = min(PANEL_SEATS_MAX, k_of(book.membership()) + INSPECTOR_STATES_MIN)
    for state in beacon.draw(value, draw_id, sorted(names), seats):
        team += beacon.draw(value, f"{draw_id}:{state}", names[state], 1)
    return team


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
