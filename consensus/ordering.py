"""From the DAG to the ledger: what is decided, in sequence, and what follows from each commit (SPEC 6, 8, 9, 14.2).

    slots from the last decided one on -> commit rule -> linearizer -> CommitDecided, with the blocks that decided it
    commits that a quorum certified (`commit_sync`)   -> the same linearizer -> CommitDecided, with no deciders
    each commit -> votes compared, payload no longer waiting, perhaps the end of the epoch; the floor rises everywhere

Once more than f validators contradict our commits, or one slot has two certified leaders, nothing is ordered any more: what
stands is kept, and an operator must look (`Trouble.FORK`).
"""

from collections.abc import Sequence
from typing import Final

from consensus.admission import Admission
from consensus.commit_rule import Decision, Forked, Status, decide, deciders
from consensus.commit_sync import CommitSync
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.dissemination import Dissemination
from consensus.effects import Effects
from consensus.epoch import EpochEnd, ends_epoch
from consensus.events import Alarm, CommitDecided, OwnBlockVoid, StoreBlocks, Trouble
from consensus.evidence import Evidence
from consensus.linearizer import Linearizer
from consensus.own_slot import named
from consensus.pacemaker import Pacemaker
from consensus.types import (
    GENESIS_ROUND,
    Block,
    Commit,
    CommitIndex,
    CommitRecord,
    CommitVote,
    Ref,
    Round,
    ValidatorIndex,
)
from consensus.votes import CommitVotes

DECIDERS_MAX: Final = 0xFFFF  # the width of the count in a commit record
GC_DEPTH_MIN: Final = 3  # a leader's voters, certificates and their parents must outlive its commit


class Ordering:
    """The chain of commits as far as it goes here, and what waits to be ordered."""

    def __init__(
        self,
        *,
        dag: Dag,
        admission: Admission,
        evidence: Evidence,
        pacemaker: Pacemaker,
        spread: Dissemination,
        own: ValidatorIndex,
        gc_depth: int,
        out: Effects,
    ) -> None:
        assert gc_depth == 0 or gc_depth >= GC_DEPTH_MIN, f"gc_depth={gc_depth}"
        committee: Committee = dag.committee
        self.linearizer = Linearizer(committee, gc_depth=gc_depth)
        self.votes = CommitVotes(committee)
        self.end = EpochEnd(committee)
        self.forked = False
        self.unordered: dict[Ref, None] = {}  # accepted, uncommitted, with payload (P5)
        self._next_slot = Round(GENESIS_ROUND + 1)
        self._skip_deciders: dict[Ref, None] = {}  # of slots skipped since the last commit
        self._committee = committee
        self._dag = dag
        self._admission = admission
        self._evidence = evidence
        self._pacemaker = pacemaker
        self._spread = spread
        self._own = own
        self._out = out

    def restore(self, records: Sequence[CommitRecord], voted: Sequence[CommitVote]) -> None:
        """Go on after these (`types.Recovered`). `voted`: the votes of our last own block."""
        commits = [record.commit for record in records]
        self.linearizer.restore(commits)
        self.votes.restore(commits, voted)
        self.end.restore(records)
        if commits:
            self._next_slot = Round(commits[-1].leader.round + 1)
            self._dag.raise_floor(self.linearizer.floor)

    def accepted(self, block: Block) -> None:
        """A block is in the DAG now. The payload of one that is committed already is in the store, and held there alone."""
        if self.linearizer.is_committed(block.ref):
            self._dag.release(block.ref)
        elif block.payload:
            self.unordered[block.ref] = None

    # --- commits ---------------------------------------------------------------------------------

    def advance(self, catch_up: CommitSync) -> bool:
        """Emit what can be emitted now. True if more may be after it: the floor rose, which may have let blocks in."""
        if self.forked or self.end.reached:
            return False
        return self._order_certified(catch_up) if catch_up.active else self._order_decided()

    def _order_decided(self) -> bool:
        """What the commit rule decides, in sequence."""
        if self._dag.highest_round < self._next_slot + 2:
            return False
        try:
            decisions = decide(self._dag, self._next_slot)
        except Forked as err:
            self.fork(str(err))
            return False
        floor = self.linearizer.floor
        for position, decision in enumerate(decisions):
            if decision.status is Status.UNDECIDED or self.end.reached:
                break  # what would come after the end of the epoch is void
            self._next_slot = Round(decision.round + 1)
            self._commit(decisions, position)
        if self.linearizer.floor == floor:
            return False
        self._raise_floor()
        return True

    def _commit(self, decisions: list[Decision], position: int) -> None:
        leader = decisions[position].leader
        self._skip_deciders.update(dict.fromkeys(deciders(self._dag, decisions, position)))
        if leader is None:
            return
        commit = self.linearizer.order(self._dag, leader)
        blocks: list[Block] = []
        for ref in commit.blocks:
            block = self._dag.block(ref)
            assert block is not None, f"commit {commit.index}: the payload of {named(ref)} is gone"
            blocks.append(block)
        self._emit(commit, tuple(blocks), tuple(sorted(self._skip_deciders)[-DECIDERS_MAX:]))

    def _order_certified(self, catch_up: CommitSync) -> bool:
        """What a quorum committed and is here in full."""
        moved = False
        try:
            for ordered in catch_up.ordered():
                if ordered.fresh:
                    self._out.add(StoreBlocks(ordered.fresh))
                self._next_slot = Round(ordered.commit.leader.round + 1)
                record = self._emit(ordered.commit, ordered.blocks, ())
                self._raise_floor()
                moved = True
                if ends_epoch(record, self._committee):
                    break
        except Forked as err:
            self.fork(str(err))
        return moved

    def _emit(
        self, commit: Commit, blocks: tuple[Block, ...], deciders: tuple[Ref, ...]
    ) -> CommitRecord:
        """To the ledger, with what decided it."""
        for block in blocks:
            self._evidence.committed(block.header.evidence)
            self._dag.release(block.ref)
            self.unordered.pop(block.ref, None)
        self._skip_deciders = {}
        closed_by = self.end.committed(commit.leader.round, blocks)
        record = CommitRecord(commit=commit, deciders=deciders, closed_by=closed_by)
        self._out.add(CommitDecided(record=record, blocks=blocks))
        self._pacemaker.committed()
        for author in self.votes.committed(commit):
            self._contradicted(author, commit.index)
        return record

    def _raise_floor(self) -> None:
        floor = self.linearizer.floor
        void = [ref for ref in self.unordered if ref.round <= floor]
        for ref in void:
            del self.unordered[ref]
            if ref.author == self._own:
                self._out.add(OwnBlockVoid(ref))
        self._dag.raise_floor(floor)
        self._spread.raise_floor(floor)
        self._evidence.raise_floor(floor)
        self._admission.floor_raised()

    # --- what others committed -------------------------------------------------------------------

    def note_votes(self, block: Block) -> None:
        """Whatever becomes of the block: what its author says it committed."""
        author = block.ref.author
        before = self.votes.contradicting
        vote = self.votes.record(author, block.header.commit_votes)
        if vote is not None and self.votes.contradicting != before:
            self._contradicted(author, vote.index)

    def _contradicted(self, author: ValidatorIndex, index: CommitIndex) -> None:
        detail = f"validator {author} has another commit {index} than we"
        self._out.add(Alarm(trouble=Trouble.VOTE_CONTRADICTS, detail=detail))
        if self.votes.contradicting.bit_count() > self._committee.faults:
            self.fork(f"validators {self.votes.contradicting:#x} contradict our commits")

    def fork(self, detail: str) -> None:
        """Nothing is ordered or signed from now on; one alarm says why."""
        if not self.forked:
            self.forked = True
            self._out.add(Alarm(trouble=Trouble.FORK, detail=detail))
