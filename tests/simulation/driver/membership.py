"""States that join, leave and change their nodes' keys, as a regime has it: what they sign, and who validates in the end.

A seat of the simulation is a state for its whole life: the founders first, then who joins. All that a state signs goes to nodes
as any client's entries do (`client`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.signing.keys import AgencyKeys, NodeKeys
from tests.simulation.driver.committees import Committees
from tests.simulation.driver.founding import HOST, port_of
from tests.simulation.driver.regime import Change, Regime, What
from tests.unit.ledger.founding import STATES, Author, Founding
from tests.unit.ledger.joining import accedes, declares, new_state, registers, rotated, withdraws

WITNESSES: Final = 3  # founders who stay: one registers who joins, two others stand behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """What one state signs for a change, one entry after the other."""

    home: int
    first_ms: int
    write: Callable[[int], bytes]  # the entry of this number
    count: int


class Membership:
    """Of one run."""

    def __init__(self, regime: Regime, founding: Founding) -> None:
        self._regime = regime
        self._founding = founding
        self._joins = regime.of(What.JOINS)
        joining = [new_state(STATES[change.seat]) for change in self._joins]
        self.nodes: list[NodeKeys] = [*founding.nodes, *(node for node, _ in joining)]
        self._agencies: list[AgencyKeys] = [
            *founding.agencies,
            *(agency for _, agency in joining),
        ]
        self._authors: dict[int, Author] = {}

    @property
    def states(self) -> list[str]:
        """By seat."""
        return [node.state for node in self.nodes]

    def own(self, seat: int) -> int | None:
        """Its place among the founders."""
        return seat if seat < self._regime.size else None

    def address(self, seat: int) -> str:
        return f"{HOST}:{port_of(seat)}"

    def later_keys(self, seat: int) -> tuple[NodeKeys, ...]:
        """The keys that this seat will declare in the place of its first."""
        changing = any(change.seat == seat for change in self._regime.of(What.KEYS))
        return (rotated(self.nodes[seat].state),) if changing else ()

    def committees(self) -> Committees:
        """At the founding."""
        keys = [
            tuple(each.block.public for each in (node, *self.later_keys(seat)))
            for seat, node in enumerate(self.nodes)
        ]
        return Committees(self.states, keys, self._regime.size)

    def in_the_end(self) -> dict[str, bytes]:
        """State -> block key of its seat, of all who validate when all changes have taken effect."""
        return {
            node.state: (node, *self.later_keys(seat))[-1].block.public
            for seat, node in enumerate(self.nodes)
            if seat not in self._regime.leaving
        }

    def papers(self) -> list[Papers]:
        """Of all changes."""
        made: list[Papers] = []
        for change in self._regime.changes:
            match change.what:
                case What.KEYS:
                    made.append(self._one(change, self._declares))
                case What.LEAVES:
                    made.append(self._one(change, lambda seat: withdraws(self._author(seat))))
                case What.JOINS:
                    made += self._of_joining(change)
        return made

    def _one(self, change: Change, write: Callable[[int], bytes]) -> Papers:
        return Papers(
            home=change.seat, first_ms=change.at_ms, write=lambda _: write(change.seat), count=1
        )

    def _declares(self, seat: int) -> bytes:
        keys = (self.nodes[seat], *self.later_keys(seat))[-1]
        return declares(self._author(seat), keys, port=port_of(seat), host=HOST)

    def _of_joining(self, change: Change) -> list[Papers]:
        """A member's word on the new state's keys, and then the state's own on its accession and its node."""
        seat, regime = change.seat, self._regime
        staying = [each for each in range(regime.size) if each not in regime.leaving]
        turn = (seat - regime.size) % WITNESSES
        sponsor, *others = (staying[:WITNESSES] * 2)[turn : turn + WITNESSES]
        behind = [self._agencies[each] for each in others]
        agency = self._agencies[seat]

        def own(number: int) -> bytes:
            if (number == 0) == change.seat_first:
                return self._declares(seat)
            return accedes(self._author(seat), behind)

        return [
            Papers(
                home=sponsor,
                first_ms=change.at_ms,
                write=lambda _: registers(self._author(sponsor), agency, behind),
                count=1,
            ),
            Papers(home=sponsor, first_ms=change.at_ms, write=own, count=2),
        ]

    def _author(self, seat: int) -> Author:
        """One chain for each state, whatever it signs."""
        return self._authors.setdefault(seat, Author(self._agencies[seat], self._founding.chain_id))
