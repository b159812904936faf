"""A member far behind takes over what a quorum certified (SPEC 11): real engines, stores and sockets, a short history."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.codec import decode_commit_record, encode_commit_record
from consensus.types import FETCH_LEVELS_MAX, CommitRecord, Ref, Round
from node.engine.catching_up import CommitReader, CommitServer
from node.engine.hosting import BACKLOG_BLOCKS_MAX
from node.ledger.plan import AppendPlan
from node.network import wire
from node.network.hosting import Rejected
from node.storage.epoch_blocks import EpochBlocks
from node.storage.store import Store
from tests.e2e.cluster import free_ports
from tests.unit.engine.nodes import FAST, Node, engine_node, founded
from tests.unit.ledger.founding import Founding
from tests.unit.ledger.running import Running
from tests.unit.network.members import until

BEHIND = 12
# Nothing else may bring so short a history at once: no ranges, and pushes that do not reach far back. What a greeting holds (32
# blocks of each) and one fetch (64 levels below them) still leave the oldest rounds of HISTORY commits to the certified ones.
PACE = replace(
    FAST, sync_commits_behind=BEHIND, sync_rounds_behind=1_000, delta_ms=5, bundle_blocks_max=8
)
HISTORY = 120
assert HISTORY > BACKLOG_BLOCKS_MAX + FETCH_LEVELS_MAX + BEHIND


@asynccontextmanager
async def three_under_load(
    founding: Founding, folder: Path
) -> AsyncIterator[tuple[list[Node], asyncio.Event]]:
    """Members 0 to 2 run and an operator reports without end, until the event is set."""
    author, agency = founding.author(), founding.agencies[0]
    enough = asyncio.Event()

    async def report(node: Node) -> None:
        await node.running.admission.submit(author.facility("dc1", agency))
        wh = 0
        while not enough.is_set():
            wh += 1
            await node.running.admission.submit(author.energy(wh))
            await asyncio.sleep(0.01)

    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                engine_node(founding, folder / str(own), own=own, pace=PACE)
            )
            for own in range(3)
        ]
        async with asyncio.TaskGroup() as tasks:
            load = tasks.create_task(report(nodes[0]))
            yield nodes, enough
            enough.set()
            await load


def commits_of(store: Store, first: int, last: int) -> list[bytes]:
    """Without their deciders, which a member that caught up does not have."""
    found: list[bytes] = []
    for index in range(first, last + 1):
        record = decode_commit_record(store.commit_record(index) or b"")
        found.append(encode_commit_record(CommitRecord(commit=record.commit, deciders=())))
    return found


async def test_a_newcomer_and_one_long_absent_catch_up_while_entries_keep_coming(
    tmp_path: Path,
) -> None:
    founding = founded(free_ports(4))
    async with three_under_load(founding, tmp_path) as (nodes, enough):
        ledger = nodes[0].running.ledger
        began = 0
        for _ in range(2):  # from nothing; then after an absence
            target = ledger.last_commit + HISTORY
            await until(lambda: ledger.last_commit >= target, "the others go on", 60)  # noqa: B023 # awaited in the turn
            async with engine_node(founding, tmp_path / "3", own=3, pace=PACE) as late:
                own = late.running.ledger
                assert own.last_commit == began or own.last_commit < target
                await until(lambda: own.last_commit >= target, "caught up", 60)  # noqa: B023
                round_ = late.engine.own_round()
                await until(lambda: late.engine.own_round() > round_, "it proposes", 60)  # noqa: B023
                taken = late.counted("foedus_commits_certified")
                assert taken >= BEHIND
                began = own.last_commit
                assert commits_of(late.running.store, 1, began) == commits_of(
                    nodes[0].running.store, 1, began
                )
                size = min(own.size, ledger.size)
                assert own.root_at(size) == ledger.root_at(size)
                assert not late.engine.alarms()
                assert not late.running.finality.alarm
                assert all(
                    late.counted("foedus_peer_charged", state=m.state) == 0
                    for m in founding.genesis.members
                )
        enough.set()


# --- what peers answer ---------------------------------------------------------------------------


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Node, wire.Commits]]:
    """A member alone after some commits, and what it answers."""
    founding = founded(free_ports(1))
    author, agency = founding.author(), founding.agencies[0]
    async with engine_node(founding, tmp_path) as node:
        await node.running.admission.submit(author.facility("dc1", agency))
        await node.running.admission.submit(author.energy(1))
        running = node.running
        await until(lambda: running.ledger.list_indexes(author="op0")[1:], "logged")
        await until(lambda: running.finality.final_size == running.ledger.size, "final")
        epoch = running.ledger.epoch
        server = CommitServer(EpochBlocks(running.store), running.store, running.finality, epoch)
        yield node, server.commits(1, 50)


def reader_of(running: Running) -> CommitReader:
    return CommitReader(running.ledger.epoch, running.ledger.genesis.origin, running.finality)


async def test_what_is_served_is_what_is_read(served: tuple[Node, wire.Commits]) -> None:
    node, answer = served
    reader = reader_of(node.running)
    commits, certified = reader.read(answer)
    assert [commit.index for commit in commits] == list(range(1, len(commits) + 1))
    assert certified is not None
    assert (certified.index, certified.digest) == (commits[-1].index, commits[-1].digest)
    assert reader.read(wire.Commits((), None)) == ((), None)


async def test_answers_that_are_none_are_refused(served: tuple[Node, wire.Commits]) -> None:
    node, answer = served
    assert answer.certificate is not None
    reader = reader_of(node.running)
    record = decode_commit_record(answer.commits[0])
    decided = replace(record, deciders=(Ref(Round(1), *record.commit.leader[1:]),))
    forged = replace(answer.certificate, leaf_index=answer.certificate.leaf_index - 1)
    for bad, why in (
        (replace(answer, commits=(answer.commits[0][:-1],)), "commits: commit record"),
        (replace(answer, commits=(encode_commit_record(decided),)), "with deciders"),
        (replace(answer, certificate=forged), "certificate"),
    ):
        with pytest.raises(Rejected, match=why):
            reader.read(bad)


async def test_a_certified_record_that_is_not_ours_is_a_contradiction(
    served: tuple[Node, wire.Commits],
) -> None:
    """The order is the quorum's, what the law made of it is not: R39."""
    node, answer = served
    running = node.running
    reader = reader_of(running)
    _, certified = reader.read(answer)
    assert certified is not None
    plans: list[AppendPlan] = []
    running.ledger.subscribe(lambda one: plans.append(one.plan))
    await until(lambda: plans, "a commit")
    applied = plans[0]
    same = replace(
        applied,
        index=certified.index,
        leaves=(),
    )
    assert reader.contradiction(replace(same, index=certified.index + 1)) is None
    wrong = reader.contradiction(same)
    assert wrong is not None
    assert f"commit {certified.index}" in wrong
    assert reader.contradiction(same) is None  # said once
    running.finality.contradicted(wrong)
    assert running.finality.stopped
    assert running.finality.alarm == wrong
