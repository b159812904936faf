"""The order again where copies are damaged: each row from the first copy that has it whole.

    block    by name: its digest and its author's signature say whether it is the one; else another copy is asked
    record   only a hint where to look: it names blocks, and the rule says which leader they decide. What is written is what the
             rule gives, so a record that was altered is put right even where no other copy has it
    neither  every block of the next rounds that a copy holds, until they decide

A copy that lies can withhold, and nothing else. `findings` tells what was wrong with the first copy, which is the damaged one.
"""

from collections.abc import Sequence
from typing import Final

from consensus.codec import MalformedBlock, decode_commit_record
from consensus.commit_rule import Forked, Status, decide, deciders
from consensus.types import Block, Commit, CommitIndex, CommitRecord, Ref, Round, ValidatorIndex
from node.audit.findings import Depth, Findings
from node.audit.order import OrderReplay
from node.audit.ordered import BrokenOrder, Led
from node.audit.source import Lost, Source
from node.audit.store_source import StoreSource
from node.ledger.epochs import Epoch
from node.signing.verify import VerifyPool

ROUNDS_AHEAD: Final = 96  # a leader that is committed at all is so within a few rounds; slots before it may be skipped


class MendingReplay(OrderReplay):
    """See the module's text. `sources[0]` is the damaged copy."""

    def __init__(
        self,
        sources: Sequence[Source],
        epochs: Sequence[Epoch],
        pool: VerifyPool,
        findings: Findings,
    ) -> None:
        super().__init__(sources[0], epochs, pool, findings, others=sources[1:])
        self.mended = 0  # rows that came from another copy, or from the rule

    @property
    def _copies(self) -> Sequence[Source]:
        return (self._source, *self._others)

    def _lead(self, index: CommitIndex) -> Led:
        first = self._next_round
        for copy in self._copies:
            try:
                record = decode_commit_record(copy.commit_record(index))
            except (Lost, MalformedBlock) as err:
                if copy is self._source:
                    self._tell(f"commit record {index}: {err}", err)
                continue
            leader = self._try(index, record, quietly=copy is not self._source)
            if leader is None and not record.deciders:
                leader = self._decided_later(index)
            if leader is not None:
                return Led(leader, record.deciders, record if copy is self._source else None)
        self._next_round = (
            first  # attempts that came to no leader may have passed over skipped slots
        )
        return self._by_rounds(index)

    def _tell(self, what: str, err: Exception | None = None) -> None:
        """One row of the damaged copy that is put right."""
        self.mended += 1
        self._findings.add(Depth.ORDER, what, file=err.file if isinstance(err, Lost) else None)

    def _try(self, index: CommitIndex, record: CommitRecord, *, quietly: bool) -> Ref | None:
        """The leader, if the blocks that this record names decide it."""
        told = self._findings
        if quietly:
            self._findings = Findings(told.source)
        try:
            self._load(index, [record.commit.leader, *record.deciders])
            return self._decided()
        except BrokenOrder:
            return None
        finally:
            self._findings = told

    def _by_rounds(self, index: CommitIndex) -> Led:
        """By all blocks of the rounds that follow. Raises BrokenOrder."""
        first = self._next_round
        told, self._findings = self._findings, Findings(self._source.name)
        try:
            for round_ in range(first, first + ROUNDS_AHEAD):
                for ref in self._held(round_):
                    try:
                        self._load(index, [ref])
                    except BrokenOrder:
                        continue  # one whose history is lost
                found = self._decide_with_proof()
                if found is not None:
                    return found
        finally:
            self._findings = told
        self._findings.add(
            Depth.ORDER,
            f"commit {index}: no copy holds the blocks that decide the leader of round {first}, so nothing after it either",
        )
        raise BrokenOrder

    def _held(self, round_: int) -> list[Ref]:
        refs: set[Ref] = set()
        for copy in self._copies:
            if isinstance(copy, StoreSource):
                refs |= set(copy.refs_in_round(round_, self._epoch.number))
        return sorted(ref for ref in refs if not self._dag.has(ref))

    def _decide_with_proof(self) -> Led | None:
        """The next leader, with what decided it and every slot skipped before it (P1). Raises BrokenOrder."""
        try:
            decisions = decide(self._dag, self._next_round)
        except Forked as err:
            raise BrokenOrder from err
        why: set[Ref] = set()
        for position, decision in enumerate(decisions):
            if decision.status is Status.UNDECIDED:
                return None
            why |= set(deciders(self._dag, decisions, position))
            if decision.leader is not None:
                self._next_round = Round(decision.round + 1)
                return Led(decision.leader, tuple(sorted(why)), None)
        return None

    def _compare(self, recorded: Commit, made: Commit) -> None:
        if recorded != made:
            self._tell(f"commit record {made.index} was altered: the blocks give another")

    def _compare_closing(
        self, recorded: CommitRecord, closed_by: tuple[ValidatorIndex, ...]
    ) -> None:
        if recorded.closed_by != closed_by:
            self._tell(
                f"commit record {recorded.commit.index} was altered: the blocks give another end of the epoch"
            )

    def _signed(self, index: CommitIndex, blocks: list[Block]) -> list[Block]:
        """A name does not cover the signature: of a block whose signature was altered another copy may have the good one."""
        verdicts = self._pool.verify_now([self.signature_check(block) for block in blocks])
        found: list[Block] = []
        for block, good in zip(blocks, verdicts, strict=True):
            if not good:
                self._unsigned(index, block.ref)
                self.mended += 1
                found.append(self._signed_elsewhere(block.ref))
            else:
                found.append(block)
        return found

    def _signed_elsewhere(self, ref: Ref) -> Block:
        for copy in self._copies:
            try:
                block = self._read(copy, ref)
            except Lost:
                continue
            if all(self._pool.verify_now([self.signature_check(block)])):
                return block
        raise BrokenOrder
