"""kill -9 while a node takes over certified commits: what it has stays whole, and it ends with the others' bytes (SPEC 10, 11).

Three of four real processes go on under load. The fourth was away; whenever it says that it catches up by certified commits it is
killed at once, and started again. Dead, its store is opened by itself: a prefix of the others' log, under their root.
"""

import asyncio
import itertools
from pathlib import Path

import grpc
import pytest

from foedus.v1 import client_pb2 as pb
from node.signing.statements import entry_hash
from node.storage.store import Store
from tests.e2e.cluster import Cluster, found_cluster
from tests.e2e.eager_node import BEHIND
from tests.e2e.statements import Outbox

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STATES = ("US", "CN", "GB", "KE")
AWAY = "KE"
OTHERS = STATES[:3]
AUTHORS = 3
KILLS = 2
PAUSE_S = 0.05  # of one author between entries
LAG = BEHIND + 12  # commits that the fourth is behind when it first comes back
WAIT_S = 60.0

Leaves = tuple[bytes, ...]


@pytest.mark.timeout(180)
async def test_killed_in_the_middle_of_a_commit_sync_it_ends_with_the_same_bytes(
    tmp_path: Path,
) -> None:
    founded = found_cluster(tmp_path, states=STATES, operators=AUTHORS)
    with founded as cluster:
        cluster.module = "tests.e2e.eager_node"
        cluster.start_all()
        await cluster.wait_ready()
        acknowledged: dict[bytes, None] = {}
        over = asyncio.Event()
        async with asyncio.TaskGroup() as load:
            for number in range(AUTHORS):
                load.create_task(submit_until(over, cluster, number, acknowledged))
            try:
                await cluster.until(lambda: len(acknowledged) > AUTHORS, "load")
                cluster.kill(AWAY)
                wanted = last_commit(cluster) + LAG
                await cluster.until(
                    lambda: are_beyond(cluster, wanted),
                    f"{LAG} commits behind",
                    WAIT_S,
                    every_s=0.5,
                )
                halves = [await killed_in_sync(cluster) for _ in range(KILLS)]
                cluster.start(AWAY)
                await cluster.wait_ready(AWAY, seconds=WAIT_S)
            finally:
                over.set()
        everything = list(acknowledged)
        await cluster.until(lambda: cluster.all_final(everything), "all of it final", WAIT_S)
        await cluster.until(cluster.one_root, "one root", WAIT_S)
        assert not any(status.alarms for status in (await cluster.statuses()).values())
        assert set(cluster.stop_all().values()) == {0}
        logs = {state: leaves_of(cluster, state) for state in STATES}
        assert len(set(logs.values())) == 1, "logs differ"
        whole = logs[AWAY]
        assert acknowledged.keys() <= set(map(entry_hash, whole))
        for half in halves:
            assert half == whole[: len(half)], "a store that was killed held something else"
        assert any(len(half) < len(whole) for half in halves)
        text = cluster.homes[AWAY].log.read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in text, text[text.index("Traceback") :][:4000]


async def killed_in_sync(cluster: Cluster) -> Leaves:
    """Start it, kill it as soon as it says that it catches up by certified commits; what its store holds then."""
    cluster.start(AWAY)
    await cluster.until(
        lambda: said(cluster, "catching up by certified commits"),
        "it catches up",
        WAIT_S,
        every_s=0.005,
    )
    cluster.kill(AWAY)
    left = leaves_of(cluster, AWAY)
    assert await are_beyond(cluster, last_commit(cluster)), "it had caught up before it was killed"
    return left


def said(cluster: Cluster, what: str) -> bool:
    return any(line.get("event") == what for line in cluster.homes[AWAY].log_lines())


def last_commit(cluster: Cluster) -> int:
    """In the store of the dead one."""
    with Store.open(cluster.homes[AWAY].folder / "data" / "rocksdb", read_only=True) as store:
        return store.last_commit_index()


async def are_beyond(cluster: Cluster, commit: int) -> bool:
    return (await cluster.status(OTHERS[0])).commit_index > commit


def leaves_of(cluster: Cluster, state: str) -> Leaves:
    with Store.open(cluster.homes[state].folder / "data" / "rocksdb", read_only=True) as store:
        return tuple(store.entries(0, store.log_size()))


async def submit_until(
    over: asyncio.Event, cluster: Cluster, number: int, acknowledged: dict[bytes, None]
) -> None:
    """One author, whose entries go to one of the nodes that live."""
    state = OTHERS[number % len(OTHERS)]
    outbox = Outbox(keys=cluster.operators[number], ledger=cluster.chain_id)
    agency = cluster.homes[STATES[number % len(STATES)]].agency
    entries = itertools.chain(
        [outbox.facility("dc1", countersigned_by=agency)], map(outbox.energy, itertools.count(1))
    )
    entry = next(entries)
    async with cluster.client(state) as node:
        while not over.is_set():
            try:
                answer = await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)
            except grpc.aio.AioRpcError as err:
                if err.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                await asyncio.sleep(10 * PAUSE_S)
                continue
            if answer.acknowledgement:
                acknowledged[entry_hash(entry)] = None
                entry = next(entries)
            await asyncio.sleep(PAUSE_S)
