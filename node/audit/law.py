"""Every leaf again: the law run over the sequence of commits, by the machine that every node runs (decision 0041).

Batches come from the blocks where the order could be followed. Else they are cut from the log itself: what stands before each
commit record are its entries, its time and order digest are the record's, and so are the counts of entries that were left out,
which then nobody has recomputed. Evidence of equivocation is taken from its records, and its signatures are verified here.
Commits that appended nothing have no trace in the log; the law did nothing in them (R23).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from consensus.codec import decode_proof
from node.audit.committing import Committing
from node.audit.findings import Depth, Findings
from node.audit.source import Lost, Source
from node.ledger.batch import CommittedBatch, Evidence
from node.ledger.epochs import Epoch, founding_epoch, next_epoch
from node.ledger.errors import MalformedRecord
from node.ledger.evidence import evidence_in, proof_checks
from node.ledger.genesis import Genesis
from node.ledger.plan import (
    MS_PER_S,
    AppendPlan,
    CommitMachine,
    FactsSource,
    MemoryFacts,
    Standing,
)
from node.ledger.records import EPOCH_TYPE, EQUIVOCATION_TYPE, OUTAGE_TYPE, decode_record, is_record
from node.ledger.seats import members_of
from node.ledger.state_digest import MemoryBuckets, Row
from node.signing.verify import VerifyPool

LEAVES_STEP: Final = 256

OnPlan = Callable[[AppendPlan], None]


class FactsSink(FactsSource, Protocol):
    """The index over all entries that were appended, and what adds to it."""

    def write(self, plan: AppendPlan) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LawStand:
    """Where the law stands after a commit: what a quorum cosigned by its record."""

    standing: Standing
    rows: Sequence[tuple[int, bytes, bytes]]  # the state map: (bucket, key, value), ascending
    epoch: Epoch  # of the next commit
    signatures: int  # verified so far


class Replay:
    """The machine over memory alone. Every signature is verified, over all threads of the pool."""

    def __init__(
        self,
        genesis: Genesis,
        document: bytes,
        pool: VerifyPool,
        executor: Executor | None = None,
        facts: FactsSink | None = None,
        stand: LawStand | None = None,
    ) -> None:
        """`executor`: processes that read the entries of batches ahead and check their signatures.

        `facts`: where the index over all entries is kept, else in memory. `stand`: go on from there, and not from the founding;
        then `facts` know what was appended before.

        Raises MalformedGenesis; from a `stand` DamagedRow, ReplayDiverged.
        """
        self._pool = pool
        self._genesis = genesis
        self.epoch = founding_epoch(genesis, document)  # of the next commit
        self._facts: FactsSink = MemoryFacts() if facts is None else facts
        self._buckets = MemoryBuckets()
        self._before = 0  # signatures verified by whoever came to `stand`
        self.founding: AppendPlan | None = None
        if stand is None:
            self.machine, self.founding = CommitMachine.found(
                genesis, document, facts=self._facts, buckets=self._buckets
            )
            self._take_over(self.founding)
        else:
            self.machine = CommitMachine.restore(
                genesis,
                document,
                facts=self._facts,
                buckets=self._buckets,
                state=stand.rows,
                standing=stand.standing,
            )
            self._buckets.write({(bucket, key): value for bucket, key, value in stand.rows})
            self.epoch, self._before = stand.epoch, stand.signatures
        self._committing = Committing(self.machine, pool, executor)

    def ahead(self, batches: Iterator[CommittedBatch]) -> Iterator[CommittedBatch]:
        """The same batches, with the entries of those that follow looked at by other processes while one is committed."""
        return self._committing.ahead(batches)

    def commit(self, batch: CommittedBatch) -> AppendPlan:
        """The next batch; of those that `ahead` gave, the one that it gave last."""
        plan = self._committing.commit(batch)
        self._take_over(plan)
        return plan

    @property
    def signatures(self) -> int:
        """Verified so far: those of entries and endorsements."""
        return self._before + self._committing.signatures

    def pass_over(self, index: int, time_ms: int, stood_since: int | None) -> None:
        """Go to just before commit `index` where the commits up to it appended nothing.

        The log does not tell when the last of those came, unless an outage followed, whose record does. That there
        was one or was none only the blocks can show.
        """
        standing = self.machine.standing
        assert time_ms >= standing.time_ms, f"ledger time {standing.time_ms} -> {time_ms}"
        if index - 1 > standing.index:
            before_ms = time_ms if stood_since is None else stood_since * MS_PER_S
            before_ms = min(max(before_ms, standing.time_ms), time_ms)
            self.machine.standing = replace(standing, index=index - 1, time_ms=before_ms)

    def take_dropped(self, dropped: dict[str, int]) -> None:
        """The counts that the log's commit record tells, where the transactions left out are not at hand."""
        self.machine.standing = replace(self.machine.standing, dropped=dropped)

    def proves(self, evidence: Evidence) -> bool:
        """Whether both signatures are the accused state's own."""
        keys = [member.block_key for member in self.epoch.members]
        checks = proof_checks(evidence.proof, self.epoch.committee, keys)
        return all(self._pool.verify_now(checks))

    def state(self) -> dict[Row, bytes]:
        """The whole state map, (bucket, key) -> value."""
        return self._buckets.rows()

    @property
    def states(self) -> list[str]:
        """Who validates, in validator order."""
        return [member.state for member in self.epoch.members]

    def _take_over(self, plan: AppendPlan) -> None:
        if plan.ends_epoch:
            law = self.machine.law
            _, self.epoch = next_epoch(
                self.epoch,
                members_of(law, self._genesis, law.committee()),
                last_commit=plan.index,
                last_digest=plan.order_digest,
                last_time_ms=plan.time_ms,
                last_size=plan.tree.size,
                record_leaf=plan.tree.size - 2,
            )
        self._facts.write(plan)
        self._buckets.write(plan.state_rows)


@dataclass(slots=True, kw_only=True)
class LawResult:
    """What the replay came to."""

    entries: int = 0  # leaves made and compared
    commits: int = 0  # commits run, the founding one not counted
    root: bytes = b""  # after the last of them
    state_digest: bytes = b""
    expected: dict[int, bytes] = field(
        default_factory=dict
    )  # leaf index -> bytes the law gives, where they differ
    complete: bool = False  # all commits that the source holds


def replay_batches(
    source: Source,
    replay: Replay,
    batches: Iterator[CommittedBatch],
    on_plan: OnPlan,
    expected_max: int,
    result: LawResult,
) -> None:
    """Run the law over these batches; each leaf is compared with the source's. Differences are gathered, not yet judged.

    `result`: what was come to before these batches, brought up to date with each.
    """
    if replay.founding is not None:
        _compare(source, replay.founding, result, expected_max)
        on_plan(replay.founding)
    for batch in replay.ahead(batches):
        plan = replay.commit(batch)
        _compare(source, plan, result, expected_max)
        result.commits += 1
        on_plan(plan)
    result.root = replay.machine.standing.tree.root()
    result.state_digest = replay.machine.state_digest


def _compare(source: Source, plan: AppendPlan, result: LawResult, expected_max: int) -> None:
    made = [appended.leaf for appended in plan.leaves]
    result.entries += len(made)
    if not made:
        return
    here = max(0, min(len(made), source.size - plan.first))
    try:
        held: list[bytes | None] = list(source.entries(plan.first, here)) if here else []
    except Lost:
        held = [_one(source, plan.first + offset) for offset in range(here)]
    for offset, leaf in enumerate(made[:here]):
        # What cannot be read at all is the structure's finding.
        if (
            held[offset] is not None
            and held[offset] != leaf
            and len(result.expected) < expected_max
        ):
            result.expected[plan.first + offset] = leaf


def _one(source: Source, index: int) -> bytes | None:
    try:
        return source.entries(index, 1)[0]
    except Lost:
        return None


class BrokenLog(Exception):
    """The log cannot be cut into commits further; the finding is made already."""


def replay_log(
    source: Source, replay: Replay, size: int, on_plan: OnPlan, findings: Findings
) -> LawResult:
    """Run the law over the log's own commits, up to `size`. Stops at the first commit that the law does not give."""
    result = LawResult()
    plan = replay.founding
    assert plan is not None, "the log is run from the start"
    _compare(source, plan, result, 1)
    on_plan(plan)
    try:
        commits = _commits_of(source, plan.tree.size, size, replay, findings)
        for batch, dropped, stood_since in commits:
            if result.expected:
                break
            _check_batch(replay, batch, findings)
            replay.pass_over(batch.index, batch.time_ms, stood_since)
            replay.take_dropped(dropped)
            plan = replay.commit(batch)
            _compare(source, plan, result, 1)
            on_plan(plan)
            result.commits += 1
        if not result.expected and replay.machine.standing.tree.size != size:
            made = replay.machine.standing.tree.size
            findings.add(Depth.LAW, f"the log's commits end at entry {made}, it has {size}")
    except BrokenLog:
        pass
    result.root = replay.machine.standing.tree.root()
    result.state_digest = replay.machine.state_digest
    return result


def _check_batch(replay: Replay, batch: CommittedBatch, findings: Findings) -> None:
    standing = replay.machine.standing
    if batch.index <= standing.index or batch.time_ms < standing.time_ms:
        findings.add(
            Depth.LAW,
            f"commit record {batch.index} of time {batch.time_ms} follows record {standing.index} of time {standing.time_ms}",
        )
        raise BrokenLog
    for evidence in batch.evidence:
        if not replay.proves(evidence):
            findings.add(
                Depth.LAW,
                f"commit record {batch.index} follows an equivocation record against {evidence.state} that its keys did not sign",
                proof={"proof": evidence.proof.hex()},
            )
            raise BrokenLog
        findings.two_blocks(Depth.LAW, evidence.state, decode_proof(evidence.proof))


def _commits_of(
    source: Source, first: int, size: int, replay: Replay, findings: Findings
) -> Iterator[tuple[CommittedBatch, dict[str, int], int | None]]:
    """Batch, counts of what was dropped before, and since when the ledger stood still if it did."""
    entries: list[bytes] = []
    evidence: list[Evidence] = []
    stood_since: int | None = None
    ends_epoch = False
    for start in range(first, size, LEAVES_STEP):
        try:
            leaves = source.entries(start, min(LEAVES_STEP, size - start))
        except Lost as lost:
            findings.add(
                Depth.LAW, f"the law cannot be run past entry {start}: {lost.why}", file=lost.file
            )
            raise BrokenLog from lost
        for index, leaf in enumerate(leaves, start=start):
            if not is_record(leaf):
                entries.append(leaf)
                continue
            try:
                record = decode_record(leaf)
                if record["type"] == EQUIVOCATION_TYPE:
                    evidence.append(evidence_in(record, replay.states))
                if record["type"] == OUTAGE_TYPE and isinstance(record.get("since"), int):
                    stood_since = record["since"]
                ends_epoch |= record["type"] == EPOCH_TYPE
                closing = _closing(record, tuple(entries), tuple(evidence))
            except MalformedRecord as err:
                findings.add(Depth.LAW, f"is no record: {err}", entry=index)
                raise BrokenLog from err
            if closing is not None:
                batch, dropped = closing
                # No node ends an epoch that its law has not closed; whether this one did is the law's to say.
                ends = ends_epoch and replay.machine.law.is_closing
                yield replace(batch, ends_epoch=ends), dropped, stood_since
                entries, evidence, stood_since, ends_epoch = [], [], None, False


def _closing(
    record: Mapping[str, Any], entries: tuple[bytes, ...], evidence: tuple[Evidence, ...]
) -> tuple[CommittedBatch, dict[str, int]] | None:
    """The batch that this commit record closes, and its counts; None for a record of another type. Raises MalformedRecord."""
    match record:
        case {
            "type": "commit",
            "index": int(index),
            "time_ms": int(time_ms),
            "order_digest": bytes(order_digest),
            "dropped": dict(dropped),
        } if all(isinstance(count, int) and count > 0 for count in dropped.values()):
            batch = CommittedBatch(
                index=index,
                time_ms=time_ms,
                order_digest=order_digest,
                entries=entries,
                evidence=evidence,
            )
            return batch, dropped
        case {"type": "commit"}:
            raise MalformedRecord("a commit record lacks index, time_ms, order_digest or dropped")
        case _:
            return None
