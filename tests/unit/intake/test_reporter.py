"""From closed to final: each period is said once, whatever ends in between, and one author's trouble is not another's."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from node.intake.journal import Journal, ReportState
from node.intake.reporter import SIGN_AHEAD_MAX, Reporter
from node.intake.statements import drafts
from node.intake.turns import Turns
from tests.unit.intake.world import (
    ANCHOR_S,
    AUTHOR,
    LEDGER,
    PERIOD_S,
    Crash,
    MemoryChains,
    MemoryLedger,
    amounts,
    device,
    parsed_of,
    plan,
    sample,
    until,
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal", ledger=LEDGER)) as journal:
        yield journal


def close_periods(journal: Journal, count: int, *, wh: int = 10) -> int:
    """So many periods of `wh` each; the sum."""
    meter = device()
    journal.accept([meter.reading(time_s=ANCHOR_S, value=0)], hold_s=1, wraps_at={})
    journal.open_period("dc1", ANCHOR_S)
    for number in range(count):
        start_s = ANCHOR_S + number * PERIOD_S
        reading = meter.reading(time_s=start_s + 1, value=wh * (number + 1))
        journal.accept([reading], hold_s=1, wraps_at={})
        end_s = start_s + PERIOD_S
        made = drafts(plan(), journal.meters("dc1"), ledger=LEDGER, start_s=start_s, end_s=end_s)
        journal.close_period("dc1", end_s=end_s, drafts=made)
    return count * wh


def reporter(
    journal: Journal,
    chains: MemoryChains,
    ledger: MemoryLedger,
    *,
    adopt: bool = False,
    registry: CollectorRegistry | None = None,
) -> Reporter:
    return Reporter(
        journal,
        Turns(),
        chains=chains,
        ledger=ledger,
        authors=(AUTHOR,),
        resend_s=0.01,
        adopt=adopt,
        registry=registry or CollectorRegistry(),
    )


@asynccontextmanager
async def running(made: Reporter) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(made.run())
        yield
        task.cancel()


def failures(registry: CollectorRegistry, why: str) -> float:
    return sample(registry, "foedus_intake_report_failures_total", why=why)


async def until_final(journal: Journal, count: int) -> None:
    await until(lambda: journal.count(ReportState.FINAL) >= count)


async def test_closed_periods_become_final_in_order_and_are_forgotten(journal: Journal) -> None:
    chains, ledger = MemoryChains(), MemoryLedger()
    total = close_periods(journal, 3)
    async with running(reporter(journal, chains, ledger)):
        await until_final(journal, 3)
        await until(lambda: not chains.entries)  # final bytes are not kept
    assert amounts(ledger.log)["energy"] == total
    parsed = [parsed_of(entry) for entry in ledger.log]
    assert [entry.seq for entry in parsed] == [1, 2, 3]
    assert [entry.period for entry in parsed] == [
        (ANCHOR_S + n * PERIOD_S, ANCHOR_S + (n + 1) * PERIOD_S) for n in range(3)
    ]


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_crash_around_the_outbox_says_no_period_twice_and_none_never(
    journal: Journal, where: str
) -> None:
    chains, ledger = MemoryChains(), MemoryLedger()
    total = close_periods(journal, 2)
    setattr(chains, f"crash_{where}", True)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(reporter(journal, chains, ledger)):
            await until_final(journal, 2)
    assert caught.group_contains(Crash)
    assert ledger.log == [], "nothing left before the outbox had it"
    assert journal.count(ReportState.INTENDED) == 1
    setattr(chains, f"crash_{where}", False)
    async with running(reporter(journal, chains, ledger)):
        await until_final(journal, 2)
    assert amounts(ledger.log)["energy"] == total
    assert [parsed_of(entry).seq for entry in ledger.log] == [1, 2]


def other_content(journal: Journal, facility: bytes) -> bytes:
    """What another process may say in this author's name."""
    content = journal.reports(ReportState.CLOSED, AUTHOR)[0].draft.content
    return content.replace(b"dc1", facility)


def intended_then_others(journal: Journal, chains: MemoryChains, *, ours: bool) -> bytes:
    """A crash left one INTENDED; then another process signed on. Whether its place in the chain is ours. The other's entry."""
    close_periods(journal, 2)
    first, _ = journal.reports(ReportState.CLOSED, AUTHOR)
    entry = chains.sign(first.draft.content)
    journal.intend(first, seq=1, entry=entry)
    if ours:
        chains.record(entry)
    other = chains.sign(other_content(journal, b"dc9"))
    chains.record(other)
    return other


@pytest.mark.parametrize("ours", [True, False])
async def test_after_others_signed_the_outbox_tells_whose_the_place_is(
    journal: Journal, ours: bool
) -> None:
    chains, ledger = MemoryChains(), MemoryLedger()
    other = intended_then_others(journal, chains, ours=ours)
    async with running(reporter(journal, chains, ledger)):
        await until_final(journal, 2)
    assert other in ledger.log, "what waited in the outbox was sent along"
    assert len(ledger.log) == 3
    assert [parsed_of(entry).seq for entry in ledger.log] == [1, 2, 3]


@pytest.mark.parametrize("ours", [True, False])
async def test_a_forgotten_place_is_asked_of_the_ledger(journal: Journal, ours: bool) -> None:
    """`foedus submit` saw the entries final, and the outbox forgot their bytes."""
    chains, ledger = MemoryChains(), MemoryLedger(blind=True)
    intended_then_others(journal, chains, ours=ours)
    chains.record(chains.sign(other_content(journal, b"dc8")))
    ledger.log = list(chains.entries.values())
    chains.forget_final(chains.tip.seq)
    signed_before = chains.tip.seq
    async with running(reporter(journal, chains, ledger)):
        await until(lambda: ledger.asked >= 3)
        assert journal.count(ReportState.INTENDED) == 1, "nothing is guessed"
        assert chains.tip.seq == signed_before, "nor signed meanwhile"
        ledger.blind = False
        await until_final(journal, 2)
    said = [(entry.body.facility, entry.period) for entry in map(parsed_of, ledger.log)]
    assert said.count(("dc1", (ANCHOR_S, ANCHOR_S + PERIOD_S))) == 1, "the doubtful one, once"
    assert said.count(("dc1", (ANCHOR_S + PERIOD_S, ANCHOR_S + 2 * PERIOD_S))) == 1


async def test_an_outbox_behind_the_ledger_signs_nothing_unless_told_to_adopt(
    journal: Journal,
) -> None:
    chains, ledger = MemoryChains(), MemoryLedger()
    elsewhere = MemoryChains(keys=chains.keys)
    close_periods(journal, 1)
    for facility in (b"dc7", b"dc8"):
        elsewhere.record(elsewhere.sign(other_content(journal, facility)))
    ledger.log = list(elsewhere.entries.values())
    registry = CollectorRegistry()
    async with running(reporter(journal, chains, ledger, registry=registry)):
        await until(lambda: failures(registry, "behind"))
    assert (chains.tip.seq, len(ledger.log), journal.count(ReportState.CLOSED)) == (0, 2, 1)
    async with running(reporter(journal, chains, ledger, adopt=True)):
        await until_final(journal, 1)
    assert [parsed_of(entry).seq for entry in ledger.log] == [1, 2, 3]


@pytest.mark.parametrize(
    ("trouble", "why"), [("down", "unavailable"), ("busy", "busy"), ("refusing", "refused")]
)
async def test_trouble_is_counted_and_outlived(journal: Journal, trouble: str, why: str) -> None:
    chains, ledger, registry = MemoryChains(), MemoryLedger(), CollectorRegistry()
    total = close_periods(journal, 1)
    holder: object = chains if trouble == "busy" else ledger
    setattr(holder, trouble, "QUOTA" if trouble == "refusing" else True)
    async with running(reporter(journal, chains, ledger, registry=registry)):
        await until(lambda: failures(registry, why))
        assert ledger.log == []
        setattr(holder, trouble, "" if trouble == "refusing" else False)
        await until_final(journal, 1)
    assert amounts(ledger.log)["energy"] == total


async def test_a_rejected_report_is_final_and_told(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    chains, ledger, registry = MemoryChains(), MemoryLedger(rejecting="PERIOD"), CollectorRegistry()
    close_periods(journal, 1)
    async with running(reporter(journal, chains, ledger, registry=registry)):
        await until(
            lambda: sample(registry, "foedus_intake_reports_final_total", verdict="rejected")
        )
    (report,) = journal.reports(ReportState.FINAL, AUTHOR)
    assert (report.code, report.log_index) == ("PERIOD", 0)
    assert any("rejected" in record.message for record in caplog.records)


async def test_no_more_is_signed_ahead_than_nodes_take(journal: Journal) -> None:
    chains, ledger = MemoryChains(), MemoryLedger(deaf=True)
    close_periods(journal, SIGN_AHEAD_MAX + 20)
    async with running(reporter(journal, chains, ledger)):
        await until(lambda: ledger.submitted >= 2 * SIGN_AHEAD_MAX)
    assert chains.tip.seq == SIGN_AHEAD_MAX


async def test_the_waiting_gauge_tells_how_far_reports_are(journal: Journal) -> None:
    chains, ledger, registry = MemoryChains(), MemoryLedger(slow=True), CollectorRegistry()
    close_periods(journal, 2)
    async with running(reporter(journal, chains, ledger, registry=registry)):
        await until(lambda: sample(registry, "foedus_intake_reports_waiting", state="signed") == 2)
    assert chains.tip.seq == 2
