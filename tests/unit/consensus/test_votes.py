"""What validators say they committed (SPEC 9, 11)."""

import pytest

from consensus.types import (
    COMMIT_VOTES_MAX,
    ZERO_DIGEST,
    Commit,
    CommitIndex,
    CommitVote,
    Digest,
    Millis,
    ValidatorIndex,
)
from consensus.votes import VOTES_KEPT, CommitVotes, quorum_index
from tests.unit.consensus.blocks import MEMBERS, commit_vote, committee_of, ref

FOUR = committee_of(4)
ONE, TWO, THREE = map(ValidatorIndex, (1, 2, 3))


@pytest.mark.parametrize(
    ("votes", "expect"),
    [
        ([5, 6, 7, 8], 6),  # three of four have reached 6
        ([8, 7, 6, 5], 6),  # whoever they are
        ([0, 0, 9, 9], 0),  # two are no quorum
        ([0, 0, 0, 9, 9, 9, 9], 0),
        ([0, 0, 9, 9, 9, 9, 9], 9),
        ([3], 3),
    ],
)
def test_the_commit_that_a_quorum_has_reached(votes: list[int], expect: int) -> None:
    assert quorum_index(votes, committee_of(len(votes)).quorum) == expect


def commit(index: int) -> Commit:
    """The commit that `commit_vote(index)` names."""
    leader = ref(index, 0)
    return Commit(
        epoch=0,
        index=CommitIndex(index),
        prev_digest=ZERO_DIGEST,
        leader=leader,
        blocks=(leader,),
        time_ms=Millis(index),
        committee_hash=MEMBERS,
        digest=commit_vote(index).digest,
    )


def reached(last: int) -> CommitVotes:
    votes = CommitVotes(FOUR)
    for index in range(1, last + 1):
        assert votes.committed(commit(index)) == []
    return votes


def forged(index: int) -> CommitVote:
    return commit_vote(index, digest=Digest(bytes(32)))


def test_the_certified_index_counts_each_author_once_by_its_highest() -> None:
    votes = reached(3)
    votes.record(ONE, [commit_vote(1), commit_vote(3)])
    votes.record(ONE, [commit_vote(2)])
    votes.record(TWO, [commit_vote(3)])
    assert votes.certified_index == 0
    votes.record(THREE, [commit_vote(2)])
    assert votes.certified_index == 2


def test_a_vote_for_another_digest_is_told_at_once() -> None:
    votes = reached(3)
    assert votes.record(ONE, [commit_vote(1), forged(2), forged(3)]) == forged(2)
    assert votes.contradicting == 0b0010
    assert votes.record(TWO, [commit_vote(2)]) is None
    assert votes.contradicting == 0b0010


def test_a_vote_for_a_later_commit_is_kept_until_then() -> None:
    votes = reached(1)
    assert votes.record(ONE, [forged(2)]) is None
    assert votes.record(TWO, [commit_vote(2)]) is None
    assert votes.committed(commit(2)) == [ONE]
    assert votes.contradicting == 0b0010


def test_a_vote_that_is_too_old_to_judge_is_let_pass() -> None:
    votes = reached(VOTES_KEPT + 1)
    assert votes.record(ONE, [forged(1)]) is None
    assert votes.record(ONE, [forged(2)]) == forged(2)


def test_early_votes_are_bounded_for_each_author() -> None:
    """SPEC 13, vote stuffing: far-future votes of one author push out none but its own."""
    votes = reached(1)
    votes.record(TWO, [forged(2)])
    for index in range(2, 4 * VOTES_KEPT):
        votes.record(ONE, [forged(index)])
    assert votes.committed(commit(2)) == [TWO]
    held = votes._early[ONE]
    assert len(held) == VOTES_KEPT
    assert max(held) == 4 * VOTES_KEPT - 1


def test_the_next_block_votes_for_what_the_last_did_not() -> None:
    votes = reached(3)
    assert votes.for_next_block() == tuple(map(commit_vote, (1, 2, 3)))
    assert votes.for_next_block() == ()
    votes.committed(commit(4))
    assert votes.for_next_block() == (commit_vote(4),)


def test_of_many_commits_the_newest_are_voted_for() -> None:
    votes = reached(COMMIT_VOTES_MAX + 5)
    expected = tuple(map(commit_vote, range(6, COMMIT_VOTES_MAX + 6)))
    assert votes.for_next_block() == expected
    assert votes.for_next_block() == ()


def test_after_a_restart_nothing_is_voted_for_again() -> None:
    votes = CommitVotes(FOUR)
    votes.restore([commit(index) for index in range(1, 6)], [commit_vote(2), commit_vote(3)])
    assert votes.for_next_block() == (commit_vote(4), commit_vote(5))
    assert votes.record(ONE, [forged(4)]) == forged(4)
