"""One copy of the history under audit: what each depth has shown of it, and how what it found fits together.

Depths build on one another: structure and certificates first, for every copy; then, for those audited whole, order, law and
the store's other rows. Last, each entry that is not what it should be has its one finding (`explaining`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from node.audit.archive import ArchiveSource
from node.audit.archive_files import check_files
from node.audit.beside import Undecided, check_notes
from node.audit.certificates import Judged, believed, judge, judge_source
from node.audit.collector import collected_seldom
from node.audit.edges import check_first, check_last
from node.audit.epochs import Trust
from node.audit.facts import SpilledFacts
from node.audit.findings import (
    FINDINGS_MAX,
    Checked,
    Depth,
    Findings,
    SourceReport,
)
from node.audit.law import LawResult, Replay, replay_batches, replay_log
from node.audit.order import OrderReplay
from node.audit.ordered import NotTakenUp, Ordered, batch_of
from node.audit.points import Keeping, Note, Point, unheard
from node.audit.source import Certificate, Lost, Source, TrustAt
from node.audit.store_rows import StoreRows, check_blocks, check_mempool, check_sign_state
from node.audit.store_source import StoreSource
from node.audit.structure import Structure, examine, report
from node.audit.swift import Workers
from node.audit.taking_up import TakenUp, prove, replay_from
from node.audit.withheld import Promise, Running, judge_promises
from node.ledger.batch import CommittedBatch
from node.ledger.batch import Judged as Fate
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import Genesis, chain_id
from node.ledger.plan import AppendPlan
from node.ledger.records import decode_record
from node.signing.verify import VerifyPool

Tick = Callable[[int], None]


class Progress(Protocol):
    """What shows people how far a long audit is."""

    def start(self, what: str, total: int | None) -> Tick:
        """A new piece of work of `total` steps; the answer is told how many are done."""
        ...


class Silent:
    """Shows nothing."""

    def start(self, what: str, total: int | None) -> Tick:
        del what, total
        return lambda _: None


class Readable(Source, Protocol):
    """A source that notes what was wrong while it was opened."""

    damage: list[Lost]

    def read_certificates(self, trust_at: TrustAt) -> None: ...


NOT_RUN: Final = Checked(done=False, how_far="nothing before it could be read")
NOT_ASKED: Final = Checked(done=False, how_far="not asked for")
DEPTHS: Final = tuple(Depth)
WORTH_PROCESSES: Final = (
    20_000  # entries: below, starting processes takes longer than what they save
)
NO_STORE: Final = Checked(done=False, how_far="no node's store")
REFERENCE: Final = Checked(done=False, how_far="read for comparison only")


@dataclass(slots=True, kw_only=True)
class Copy:
    """A source and what is known of it so far."""

    source: Readable
    findings: Findings
    trust: Trust
    judged: list[Judged] = field(default_factory=list)
    structure: Structure = field(default_factory=lambda: Structure(size=0))
    stands: bool = False  # its entries lead to a root that a quorum cosigned
    law: LawResult = field(default_factory=LawResult)
    law_from_blocks: bool = False
    fates: dict[bytes, Fate] = field(default_factory=dict)  # of entries that were asked about
    running: Running | None = None  # how long its final log ran, if promises are asked about
    checked: dict[Depth, Checked] = field(default_factory=lambda: dict.fromkeys(Depth, NOT_RUN))

    @property
    def final(self) -> Judged | None:
        """The largest checkpoint with a quorum that is within what is here."""
        within = [j for j in self.judged if j.is_final and j.size <= self.source.size]
        return max(within, key=lambda judged: judged.size, default=None)

    @property
    def certified(self) -> int:
        """So many of its entries lead to a root that a quorum cosigned."""
        final = self.final
        return 0 if final is None or not self.stands else final.size

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong with it, and the law was run to its end."""
        wrong = len(self.findings) or self.law.expected
        return not wrong and self.checked[Depth.LAW].done

    @property
    def hashes_stand(self) -> bool:
        """The stored leaf hashes lead to the cosigned root."""
        final = self.final
        return final is not None and self.structure.stored_roots.get(final.size) == final.root

    def report(self) -> SourceReport:
        final = self.final
        size = self.source.size
        root = self.structure.roots.get(size, b"")
        return SourceReport(
            name=self.source.name,
            kind=self.source.kind,
            where=self.source.where,
            size=size,
            root=root.hex(),
            final_size=0 if final is None else final.size,
            final_root="" if final is None else final.root.hex(),
            final_at_s=None if final is None else final.median_s,
            cosigned_by=() if final is None else final.signers,
            checked=dict(self.checked),
            entries_replayed=self.law.entries,
            commits_replayed=self.law.commits,
            replayed_root=self.law.root.hex(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every copy is judged by."""

    genesis: Genesis
    document: bytes
    pool: VerifyPool
    progress: Progress
    workers: Workers
    promises: tuple[Promise, ...] = ()
    depth: Depth = Depth.COMPARE  # the last one to look at
    pinned: bool = False  # the document was named by who asks, not found in a copy
    note: Note = unheard  # what people should know beside the report

    def goes_to(self, depth: Depth) -> bool:
        """True if this depth is asked for."""
        return DEPTHS.index(depth) <= DEPTHS.index(self.depth)

    @property
    def chain_id(self) -> bytes:
        return chain_id(self.document)


# --- every copy ----------------------------------------------------------------------------------


def read(copy: Copy, ground: Ground, sizes: Sequence[int]) -> None:
    """Parts, tree and certificates. `sizes`: of every copy's checkpoints, so that roots can be compared across copies."""
    source, findings = copy.source, copy.findings
    parts = "genesis, checkpoints, tip"
    if isinstance(source, ArchiveSource):
        tick = ground.progress.start(f"{source.name}: files", None)
        seen = check_files(source, ground.genesis, ground.document, findings, tick, ground.workers)
        parts = f"{seen} files of the manifests"
    for lost in source.damage:
        findings.add(Depth.PARSE, lost.why, file=lost.file)
    copy.checked[Depth.PARSE] = Checked(done=True, how_far=parts)
    for depth in DEPTHS:
        if not ground.goes_to(depth):
            copy.checked[depth] = NOT_ASKED
    if source.size == 0:
        findings.add(Depth.PARSE, "holds no entries")
        return
    if not ground.goes_to(Depth.STRUCTURE):
        return
    tick = ground.progress.start(f"{source.name}: tree", source.size)
    copy.structure = examine(source, sizes, tick, ground.workers)
    copy.judged = judge_source(source, copy.trust, copy.structure.root_at, findings)
    check_first(
        *(source, copy.structure, ground.chain_id, ground.genesis.origin, findings),
    )
    if isinstance(source, ArchiveSource):
        check_last(source, copy.structure, findings)
        check_notes(source, copy.trust, copy.judged, findings)
    if isinstance(source, StoreSource):
        for waiting in source.unfinal:
            judge(waiting, copy.trust.at(waiting.checkpoint.size), findings)
    final = copy.final
    named = None if final is None else (final.size, final.root, final.signers)
    copy.stands = report(copy.structure, named, findings)
    whole = copy.structure.broken_at is None
    what = "entries" if source.shows_entries else "leaf hashes (entries are not shown to everybody)"
    copy.checked[Depth.STRUCTURE] = Checked(
        done=whole, how_far=f"{source.size} {what}" if whole else "no root: see the findings"
    )
    if ground.goes_to(Depth.CERTIFICATES):
        copy.checked[Depth.CERTIFICATES] = _certificates(
            copy, final, len(ground.genesis.members), goes_to_order=ground.goes_to(Depth.ORDER)
        )


def _certificates(
    copy: Copy, final: Judged | None, members: int, *, goes_to_order: bool
) -> Checked:
    if final is None:
        if not copy.source.certificates:
            return Checked(done=False, how_far="no checkpoint is held: nothing here is final")
        return Checked(done=False, how_far="no checkpoint has a quorum of good cosignatures")
    how_far = (
        f"{members} founding signatures; size {final.size} cosigned by {', '.join(final.signers)}"
    )
    if len(copy.judged) > 1:
        how_far += f"; {len(copy.judged) - 1} earlier checkpoints"
    if len(copy.trust.epochs) > 1:
        how_far += f"; {len(copy.trust.epochs)} epochs"
        certified = {judged.size for judged in copy.judged if judged.is_final}
        if missing := copy.trust.handed_over(certified):
            sizes = ", ".join(map(str, missing))
            how_far += f"; no checkpoint of size {sizes} is held, with which members handed over to the next ones"
            if copy.source.last_commit is None or not goes_to_order:
                return Checked(
                    done=False, how_far=how_far + ": their signed blocks show it, at depth order"
                )
            how_far += ": that rests on their signed blocks"
    if copy.source.size > final.size:
        how_far += f"; {copy.source.size - final.size} entries after it are not final"
    return Checked(done=True, how_far=how_far)


def certificate_sizes(certificates: Sequence[Certificate]) -> list[int]:
    return [certificate.checkpoint.size for certificate in certificates]


# --- a copy audited whole ------------------------------------------------------------------------


def replay(
    copy: Copy, ground: Ground, others: Sequence[Source], keeping: Keeping | None = None
) -> None:
    """Order and law, and what only a store has. `others` stand in for blocks that this copy has lost.

    `keeping`: where an earlier run's point is taken up, and points of this one are kept. What goes on from a point either finds
    nothing wrong, or is thrown away and the copy is run from its start: findings rest on nothing that was kept.
    """
    if keeping is None:
        _run(copy, ground, others, None, None)
        return
    with keeping:
        _resumed(copy, ground, others, keeping)


def _resumed(copy: Copy, ground: Ground, others: Sequence[Source], keeping: Keeping) -> None:
    point = keeping.take()
    if point is not None:
        found, checked = copy.findings.copied(), dict(copy.checked)
        try:
            _run(copy, ground, others, keeping, point)
            if copy.is_clean:
                return
            keeping.refuse("something is wrong further on")
        except NotTakenUp as err:
            keeping.refuse(str(err))
        copy.findings, copy.checked, copy.law = found, checked, LawResult()
        copy.law_from_blocks = False
    _run(copy, ground, others, keeping, None)


def _run(
    copy: Copy,
    ground: Ground,
    others: Sequence[Source],
    keeping: Keeping | None,
    point: Point | None,
) -> None:
    """From `point`, or from the start. Raises NotTakenUp if the point does not fit."""
    source = copy.source
    if source.size == 0:
        return
    if not source.shows_entries:
        for depth in (Depth.SIGNATURES, Depth.ORDER, Depth.LAW):
            copy.checked[depth] = Checked(done=False, how_far="entries are not shown to everybody")
        return
    order = OrderReplay(
        source,
        copy.trust.epochs,
        ground.pool,
        copy.findings,
        others=others,
        certified=len(believed(source, copy.trust, copy.judged).epochs),
    )
    if not ground.goes_to(Depth.LAW):
        _order_alone(copy, ground, order)
        return
    taken, earlier = None, None
    if keeping is not None and point is not None:
        taken = prove(source, copy.trust.epochs, copy.certified, point)
        earlier = keeping.earlier(point)
    with (
        collected_seldom(),
        SpilledFacts(earlier=earlier) as facts,
        SpilledFacts() as again,
    ):
        _law(copy, ground, order, (facts, again), keeping, taken)


def _law(
    copy: Copy,
    ground: Ground,
    order: OrderReplay,
    facts: tuple[SpilledFacts, SpilledFacts],
    keeping: Keeping | None,
    taken: TakenUp | None,
) -> None:
    """`facts`: for the run by the blocks, and for that by the log, if there must be one."""
    source = copy.source
    run = _replay(ground, source, facts[0], taken)
    rows = StoreRows(source, copy.findings) if isinstance(source, StoreSource) else None
    complete = False
    if source.last_commit is not None:
        on_plan = _told(copy, ground, run, rows, keeping)
        complete = _by_blocks(copy, ground, order, run, on_plan, keeping, taken)
    else:
        copy.checked[Depth.ORDER] = Checked(done=False, how_far="this source shows no blocks")
    if not complete:
        if taken is not None:
            raise NotTakenUp("the order cannot be followed to its end")
        # Once more from the start, by the log alone; a store's rows want the commits that left no trace in it as well.
        run = _replay(ground, source, facts[1])
        rows = None
        _by_log(copy, ground, run)
    copy.checked[Depth.SIGNATURES] = Checked(
        done=True,
        how_far=f"{run.signatures} of entries and endorsements, {order.blocks} of blocks",
    )
    if taken is not None:
        for depth in (Depth.SIGNATURES, Depth.ORDER, Depth.LAW):
            checked = copy.checked[depth]
            how_far = f"{checked.how_far}; up to entry {taken.point.entries} in an earlier run"
            copy.checked[depth] = replace(checked, how_far=how_far)
    final = copy.final
    if copy.running and copy.checked[Depth.LAW].done and copy.law_from_blocks and final:
        note = final.note(copy.trust.at(final.size))
        judge_promises(
            *(ground.promises, source, final.size, note),
            *(copy.fates, copy.running, copy.findings),
        )
    if not ground.goes_to(Depth.STORE):
        pass
    elif isinstance(source, StoreSource):
        _store(copy, source, ground, order, run, rows)
    else:
        copy.checked[Depth.STORE] = NO_STORE


def _replay(
    ground: Ground, source: Source, facts: SpilledFacts, taken: TakenUp | None = None
) -> Replay:
    executor = ground.workers.processes() if source.size > WORTH_PROCESSES else None
    if taken is None:
        return Replay(ground.genesis, ground.document, ground.pool, executor, facts)
    return replay_from(taken, ground.genesis, ground.document, ground.pool, executor, facts)


def _order_alone(copy: Copy, ground: Ground, order: OrderReplay) -> None:
    """Blocks: who signed each, and what sequence they give. Whose key an entry needs, the law alone knows."""
    last = copy.source.last_commit
    if last is None:
        for depth in (Depth.SIGNATURES, Depth.ORDER):
            copy.checked[depth] = Checked(done=False, how_far="this source shows no blocks")
        return
    tick = ground.progress.start(f"{copy.source.name}: order", last)
    done = 0
    for _ in _followed(copy, order, last, _beside(copy.source, ground, order)):
        done += 1
        tick(1)
    _stopped(copy, done, last)
    how_far = f"{done} commits" if done == last else f"stopped at commit {done + 1} of {last}"
    if order.taken:
        how_far += (
            f", up to commit {order.taken} as a quorum's certificate says: the depth law shows it"
        )
    copy.checked[Depth.SIGNATURES] = Checked(
        done=done == last, how_far=f"{order.blocks} of blocks; those of entries at depth law"
    )
    if ground.goes_to(Depth.ORDER):
        copy.checked[Depth.ORDER] = Checked(done=done == last, how_far=how_far)


def _by_blocks(
    copy: Copy,
    ground: Ground,
    order: OrderReplay,
    run: Replay,
    on_plan: Callable[[AppendPlan], None],
    keeping: Keeping | None,
    taken: TakenUp | None,
) -> bool:
    """Whether all commits could be followed. Raises NotTakenUp."""
    source = copy.source
    last = source.last_commit
    assert last is not None, "asked of a source that shows blocks"
    tick = ground.progress.start(f"{source.name}: order and law", last)
    beside = _beside(source, ground, order)
    copy.law = LawResult()
    if taken is not None:
        point = taken.point
        order.take_up(point.order, taken.order_digest)
        if beside is not None:
            beside.take_up(point.needed)
        copy.law = LawResult(entries=point.entries, commits=point.order.index)
        tick(point.order.index)
    if keeping is not None:
        keeping.begin()

    def batches() -> Iterator[CommittedBatch]:
        for ordered in _followed(copy, order, last, beside):
            appends = ordered.entries or ordered.ends_epoch
            if keeping is not None and beside is not None and appends and keeping.is_due:
                keeping.seen(order.stand(), beside.needed())
            yield batch_of(ordered)
            tick(1)

    replay_batches(source, run, batches(), on_plan, FINDINGS_MAX, copy.law)
    done = copy.law.commits
    complete = done == last
    copy.checked[Depth.ORDER] = Checked(
        done=complete,
        how_far=f"{done} commits" if complete else f"stopped at commit {done + 1} of {last}",
    )
    if not complete:
        _stopped(copy, done, last)
        return False
    copy.law_from_blocks = True
    _taken(copy, order.taken)
    if copy.law.entries != source.size:
        copy.findings.add(
            Depth.LAW, f"holds {source.size} entries, its {last} commits give {copy.law.entries}"
        )
    copy.checked[Depth.LAW] = Checked(
        done=True, how_far=f"{copy.law.entries} entries of {done} commits, by the blocks"
    )
    return True


def _beside(source: Source, ground: Ground, order: OrderReplay) -> Undecided | None:
    """Of an archive: who looks whether it holds blocks that nothing needs."""
    if not isinstance(source, ArchiveSource):
        return None
    return Undecided(source, order, ground.pool)


def _followed(
    copy: Copy, order: OrderReplay, last: int, beside: Undecided | None
) -> Iterator[Ordered]:
    """The commits up to `last`, and then, if all could be followed, what stands beside their blocks."""
    for ordered in order.commits(last):
        if beside is not None:
            beside.committed(ordered.commit.blocks)
        yield ordered
    if beside is not None and order.last == last:
        beside.finish(last, copy.findings)


def _stopped(copy: Copy, done: int, last: int) -> None:
    """Why the order stopped short is said where it was found; that it did is never said by nothing at all."""
    if done < last and not len(copy.findings):
        copy.findings.add(Depth.ORDER, f"commit {done + 1}: the order cannot be followed to it")


def _taken(copy: Copy, taken: int) -> None:
    """A leader that no block decides stands under a cosigned commit record: its digest covers all commits up to it (R45)."""
    if not taken:
        return
    certified = 0
    final = copy.final
    try:
        if final is not None:
            certified = decode_record(copy.source.entries(final.size - 1, 1)[0])["index"]
    except (Lost, MalformedRecord, KeyError):
        pass  # the structure, or the law, says what is wrong with that entry
    if certified < taken:
        copy.findings.add(
            Depth.ORDER,
            f"commit {taken}: no blocks here decide its leader, and no cosigned commit record is as late as that",
        )


def _told(
    copy: Copy, ground: Ground, run: Replay, rows: StoreRows | None, keeping: Keeping | None
) -> Callable[[AppendPlan], None]:
    """Who looks at each plan of the replay."""
    asked = {promise.said.entry_hash for promise in ground.promises}
    final_size = 0 if copy.final is None else copy.final.size
    certified = copy.certified
    running = copy.running = Running(ground.genesis.inclusion_s) if asked else None

    def look(plan: AppendPlan) -> None:
        if rows is not None:
            rows.on_plan(plan)
        if running is not None:
            for judged in plan.judged:
                if judged.entry_hash in asked:
                    copy.fates.setdefault(judged.entry_hash, judged)
            if plan.leaves and plan.tree.size <= final_size:
                running.commit_record(plan.time_ms, plan.tree.size - 1)
        if keeping is not None:
            is_sound = not (copy.findings or copy.law.expected) and plan.tree.size <= certified
            keeping.on_plan(plan, is_sound=is_sound, signatures=run.signatures, state=run.state)

    return look


def _by_log(copy: Copy, ground: Ground, run: Replay) -> None:
    source = copy.source
    tick = ground.progress.start(f"{source.name}: law", source.size)
    found = replay_log(source, run, source.size, lambda plan: tick(len(plan.leaves)), copy.findings)
    copy.law = found
    whole = not found.expected and run.machine.standing.tree.size == source.size
    copy.checked[Depth.LAW] = Checked(
        done=whole,
        how_far=f"{found.entries} entries of {found.commits} commits, by the log itself"
        if whole
        else f"stopped after {found.entries} entries",
    )


def _store(
    copy: Copy,
    source: StoreSource,
    ground: Ground,
    order: OrderReplay,
    run: Replay,
    rows: StoreRows | None,
) -> None:
    findings = copy.findings
    tick = ground.progress.start(f"{source.name}: blocks", None)
    blocks = check_blocks(source, order, ground.pool, findings, tick)
    waiting = check_mempool(source, findings)
    check_sign_state(source, copy.trust, ground.chain_id, findings)
    if rows is None:
        how_far = f"{blocks} blocks; state and indexes were not: the order stopped short"
        copy.checked[Depth.STORE] = Checked(done=False, how_far=how_far)
        return
    rows.finish(run, copy.law)
    copy.checked[Depth.STORE] = Checked(
        done=True, how_far=f"{blocks} blocks, {waiting} waiting entries, state, indexes, tip"
    )
