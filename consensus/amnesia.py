"""Signing again after the sign state was lost: only at rounds >= R + 2 (SPEC 10).

Nobody can tell us every block that we signed: some may have reached one liar alone. But a block of ours of round r was built on
blocks of round r-1 by a quorum of authors, so many others had signed round r-1 then. Each other member is asked for the newest
block of its *own*, and an answer counts once that block is in our DAG (or below its floor), so that its round exists: a liar can
name no round that a quorum did not reach. R is the highest of them.

Why R >= r-1, with b <= f liars among the n-1 others. At least quorum-1-b of the honest others have signed round r-1: their blocks
were served to us, so they were in their stores, and what they answer now is not below them. Of `quorum` answers at least
quorum-b are honest. There are n-1-b honest others, and

    (quorum-1-b) + (quorum-b) > n-1-b   <=>   2 quorum > n + b   <=   2 (n-f) > n + f   <=>   n > 3f

so an honest member of the first set is among those that answered, and R is at least its r-1. Then R + 2 > r, whatever r was.

Up to three members have f = 0 and a quorum of all: then every other one has signed round r-1, and all n-1 answers are what
there is to have (one would do). With quorum-1 answers the inequality fails by one for n = 3f+1: a round could be missed only
if all f liars answered and an honest member did not. Whether that is so, an operator may know: `confirm` lets it pass, after
4 delta. A member that lost its own sign state too answers like a liar, and counts as one of the f.
"""

from consensus.committee import Committee
from consensus.dag import Dag
from consensus.types import (
    GC_DEPTH,
    GENESIS_ROUND,
    Block,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)


def answers_needed(committee: Committee) -> int:
    """Of other members."""
    return min(committee.quorum, committee.size - 1)


class Amnesia:
    """From the moment at which the loss is seen until it is settled which rounds may be signed."""

    def __init__(self, dag: Dag, own: ValidatorIndex, confirmed_after: Millis) -> None:
        self._dag = dag
        self._own = own
        self.confirmed_after = confirmed_after
        self._confirmed = False
        self._newest: dict[ValidatorIndex, Ref | None] = {}  # of each that answered: its own
        self._ours: dict[Ref, Block] = {}  # what we are shown of ours: one of them is built upon

    def has_answered(self, peer: ValidatorIndex) -> bool:
        return peer in self._newest

    def answered(self, peer: ValidatorIndex, newest: Ref | None) -> None:
        """The newest block of its own that the peer holds; None if it never made one."""
        assert newest is None or newest.author == peer, f"{peer} answers with {newest}"
        self._newest[peer] = newest

    def shown(self, ours: Block) -> None:
        """A block of ours, from before the loss. The newest GC_DEPTH are kept."""
        self._ours[ours.ref] = ours
        if len(self._ours) > GC_DEPTH:
            del self._ours[min(self._ours)]

    def confirm(self) -> None:
        """An operator's word that quorum-1 answers will do."""
        self._confirmed = True

    @property
    def needed(self) -> int:
        """Answers of other members, as long as no operator has said that one less will do."""
        return answers_needed(self._dag.committee)

    @property
    def counted(self) -> int:
        """Answers that count so far."""
        return len(self._rounds())

    def last_unsafe_round(self, now: Millis) -> Round | None:
        """R + 1: we may have signed it and any before it, and none after it. None while too few have answered."""
        rounds, needed = self._rounds(), self.needed
        if self._confirmed and now >= self.confirmed_after:
            needed = min(needed, self._dag.committee.quorum - 1)
        if len(rounds) < needed:
            return None
        # No answer may pull R below what is here already: it would be a lie, or older than our DAG.
        return Round(max([*rounds, self._dag.highest_round]) + 1)

    def _rounds(self) -> list[Round]:
        """Of the answers that count: whose block is here, or who never made one."""
        return [
            newest.round if newest is not None else Round(GENESIS_ROUND)
            for newest in self._newest.values()
            if newest is None or self._dag.has(newest)
        ]

    def newest_of_ours(self) -> Block | None:
        """To build on: the newest that is in the DAG. None: on genesis, or what is below the floor; any own parent is valid."""
        here = [ref for ref in self._ours if self._dag.node(ref) is not None]
        return self._ours[max(here)] if here else None
