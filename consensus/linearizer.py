"""From committed leaders to one sequence of blocks, with time and garbage collection (SPEC 8).

Each committed leader brings what its history holds that no earlier one brought, above the floor, sorted by (round, author,
digest). Every input is a commit before it or the leader's own history, so everybody gets the same.
"""

import itertools
from collections.abc import Sequence

from consensus.codec import commit_digest
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.types import (
    GC_DEPTH,
    GENESIS_ROUND,
    Commit,
    CommitIndex,
    Digest,
    Millis,
    Ref,
    Round,
)


class Linearizer:
    """The chain of commits so far, as much of it as the next commit depends on."""

    def __init__(self, committee: Committee, *, gc_depth: int = GC_DEPTH) -> None:
        """`gc_depth` in rounds; 0: no floor ever rises. How small it may be where a DAG is cut by the floor: `ordering`."""
        assert gc_depth >= 0, f"gc_depth={gc_depth}"
        self.committee = committee
        self.floor = GENESIS_ROUND  # for the next commit: blocks at or below it are void
        self.last_index = committee.previous_index
        self.last_digest: Digest = committee.previous_commit
        self.last_leader_round = GENESIS_ROUND
        self.time_ms = committee.genesis_time_ms
        self._gc_depth = gc_depth
        self._committed: set[Ref] = set()  # above the floor; membership is all that is asked of it
        self._authors: dict[Round, int] = {}  # the same as masks of authors

    def is_committed(self, ref: Ref) -> bool:
        """Asked of blocks above the floor."""
        return ref in self._committed

    def order(self, dag: Dag, leader: Ref) -> Commit:
        """The next commit. Its blocks are committed from now on, and `floor` is that of the commit after it.

        `dag` must hold the leader's history above the present floor. The caller raises the DAG's floor afterwards.
        """
        assert leader.round > self.last_leader_round, (
            f"leaders out of order: {self.last_leader_round} then {leader}"
        )
        blocks = self._not_yet_committed(dag, leader)
        time_ms = max(self.time_ms, self._median_time(dag, leader))
        index = CommitIndex(self.last_index + 1)
        digest = commit_digest(
            epoch=self.committee.epoch,
            index=index,
            prev_digest=self.last_digest,
            leader=leader,
            blocks=blocks,
            time_ms=time_ms,
            committee_hash=self.committee.committee_hash,
        )
        commit = Commit(
            epoch=self.committee.epoch,
            index=index,
            prev_digest=self.last_digest,
            leader=leader,
            blocks=tuple(blocks),
            time_ms=time_ms,
            committee_hash=self.committee.committee_hash,
            digest=digest,
        )
        self._advance(commit)
        return commit

    def restore(self, commits: Sequence[Commit]) -> None:
        """Go on after the last of these: contiguous, ascending, back to the first whose leader round is at or below the floor."""
        for earlier, later in itertools.pairwise(commits):
            assert later.index == earlier.index + 1, f"commit {later.index} after {earlier.index}"
            assert later.prev_digest == earlier.digest, f"commit {later.index} chains to another"
        for commit in commits:
            self._advance(commit)

    def _advance(self, commit: Commit) -> None:
        self.last_index, self.last_digest = commit.index, commit.digest
        self.last_leader_round, self.time_ms = commit.leader.round, commit.time_ms
        self._committed.update(commit.blocks)
        for ref in commit.blocks:
            self._authors[ref.round] = self._authors.get(ref.round, 0) | 1 << ref.author
        if self._gc_depth:
            floor = Round(max(GENESIS_ROUND, commit.leader.round - self._gc_depth))
            if floor > self.floor:
                self.floor = floor
                self._committed = {ref for ref in self._committed if ref.round > floor}
                self._authors = {at: mask for at, mask in self._authors.items() if at > floor}

    def _not_yet_committed(self, dag: Dag, leader: Ref) -> list[Ref]:
        """In final order. Does not walk below what is committed: its history was committed with it.

        Of n blocks each names n of the round below, so almost every parent is found already. Where nobody signed twice a mask
        of authors says so of all of them at once.
        """
        found = {leader}
        authors: dict[Round, int] = {}  # of `found`
        pending = [leader]
        while pending:
            ref = pending.pop()
            node = dag.node(ref)
            assert node is not None, f"{leader}: {ref} of its history is missing"
            below = Round(ref.round - 1)
            known = self._authors.get(below, 0) | authors.get(below, 0)
            is_known = not node.before & ~known and not dag.has_variants(below)
            for parent in node.older if is_known else node.parents:
                if (
                    parent.round > self.floor
                    and parent not in found
                    and parent not in self._committed
                ):
                    found.add(parent)
                    authors[parent.round] = authors.get(parent.round, 0) | 1 << parent.author
                    pending.append(parent)
        return sorted(found)

    def _median_time(self, dag: Dag, leader: Ref) -> Millis:
        """Of the leader's parents one round below: the first value whose running count exceeds half.

        A valid leader has a quorum of them. One that has none moves no clock: the time stays that of the commit before.
        """
        node = dag.node(leader)
        assert node is not None, f"{leader} is missing"
        before = leader.round - 1
        if before == GENESIS_ROUND:
            return self.committee.genesis_time_ms
        times: list[Millis] = []
        for parent in node.parents:
            if parent.round == before:
                above = dag.node(parent)
                assert above is not None, f"{leader}: {parent} is missing"
                times.append(above.time_ms)
        times.sort()
        return times[len(times) // 2] if times else self.time_ms
