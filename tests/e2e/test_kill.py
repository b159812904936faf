"""kill -9, forty times, at random moments under load: nothing acknowledged is lost, and no node signs two blocks for one round.

Four real processes, eight authors who keep submitting and who hold every node to its acknowledgements. At each moment one node
is killed, sometimes two, three or all; it is started again at once, and often killed again before it has recovered. What was
signed is looked at while the process is dead, in its sign state file: a block that was signed and never sent counts too. At the
end the nodes are stopped and their stores read, each by itself:

    every acknowledged entry is a leaf of every log          all logs are the same leaves under the same root
    one digest for each (round, author), over all stores and all sign states ever seen
    no node ever found a block of its own at a peer that its sign state did not know

A failure names its seed: FOEDUS_KILL_SEED=... draws the same moments and victims (the machine's own timing is not drawn).
"""

import asyncio
import itertools
import os
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import pytest

from foedus.v1 import client_pb2 as pb
from node.signing.statements import entry_hash
from node.storage.sign_state import parse_block
from node.storage.store import Store
from tests.e2e.cluster import Cluster, found_cluster
from tests.e2e.statements import Outbox

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STATES = ("US", "CN", "GB", "KE")
AUTHORS = 8
KILLS = 40
PAUSE_S = 0.05  # of one author between entries: the machine also has to recover nodes
BETWEEN_S = 1.0  # at most, from one kill to the next
ONE_VICTIM = 0.7  # else two, three or all four, alike
WAIT_FOR_RECOVERY = 0.5
SETTLE_S = 60.0
ROUND_MAX = 2**32 - 1
SCAN_BYTES = 4 * 1024 * 1024

Slot = tuple[int, int]  # round, author


@dataclass(kw_only=True)
class Witness:
    """What the world was told, and what was signed."""

    acknowledged: dict[bytes, str] = field(default_factory=dict)  # entry hash -> node that promised
    signed: dict[Slot, set[bytes]] = field(default_factory=dict)  # digests

    def has_more_than(self, count: int) -> bool:
        return len(self.acknowledged) > count

    def saw(self, round_: int, author: int, digest: bytes) -> None:
        self.signed.setdefault((round_, author), set()).add(digest)


@contextmanager
def replayable(seed: int) -> Iterator[random.Random]:
    try:
        yield random.Random(seed)
    except BaseException as err:
        err.add_note(f"replay: FOEDUS_KILL_SEED={seed} pytest tests/e2e/test_kill.py")
        raise


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with found_cluster(tmp_path, states=STATES, operators=AUTHORS) as founded:
        yield founded


@pytest.mark.timeout(300)
async def test_forty_kills_lose_nothing_and_sign_nothing_twice(cluster: Cluster) -> None:
    with replayable(int(os.environ.get("FOEDUS_KILL_SEED") or secrets.randbits(32))) as chance:
        cluster.start_all()
        await cluster.wait_ready()
        witness = Witness()
        over = asyncio.Event()
        async with asyncio.TaskGroup() as load:
            for number, keys in enumerate(cluster.operators):
                outbox = Outbox(keys=keys, ledger=cluster.chain_id)
                load.create_task(submit_until(over, cluster, number, outbox, witness))
            try:
                await kill_often(cluster, chance, witness)
            finally:
                over.set()
        await cluster.wait_ready()
        try:
            await cluster.until(lambda: at_rest(cluster), "one root, nothing waiting", SETTLE_S)
            assert all(not status.alarms for status in (await cluster.statuses()).values())
        finally:
            # Also if they do not come to rest: what was lost or signed twice says why.
            ends = cluster.stop_all()
            check_stores(cluster, witness)
        assert set(ends.values()) == {0}


async def kill_often(cluster: Cluster, chance: random.Random, witness: Witness) -> None:
    for _ in range(KILLS):
        await asyncio.sleep(chance.random() * BETWEEN_S)
        count = 1 if chance.random() < ONE_VICTIM else chance.randint(2, len(STATES))
        victims = chance.sample(STATES, count)
        before = len(witness.acknowledged)
        for state in victims:
            end_by_sigkill(cluster, state)
        for state in victims:
            note_signed(cluster, state, witness)
            cluster.start(state)
        if chance.random() < WAIT_FOR_RECOVERY:
            await cluster.wait_ready(*victims)
            # Under load means under load: somebody is promised something before the next kill.
            await cluster.until(partial(witness.has_more_than, before), "an acknowledgement")


def end_by_sigkill(cluster: Cluster, state: str) -> None:
    """The node must have been alive: one that ended by itself is a finding, not a victim."""
    home = cluster.homes[state]
    assert home.process is not None
    status = home.process.poll()
    assert status is None, f"{state} had ended with status {status}:\n{home.log_tail()}"
    cluster.kill(state)


def note_signed(cluster: Cluster, state: str, witness: Witness) -> None:
    """The newest block that a dead node ever signed, sent or not."""
    path = cluster.homes[state].folder / "data" / "block"
    if path.exists():
        signed = parse_block(path.read_bytes())
        witness.saw(signed.round, STATES.index(state), signed.digest)


async def submit_until(
    over: asyncio.Event, cluster: Cluster, number: int, outbox: Outbox, witness: Witness
) -> None:
    """One author, whose entries go to one node, each again and again until it is acknowledged."""
    state = STATES[number % len(STATES)]
    agency = cluster.homes[state].agency
    entries = itertools.chain(
        [outbox.facility("dc1", countersigned_by=agency)],
        (outbox.energy(wh) for wh in itertools.count(1)),
    )
    entry = next(entries)
    while not over.is_set():
        try:
            async with cluster.client(state) as node:
                while not over.is_set():
                    answer = await node.Submit(pb.SubmitRequest(entry=entry), timeout=5)
                    if answer.acknowledgement:
                        witness.acknowledged[entry_hash(entry)] = state
                        entry = next(entries)
                    await asyncio.sleep(PAUSE_S)
        except grpc.aio.AioRpcError as err:
            if err.code() not in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            ):
                raise  # a node that was killed says nothing; one that lives has no reason to refuse
            await asyncio.sleep(2 * PAUSE_S)


async def at_rest(cluster: Cluster) -> bool:
    if not await cluster.one_root():
        return False
    return all(status.mempool_entries == 0 for status in (await cluster.statuses()).values())


def check_stores(cluster: Cluster, witness: Witness) -> None:
    logs = {}
    for state, home in cluster.homes.items():
        note_signed(cluster, state, witness)
        with Store.open(home.folder / "data" / "rocksdb", read_only=True) as store:
            size = store.log_size()
            logs[state] = tuple(entry_hash(leaf) for leaf in store.entries(0, size))
            note_stored(store, witness)
        text = home.log.read_text(encoding="utf-8", errors="replace")
        # Peers that hold more than our sign state knows would repair it, and hide a driver that sends before it writes.
        alarms = [line for line in text.splitlines() if '"event": "alarm"' in line]
        assert not alarms, f"{state}: {alarms[:3]}"
        assert "Traceback" not in text, f"{state}:\n{text[text.index('Traceback') :][:4000]}"
    twice = {slot: digests for slot, digests in witness.signed.items() if len(digests) > 1}
    assert not twice, f"two blocks for one (round, author): {twice}"
    for state, leaves in logs.items():
        assert len(set(leaves)) == len(leaves), f"an entry is twice in the log of {state}"
        lost = witness.acknowledged.keys() - set(leaves)
        by = sorted({witness.acknowledged[digest] for digest in lost})
        assert not lost, (
            f"{len(lost)} of {len(witness.acknowledged)} entries that {by} acknowledged are not in the log of {state}"
        )
    assert len(set(logs.values())) == 1, "logs differ"
    assert len(witness.acknowledged) > 5 * KILLS, "hardly any load: the test shows nothing"
    assert len(witness.signed) > 5 * KILLS, "hardly any block: the test shows nothing"


def note_stored(store: Store, witness: Witness) -> None:
    """Every block of the DAG that this node holds, its own and others'."""
    first = 1
    while page := store.blocks_in_rounds(first, ROUND_MAX, SCAN_BYTES):
        for ref, _ in page:
            witness.saw(ref.round, ref.author, ref.digest)
        # The last round may be cut: read it again, unless it is all there was.
        last = page[-1][0].round
        first = last if last > first else last + 1
