"""`foedus bench law`: what one statement costs the law and the state digest, as the history grows.

What is in a figure: `Law.advance` once a commit, `Law.apply` for each statement, `drain_changes` and the digest's change once
a commit, over the whole state map in memory; one thread, processor time. Reading the protobuf payload is measured beside it. What
is not: COSE, signatures, the log's tree and the disk, which `foedus bench localnet` measures with everything else.

The curve counts statements after all sites and runs are registered and have reported for two hours: till then no deadline
has passed that the clock has to look at, and a statement costs a tenth less than ever again. Each point is the cheapest commit
of the last 10,000 up to it, so that what else the machine did meanwhile does not count; the rate is over all of them. They
are made commit by commit outside the measured time, so memory stays what the state takes. At the first point the rows are
kept: a law restored from them, and another replayed from genesis, take the commit that follows, and all three digests must
agree. At the end every site falls silent and the clock passes their deadlines.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from node.cli.bench.law_world import (
    GENESIS_S,
    SLOT_S,
    NoIndex,
    Said,
    Size,
    World,
    entry_of,
    genesis_of,
)
from node.cli.bench.meters import resident_bytes
from node.ledger.state_digest import MemoryBuckets, Row, StateDigest
from node.reporting import CouldNot
from node.treaty.derived import Finding
from node.treaty.entries import Entry
from node.treaty.law import Law

WINDOW: Final = 10_000  # statements that one point looks back upon; the first point
LEAD_IN_SLOTS: Final = (
    2  # a slot is judged one slot after its end: from then on deadlines pass with every hour
)
IDLE_LOOKS: Final = 10_000

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    statements: int = 1_000_000
    commit: int = 2_000  # statements a commit: what 8,000 a second come to at four commits a second
    size: Size = field(default_factory=Size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The cost of one statement in the cheapest commit of the window that ends at this many."""

    statements: int
    law_us: float  # advance and apply
    digest_us: float  # drain_changes and the state digest
    parse_us: float  # payload bytes -> value

    @property
    def us(self) -> float:
        return self.law_us + self.digest_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A law read back from rows, against the live one and one replayed from genesis."""

    statements: int  # before the rows were kept
    rows: int
    seconds: float  # rows -> law, map and digest
    replay_seconds: float  # all entries up to there -> the same
    equal: bool  # all three digests, after one commit more


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that was measured."""

    plan: Plan
    registered: int  # entries that set the world up
    points: tuple[Point, ...]
    seconds: float  # of law and digest, for all statements
    parse_seconds: float
    state_bytes: int  # what the process grew by: law, state map, digest
    rows: int
    peak_bytes: int
    restored: Restored
    idle_advance_us: float  # `advance` by a second with nothing due
    deadlines: int  # slots that passed unreported
    deadline_us: float  # one of them: look, finding, case, digest


class Cost(NamedTuple):
    """Microseconds a statement in one commit."""

    law: float
    digest: float
    parse: float


class Court:
    """A law with the state map and the digest that a ledger keeps for it."""

    def __init__(self, law: Law) -> None:
        self.law = law
        self.map = MemoryBuckets(like_disk=True)  # what a node does is to be measured
        self.digest = StateDigest()

    @classmethod
    def founded(cls, world: World) -> "tuple[Court, int]":
        """At genesis, with every site and run of the world registered; and how many entries that took."""
        court = cls(Law.at_genesis(genesis_of(world.size), NoIndex()))
        court.law.advance(GENESIS_S)
        registered = 0
        for said in world.founding():
            court.take([entry_of(said, registered)])
            registered += 1
        court.close()
        return court, registered

    @classmethod
    def restored(cls, size: Size, rows: dict[Row, bytes], now_s: int) -> "Court":
        """As a node comes back: rows read, indexes and digest rebuilt."""
        items = [(key, value) for (_, key), value in rows.items()]
        court = cls(Law.restore(genesis_of(size), NoIndex(), items))
        court.map.write(rows)
        court.digest.load((number, key, value) for (number, key), value in sorted(rows.items()))
        court.law.advance(now_s)
        return court

    def take(self, entries: Sequence[Entry]) -> None:
        """Raises CouldNot if the law refuses one: then nothing of this measures what it says."""
        for entry in entries:
            outcome = self.law.apply(entry)
            if outcome.code is not None:
                why = f"{outcome.code}: {outcome.why}"
                raise CouldNot(f"the law refused statement {entry.leaf} of the bench: {why}")

    def close(self) -> None:
        """Changed rows into map and digest, as at the end of a commit."""
        changes = self.law.drain_changes()
        if changes:
            self.map.write(self.digest.change(changes, self.map))


class Batch(NamedTuple):
    """The statements of one commit and its ledger second."""

    at_s: int
    said: tuple[Said, ...]


def batches(world: World, commit: int) -> Iterator[Batch]:
    """Each hour's reports in commits, spread over the hour after it."""
    slot = 0
    while True:
        reports = iter(world.reports(slot))
        begins, done = GENESIS_S + (slot + 1) * SLOT_S, 0
        while said := tuple(islice(reports, commit)):
            yield Batch(begins + done * SLOT_S // world.size.facilities, said)
            done += len(said)
        slot += 1


def points_of(statements: int) -> list[int]:
    """1, 2, 5, 10, 20, 50 ... times 10^4 up to `statements`, and that itself."""
    wanted = [base * 10**power for power in range(4, 16) for base in (1, 2, 5)]
    return [point for point in wanted if point < statements] + [statements]


def run(plan: Plan, note: Note) -> Found:
    """Measure. Raises CouldNot if there are too few statements for a curve."""
    if plan.statements < WINDOW:
        raise CouldNot(f"{plan.statements} statements: the curve begins at {WINDOW}")
    before = resident_bytes()
    world = World(plan.size)
    court, registered = Court.founded(world)
    note(f"{registered} entries: {plan.size.facilities} sites, {plan.size.runs} runs registered")
    gc.collect()
    gc.freeze()  # as a node does once it has started
    try:
        meter = _Meter(court)
        points = _curve(meter, batches(world, plan.commit), plan, note)
        gc.collect()
        state_bytes = resident_bytes() - before
        restored = _restore(meter, plan)
        idle_us = _idle(court)
        deadlines, deadline_us = _fall_silent(court)
    finally:
        gc.unfreeze()
    return Found(
        plan=plan,
        registered=registered,
        points=tuple(points),
        seconds=meter.law_s + meter.digest_s,
        parse_seconds=meter.parse_s,
        state_bytes=state_bytes,
        rows=court.digest.keys,
        peak_bytes=resident_bytes(peak=True),
        restored=restored,
        idle_advance_us=idle_us,
        deadlines=deadlines,
        deadline_us=deadline_us,
    )


@dataclass(slots=True, kw_only=True)
class Kept:
    """The rows at the first point, the commit that followed, and the digest after it."""

    statements: int
    at_s: int
    rows: dict[Row, bytes]
    next: Batch | None = None
    digest: bytes = b""


class _Meter:
    """Runs commits through a court and sums what they take."""

    def __init__(self, court: Court) -> None:
        self.court = court
        self.done = 0
        self.before = 0  # of these, before the curve began
        self.at_s = GENESIS_S
        self.law_s = self.digest_s = self.parse_s = 0.0
        self.kept: Kept | None = None

    def commit(self, batch: Batch) -> "Cost":
        """Parse and apply one commit."""
        began = time.process_time()
        entries = [entry_of(said, self.done + number) for number, said in enumerate(batch.said)]
        parsed = time.process_time()
        self.court.law.advance(batch.at_s)
        self.court.take(entries)
        applied = time.process_time()
        self.court.close()
        closed = time.process_time()
        self.at_s = batch.at_s
        self.done += len(entries)
        self.parse_s += parsed - began
        self.law_s += applied - parsed
        self.digest_s += closed - applied
        if self.kept is not None and self.kept.next is None:
            self.kept.next, self.kept.digest = batch, self.court.digest.root
        each = len(entries) / 1e6
        return Cost((applied - parsed) / each, (closed - applied) / each, (parsed - began) / each)

    @property
    def counted(self) -> int:
        """Statements on the curve."""
        return self.done - self.before

    def begin(self) -> None:
        """What was done up to here was the lead-in."""
        self.before = self.done
        self.law_s = self.digest_s = self.parse_s = 0.0

    def keep(self) -> None:
        """Keep the rows as they are now."""
        self.kept = Kept(statements=self.done, at_s=self.at_s, rows=self.court.map.rows())


def _curve(meter: _Meter, ahead: Iterator[Batch], plan: Plan, note: Note) -> list[Point]:
    """All statements. A point's window ends with the first commit at or past it."""
    points = []
    while meter.done < LEAD_IN_SLOTS * plan.size.facilities:
        meter.commit(next(ahead))
    meter.begin()
    for wanted in points_of(plan.statements):
        while meter.counted < wanted - WINDOW:
            meter.commit(next(ahead))
        costs = []
        while meter.counted < wanted:
            costs.append(meter.commit(next(ahead)))
        cheapest = min(costs, key=lambda cost: cost.law + cost.digest)
        point = Point(
            statements=meter.counted,
            law_us=cheapest.law,
            digest_us=cheapest.digest,
            parse_us=cheapest.parse,
        )
        points.append(point)
        note(f"{meter.counted} statements: {point.us:.1f} us each")
        if meter.kept is None:
            meter.keep()
            meter.commit(next(ahead))  # what a restored law is to agree upon
    return points


def _restore(meter: _Meter, plan: Plan) -> Restored:
    kept = meter.kept
    assert kept is not None, "a curve without a first point"
    assert kept.next is not None, "nothing followed the first point"
    began = time.process_time()
    again = Court.restored(plan.size, kept.rows, kept.at_s)
    restored = time.process_time()
    world = World(plan.size)
    replayed, _ = Court.founded(world)
    ahead = _Meter(replayed)
    for batch in batches(world, plan.commit):
        if ahead.done == kept.statements:
            break
        ahead.commit(batch)
    over = time.process_time()
    for court in (again, replayed):
        _Meter(court).commit(kept.next)
    return Restored(
        statements=kept.statements,
        rows=len(kept.rows),
        seconds=restored - began,
        replay_seconds=over - restored,
        equal=again.digest.root == replayed.digest.root == kept.digest,
    )


def _idle(court: Court) -> float:
    """Microseconds of a second passing in which nothing is due, with all duties of all sites pending."""
    now, due = court.law.book.now, court.law.next_due_s
    assert due is not None, "sites that report owe nothing"
    looks = min(IDLE_LOOKS, due - now - 1)
    began = time.process_time()
    for second in range(now + 1, now + 1 + looks):
        court.law.advance(second)
    return (time.process_time() - began) / max(1, looks) * 1e6


def _fall_silent(court: Court) -> tuple[int, float]:
    """No site reports for three hours: (slots missed, microseconds each: look, finding, case, digest)."""
    began = time.process_time()
    derived = court.law.advance(court.law.book.now + 3 * SLOT_S)
    court.close()
    missed = sum(isinstance(value, Finding) and value.check == "C02" for value in derived)
    return missed, (time.process_time() - began) / max(1, missed) * 1e6
