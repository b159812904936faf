"""A member's hash chain for the beacon, and the rule by which its links leave it (RULINGS R63, MODEL 10).

    secret -> link 1 -> link 2 -> ... -> link n, the anchor                     each the hash of the one before
    round a is the ledger's last when the anchor is included; round a+1 wants link n-1, round r wants link n-(r-a)

Whoever has link i has all that come after it, so a link that leaves early gives away every round before its own: a round's
outcome could be known before it opens. So a chain shows a link for the round that is open, one step further for each round, and
never one that it has passed: what it has shown is written down before it is shown.
"""

from dataclasses import dataclass, field, replace
from typing import Final, Self

from nacl.utils import random as os_random

from node.signing.errors import CannotReveal
from node.treaty.beacon import LINKS_MAX as STEPS_MAX
from node.treaty.beacon import link

SECRET_BYTES: Final = 32
LINKS_MAX: Final = 1 << 20  # walked at each reveal: about half a second
LINKS_USUAL: Final = 10_000  # a round a day for 27 years


@dataclass(frozen=True, slots=True, kw_only=True)
class BeaconChain:
    """`links` from secret to anchor; `round`, `shown`: which link left it last, and for which round: at first 0 and `links`."""

    secret: bytes = field(repr=False, compare=False)
    links: int
    round: int = 0
    shown: int

    def __post_init__(self) -> None:
        assert len(self.secret) == SECRET_BYTES, f"a secret of {len(self.secret)} bytes"
        if not 1 <= self.links <= LINKS_MAX:
            raise CannotReveal(f"a chain of {self.links} links: want from 1 to {LINKS_MAX}")
        if not (0 <= self.shown <= self.links and self.round >= 0):
            raise CannotReveal(f"a chain of {self.links} links cannot have shown link {self.shown}")

    @classmethod
    def generate(cls, links: int = LINKS_USUAL) -> Self:
        """Raises CannotReveal if there are too many links, or none."""
        return cls(secret=os_random(SECRET_BYTES), links=links, shown=links)

    @property
    def anchor(self) -> bytes:
        """What the ledger is told first."""
        return link(self.secret, self.links)

    @property
    def is_fresh(self) -> bool:
        """No link has left it: its anchor may be filed."""
        return self.round == 0

    def reveal(self, number: int, *, held: bytes, held_round: int) -> "tuple[bytes, BeaconChain]":
        """The link for round `number`, and the chain that has shown it: keep that first.

        `held`, `held_round`: the end of this chain as the ledger has it. Asked again for the same round the link is the same.
        Raises CannotReveal.
        """
        if not 1 <= number - held_round <= STEPS_MAX:
            raise CannotReveal(
                f"round {number} after round {held_round} on the ledger: a chain reaches {STEPS_MAX} rounds on"
            )
        if number < self.round:
            raise CannotReveal(
                f"round {number}: this chain has shown its link for round {self.round}"
            )
        at = self._place_of(held) - (number - held_round)
        if at < 0:
            raise CannotReveal(f"round {number}: the chain is used up; make another and anchor it")
        if self.round and at != self.shown - (number - self.round):
            raise CannotReveal(
                f"round {number} wants link {at}, and link {self.shown} was shown for round {self.round}: this chain was"
                " anchored twice; make another"
            )
        return link(self.secret, at), replace(self, round=number, shown=at)

    def _place_of(self, value: bytes) -> int:
        """How many links it is from the secret. Raises CannotReveal."""
        walked = self.secret
        for place in range(self.links + 1):
            if walked == value:
                return place
            walked = link(walked)
        raise CannotReveal("the end that the ledger holds is no link of this chain")
