"""Several copies at once: read by threads, which wait for disks and networks; replayed by processes, which compute.

    each(copies, work)           `work` of every copy, at most AT_ONCE at a time
    replay_all(...)              order and law of every copy that is audited whole

One copy alone keeps all cores busy by itself (signatures in processes, the law in this one). Several are replayed one to a
process, each with its signatures, as many at a time as there are cores: no copy waits for another's law. What a process found
comes back as values; findings are gathered copy by copy, so the report does not tell who was faster.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from typing import Final, TypeVar

from node.audit.certificates import Judged
from node.audit.copies import WORTH_PROCESSES, Copy, Ground, Tick, replay
from node.audit.epochs import Trust
from node.audit.findings import Checked, Depth, Findings
from node.audit.law import LawResult
from node.audit.opening import open_source
from node.audit.points import Keeping, Note
from node.audit.resuming import AuditState, Resume
from node.audit.source import Source
from node.audit.structure import Structure
from node.audit.swift import Workers
from node.audit.withheld import Promise
from node.audit.worker import begin_work
from node.ledger.batch import Judged as Fate
from node.ledger.genesis import Genesis
from node.signing.verify import VerifyPool

AT_ONCE: Final = 16  # copies that are read at a time: each holds one connection or a few files
TOLD_S: Final = 0.2  # between two looks at what processes told
STEPS_TOLD: Final = 32  # of a process's work: as often as it says how far it is

T = TypeVar("T")


def each(copies: Sequence[T], work: Callable[[T], None]) -> None:
    """`work` of each, at the same time. Raises what the first of them in order raised, after all have ended."""
    if len(copies) < 2:
        for copy in copies:
            work(copy)
        return
    with ThreadPoolExecutor(min(AT_ONCE, len(copies)), thread_name_prefix="source") as threads:
        running = [threads.submit(work, copy) for copy in copies]
        wait(running)
    for done in running:
        done.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What a process needs to replay one copy: its name, and what is known of it."""

    where: str
    others: tuple[str, ...]
    genesis: Genesis
    document: bytes
    depth: Depth
    promises: tuple[Promise, ...]
    findings: Findings
    trust: Trust
    judged: list[Judged]
    structure: Structure
    stands: bool
    checked: dict[Depth, Checked]
    resume: Resume | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What it found."""

    findings: Findings
    law: LawResult
    law_from_blocks: bool
    fates: dict[bytes, Fate]
    checked: dict[Depth, Checked]
    notes: list[str]


def replay_all(
    ground: Ground, copies: Sequence[Copy], primary: Sequence[Copy], state: AuditState
) -> None:
    """Replay each of `primary`; any of `copies` stands in for blocks that another has lost.

    `state` tells which have been, and is told of each as it ends.
    """
    primary = [copy for copy in primary if not state.take(copy, ground)]
    entries = sum(copy.source.size for copy in primary)
    if len(primary) < 2 or ground.workers.count < 2 or entries < WORTH_PROCESSES:
        for copy in primary:
            others = [other.source for other in copies if other is not copy]
            resume = state.resume(copy, ground)
            replay(copy, ground, others, _keeping(resume, ground))
            _done(copy, ground, state, resume)
        return
    context = get_context("spawn")
    told: SimpleQueue[_Told] = context.SimpleQueue()
    many = min(ground.workers.count, len(primary))
    with ProcessPoolExecutor(
        many, mp_context=context, initializer=_begin, initargs=(told,)
    ) as processes:
        resumes = [state.resume(copy, ground) for copy in primary]
        running = {
            processes.submit(_replayed, _task(copy, ground, copies, resume)): (copy, resume)
            for copy, resume in zip(primary, resumes, strict=True)
        }
        for future in _ended(ground, told, list(running)):
            copy, resume = running[future]
            _take(copy, future.result(), ground.note)
            _done(copy, ground, state, resume)


def _keeping(resume: Resume | None, ground: Ground) -> Keeping | None:
    return None if resume is None else resume.keeping(ground.note)


def _done(copy: Copy, ground: Ground, state: AuditState, resume: Resume | None) -> None:
    """What its replay came to is kept, if it was clean, before its points go. The audit does not end because it cannot be."""
    try:
        state.keep(copy, ground)
        if resume is not None:
            resume.forget()
    except OSError as err:
        ground.note(f"{copy.source.name}: what was found is not kept: {err}")


def _task(copy: Copy, ground: Ground, copies: Sequence[Copy], resume: Resume | None) -> _Task:
    others = [other.source.where for other in copies if other is not copy]
    return _Task(
        where=copy.source.where,
        others=tuple(others),
        genesis=ground.genesis,
        document=ground.document,
        depth=ground.depth,
        promises=ground.promises,
        findings=copy.findings,
        trust=copy.trust,
        judged=copy.judged,
        structure=copy.structure,
        stands=copy.stands,
        checked=copy.checked,
        resume=resume,
    )


def _take(copy: Copy, result: _Result, note: Note) -> None:
    for said in result.notes:
        note(said)
    copy.findings = result.findings
    copy.law = result.law
    copy.law_from_blocks = result.law_from_blocks
    copy.fates = result.fates
    copy.checked = result.checked


def _replayed(task: _Task) -> _Result:
    """In a process of its own, which opens the sources again."""
    with ExitStack() as stack:
        opened: list[Source] = []
        for where in (task.where, *task.others):
            source = open_source(where, task.genesis, task.document)
            stack.callback(source.close)
            source.name = task.findings.source if where == task.where else source.name
            source.read_certificates(task.trust.at)
            opened.append(source)
        copy = Copy(
            source=opened[0],  # type: ignore[arg-type] # `open_source` gives readable ones
            findings=task.findings,
            trust=task.trust,
            judged=task.judged,
            structure=task.structure,
            stands=task.stands,
            checked=task.checked,
        )
        notes: list[str] = []
        ground = Ground(
            genesis=task.genesis,
            document=task.document,
            pool=stack.enter_context(VerifyPool(threads=0)),
            progress=_Teller(),
            workers=stack.enter_context(Workers(1)),
            promises=task.promises,
            depth=task.depth,
            note=notes.append,
        )
        replay(copy, ground, opened[1:], _keeping(task.resume, ground))
    return _Result(
        findings=copy.findings,
        law=copy.law,
        law_from_blocks=copy.law_from_blocks,
        fates=copy.fates,
        checked=copy.checked,
        notes=notes,
    )


# --- how far the processes are -------------------------------------------------------------------

_Told = tuple[str, int | None, int]
"""(piece of work, its steps in all, steps done since it was told last)."""

_queue: "SimpleQueue[_Told] | None" = None


def _begin(told: "SimpleQueue[_Told]") -> None:
    global _queue
    _queue = told
    begin_work()


class _Teller:
    """The progress of a process: told to the one that shows it."""

    def start(self, what: str, total: int | None) -> Tick:
        done, told = 0, False

        def tick(steps: int) -> None:
            nonlocal done, told
            done += steps
            if (done >= STEPS_TOLD or not told) and _queue is not None:
                _queue.put((what, total, done))
                done, told = 0, True

        return tick


def _ended(
    ground: Ground, told: "SimpleQueue[_Told]", running: Sequence["Future[_Result]"]
) -> "Iterator[Future[_Result]]":
    """Each as it ends; meanwhile what the processes tell is shown."""
    shown: dict[str, Tick] = {}
    waiting: set[Future[_Result]] = set(running)
    while waiting:
        ended, waiting = wait(waiting, TOLD_S, return_when=FIRST_COMPLETED)
        while not told.empty():
            what, total, steps = told.get()
            if what not in shown:
                shown[what] = ground.progress.start(what, total)
            shown[what](steps)
        yield from ended
