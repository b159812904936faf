"""Entry into force: the fast and the slow door, and what is provisional before (MODEL 7, LAW K28).

Before that day everything works; cases raised then are marked. Once in force, always: no departure undoes it, so no state
can. The fast door asks for five members with the named states, the slow one for 180 days after the fifth and enough of the
world's capacity: the named states matter, and none is a veto.
"""

from collections.abc import Mapping
from typing import Final

from node.treaty.book import RANK_LAPSE, Book
from node.treaty.derived import EntryIntoForce
from node.treaty.rows.clock import Counter

EIF_MEMBERS: Final = 5
EIF_NAMED: Final = ("CN", "US")
EIF_SLOW_S: Final = 180 * 86_400
EIF_CAPACITY_BP: Final = 5_000
EIF_FAB_BP: Final = 6_667
FIVE_SINCE: Final = "eif_five_since"
IN_FORCE_SINCE: Final = "eif_in_force_since"


def members_changed(book: Book) -> None:
    """The count of five starts once and never again; the doors are looked at."""
    counters = book.state.counters
    if book.membership() >= EIF_MEMBERS and FIVE_SINCE not in counters:
        counters.put(FIVE_SINCE, Counter(book.now))
        schedule_slow_door(book)
    consider(book)


def schedule_slow_door(book: Book) -> None:
    """Have the clock look at the slow door once it may open."""
    five = book.state.counters.get(FIVE_SINCE)
    if five is not None and IN_FORCE_SINCE not in book.state.counters:
        due = five.value + EIF_SLOW_S
        if due >= book.now:  # later, every change of members looks by itself
            book.schedule(due, RANK_LAPSE, "eif", "")


def consider(book: Book) -> None:
    """Open a door if one may open."""
    counters = book.state.counters
    if IN_FORCE_SINCE in counters or book.membership() < EIF_MEMBERS:
        return
    bound = {state for state, row in book.state.members.items() if row.status != "LEFT"}
    capacity = _share_bp(book.genesis.world_capacity_mh, bound)
    fab = _share_bp(book.genesis.world_fab, bound)
    door = "fast" if bound.issuperset(EIF_NAMED) else ""
    if not door and book.now >= counters[FIVE_SINCE].value + EIF_SLOW_S:
        door = "slow" if capacity >= EIF_CAPACITY_BP or fab >= EIF_FAB_BP else ""
    if not door:
        return
    counters.put(IN_FORCE_SINCE, Counter(book.now))
    if not book.is_first_law:
        book.emit(
            EntryIntoForce(
                door=door,
                members=tuple(sorted(bound)),
                five_since=counters[FIVE_SINCE].value,
                capacity_bp=capacity,
                fab_bp=fab,
                at=book.now,
            )
        )


def _share_bp(world: Mapping[str, int], bound: set[str]) -> int:
    """The members' share of the world in basis points, rounded down; 0 where nothing is registered."""
    whole = sum(world.values())
    held = sum(amount for state, amount in world.items() if state in bound)
    return 10_000 * held // whole if whole else 0


def in_force_since(book: Book) -> int | None:
    """The second since which the treaty is in force; None: provisional."""
    row = book.state.counters.get(IN_FORCE_SINCE)
    return row.value if row is not None else None
