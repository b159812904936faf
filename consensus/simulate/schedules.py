"""Who is slow, and when: delays drawn up against the protocol by one who sees everything, and never beyond the bound.

A schedule adds to the delay of a message, at most as much as keeps it within delta. It rules after healing too: what stops
commits then is a break of the protocol, not of its assumptions.
"""

from collections.abc import Callable
from typing import Final

# (highest round an honest member signed, leader of a round, newest round signed by a member)
Sight = Callable[[], int]
LeaderOf = Callable[[int], int]
NewestOf = Callable[[int], int]

SCHEDULES: Final = (
    "slow-member",
    "slow-leader",
    "leader-slow-to-some",
    "rotating",
    "halves",
    "behind",
    "round-jump",
)


class Schedule:
    """By name; `members` are those whose links it rules: all seats."""

    def __init__(
        self,
        name: str,
        *,
        size: int,
        victim: int,
        highest: Sight,
        leader_of: LeaderOf,
        newest_of: NewestOf,
    ) -> None:
        if name not in SCHEDULES:
            raise ValueError(f"schedule={name!r}: not one of {', '.join(SCHEDULES)}")
        self._name = name
        self._size = size
        self._victim = victim
        self._highest = highest
        self._leader_of = leader_of
        self._newest_of = newest_of

    def holds(self, source: int, target: int) -> bool:
        """True if a message sent on this link now takes as long as the bound allows."""
        highest = self._highest()
        match self._name:
            case "slow-member":
                return self._victim in (source, target)
            case "slow-leader":
                return source == self._leader_of(highest)
            case "leader-slow-to-some":
                some = (target + highest) % 2 == 0
                return some and source == self._leader_of(highest)
            case "rotating":
                return (highest // 2 + self._victim) % self._size in (source, target)
            case "halves":
                return (source < self._size // 2) != (target < self._size // 2)
            case "behind":
                return self._newest_of(target) < highest
        # The known attack on clocks that jump (SPEC D3): the coming leader is late, and so is one member more.
        slow = (self._leader_of(highest), self._leader_of(highest + 1), self._victim)
        return source in slow or target == self._victim
