"""What each validator says it committed, held against what this one did (SPEC 9 and 11).

A vote names a commit index and its digest; digests chain, so a vote speaks for every commit before it too. Votes of commits not
reached here wait, at most VOTES_KEPT for each author, the highest ones.
"""

from collections.abc import Sequence
from typing import Final

from consensus.committee import Committee
from consensus.types import (
    COMMIT_VOTES_MAX,
    GC_DEPTH,
    Commit,
    CommitIndex,
    CommitVote,
    Digest,
    ValidatorIndex,
)

VOTES_KEPT: Final = 2 * GC_DEPTH


def quorum_index(highest: Sequence[int], quorum: int) -> CommitIndex:
    """The highest commit index that a quorum has reached: the quorum-th largest of the members' own (SPEC 11)."""
    return CommitIndex(sorted(highest, reverse=True)[quorum - 1])


class CommitVotes:
    """Our newest commit digests, and the votes of the others."""

    def __init__(self, committee: Committee) -> None:
        self._committee = committee
        self._digests: dict[CommitIndex, Digest] = {}  # ours, the newest VOTES_KEPT, ascending
        self._highest = [CommitIndex(0)] * committee.size
        self._early: dict[ValidatorIndex, dict[CommitIndex, Digest]] = {}
        self._voted = CommitIndex(0)  # the last one our own blocks voted for
        self.contradicting = 0  # mask of those who voted for another digest than ours

    @property
    def certified_index(self) -> CommitIndex:
        """The highest commit that a quorum says it has reached."""
        return quorum_index(self._highest, self._committee.quorum)

    def highest_of(self, author: int) -> CommitIndex:
        """The highest commit that this validator voted for."""
        return self._highest[author]

    def record(self, author: ValidatorIndex, votes: Sequence[CommitVote]) -> CommitVote | None:
        """Take note of a block's votes, whatever becomes of the block. Returns the first that contradicts us."""
        ours = next(reversed(self._digests), CommitIndex(0))
        contradiction: CommitVote | None = None
        for vote in votes:
            self._highest[author] = max(self._highest[author], vote.index)
            if vote.index > ours:
                self._keep(author, vote)
            elif self._digests.get(vote.index, vote.digest) != vote.digest:
                contradiction = contradiction or vote
        if contradiction is not None:
            self.contradicting |= 1 << author
        return contradiction

    def committed(self, commit: Commit) -> list[ValidatorIndex]:
        """We reached this commit. Returns those whose vote, kept until now, contradicts it."""
        self._digests[commit.index] = commit.digest
        if len(self._digests) > VOTES_KEPT:
            del self._digests[next(iter(self._digests))]
        others: list[ValidatorIndex] = []
        for author, early in self._early.items():
            if early.pop(commit.index, commit.digest) != commit.digest:
                others.append(author)
                self.contradicting |= 1 << author
        return others

    def restore(self, commits: Sequence[Commit], voted: Sequence[CommitVote]) -> None:
        """After a restart: our newest commits, and the votes of our last own block."""
        for commit in commits:
            self.committed(commit)
        self._voted = max((vote.index for vote in voted), default=CommitIndex(0))

    def for_next_block(self) -> tuple[CommitVote, ...]:
        """Our commits since our last block, the newest COMMIT_VOTES_MAX; older ones are implied by the chain."""
        fresh = [index for index in reversed(self._digests) if index > self._voted]
        newest = sorted(fresh[:COMMIT_VOTES_MAX])
        if newest:
            self._voted = newest[-1]
        return tuple([CommitVote(index=index, digest=self._digests[index]) for index in newest])

    def _keep(self, author: ValidatorIndex, vote: CommitVote) -> None:
        early = self._early.setdefault(author, {})
        early[vote.index] = vote.digest
        if len(early) > VOTES_KEPT:
            del early[min(early)]
