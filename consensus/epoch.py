"""When an epoch ends: the first commit by which a quorum of authors' closing blocks are committed (SPEC 14.2).

The law closes an epoch when it executes some commit; it lags behind the order, and by how much differs from member to member. So
the end is read off the order itself: who has executed that commit sets `epoch_close` in its blocks and takes no new payload, and
the epoch ends at the first commit E that completes a quorum of such authors. A quorum holds f+1 honest authors, so the law has
closed the epoch before E, whatever f liars put in their blocks. E is a position in the order: everybody finds the same.

    law executes commit 70: closing          members 0 1 3 sign closing blocks, 2 lies and did since commit 12
    commit 71   closing blocks of 0          closed_by 0 2
    commit 73   closing blocks of 1          closed_by 0 1 2
    commit 74   closing blocks of 3, 1       closed_by 0 1 2 3: a quorum of 5, so 74 is E; nothing after it counts

After E the members keep making blocks without payload for a while: a member that has not reached E yet needs blocks that name
what decided it, and nobody makes them but those who were there (SPEC 14.5).
"""

from collections.abc import Iterable, Sequence
from typing import Final

from consensus.committee import Committee
from consensus.types import (
    FLAG_EPOCH_CLOSE,
    GC_DEPTH,
    GENESIS_ROUND,
    Block,
    CommitRecord,
    Round,
    ValidatorIndex,
)

AFTERMATH_BRISK_ROUNDS: Final = (
    8  # as many at full pace: two waves and more, so that E is decided wherever blocks arrive
)
AFTERMATH_ROUNDS: Final = (
    GC_DEPTH  # and no more than these: no floor rises any more, so the table must end
)


class EpochEnd:
    """Who has closed the epoch, as far as commits show, and whether that was its end."""

    def __init__(self, committee: Committee) -> None:
        self.asked = False  # the law here has closed the epoch: our blocks say so
        self._committee = committee
        self._closed_by = 0  # mask
        self._end_round = GENESIS_ROUND  # of the leader of E

    @property
    def reached(self) -> bool:
        """True from E on: no later commit of this epoch counts."""
        return self._closed_by.bit_count() >= self._committee.quorum

    def restore(self, records: Sequence[CommitRecord]) -> None:
        """After a restart; the newest record tells it all."""
        if records:
            for author in records[-1].closed_by:
                self._closed_by |= 1 << author
            self._end_round = records[-1].commit.leader.round

    def committed(self, leader_round: Round, blocks: Iterable[Block]) -> tuple[ValidatorIndex, ...]:
        """One commit further. Returns all authors who have closed the epoch by now, ascending."""
        assert not self.reached, "a commit after the end of its epoch"
        for block in blocks:
            if block.header.flags & FLAG_EPOCH_CLOSE:
                self._closed_by |= 1 << block.ref.author
        self._end_round = leader_round
        return authors_of(self._closed_by)

    def may_idle_at(self, round_: Round) -> bool | None:
        """Whether this round may wait for something to order; None: the epoch's end has no say in that."""
        if self.reached:
            return round_ > self._end_round + AFTERMATH_BRISK_ROUNDS
        return False if self.asked else None

    def may_sign_at(self, round_: Round) -> bool:
        """Whether a block of this round can still be of use to anybody."""
        return not self.reached or round_ <= self._end_round + AFTERMATH_ROUNDS


def authors_of(mask: int) -> tuple[ValidatorIndex, ...]:
    """The validators of a bit mask, ascending."""
    return tuple([ValidatorIndex(i) for i in range(mask.bit_length()) if mask >> i & 1])


def ends_epoch(record: CommitRecord, committee: Committee) -> bool:
    """Whether this was the last commit of the committee's epoch."""
    return len(record.closed_by) >= committee.quorum
