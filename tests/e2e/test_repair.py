"""A running federation makes one member's damaged store whole: by command from peers, and by itself when the node starts."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import rocksdict

from node.storage.store import Store
from tests.e2e.cluster import Cluster, found_cluster
from tests.e2e.statements import Outbox
from tests.e2e.test_audit import foedus
from tests.e2e.test_sign_state import submit

pytestmark = pytest.mark.e2e

STATES = ("US", "CN", "GB", "KE")
VICTIM = "GB"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with found_cluster(tmp_path, states=STATES) as founded:
        founded.start_all()
        yield founded


def lose(cluster: Cluster, family: str, which: int) -> bytes:
    """One row in the middle is deleted. Returns its key."""
    with Store.open(cluster.homes[VICTIM].folder / "data" / "rocksdb") as store:
        rows = [key for key, _ in store.rows(family)]
        key = rows[which % len(rows)]
        batch = rocksdict.WriteBatch(raw_mode=True)
        batch.delete(key, store._handles[family])
        store._write(batch)
    return key


async def test_lost_rows_come_from_peers(cluster: Cluster) -> None:
    await cluster.wait_ready()
    outbox = Outbox(keys=cluster.operators[0], ledger=cluster.chain_id)
    for turn in range(4):
        hashes = await submit(cluster, "CN", [outbox.energy(5 * turn + n) for n in range(5)])
        await cluster.until(partial(cluster.all_final, hashes), "all entries final", 60)
    assert cluster.stop(VICTIM) == 0
    home = cluster.homes[VICTIM].folder
    lost = [lose(cluster, "blocks", 4), lose(cluster, "blocks", 9), lose(cluster, "commits", 5)]
    status, made = foedus("repair", "--home", home, "--from", "peers")
    assert status == 0, made
    assert made["replaced"], made
    assert made["cut"] is None, made
    assert len(made["sources"]) == 3
    with Store.open(home / "data" / "rocksdb", read_only=True) as store:
        for family, key in zip(("blocks", "blocks", "commits"), lost, strict=True):
            assert store.row(family, key) is not None
    cluster.start(VICTIM)
    await cluster.wait_ready(VICTIM)
    more = await submit(cluster, VICTIM, [outbox.energy(40 + number) for number in range(5)])
    await cluster.until(lambda: cluster.all_final(more), "entries after it final", 60)


async def test_a_node_that_finds_its_store_damaged_mends_it_and_goes_on(cluster: Cluster) -> None:
    """Its state does not lead to its digest: it says so, makes the store again of its own blocks, and joins the others."""
    await cluster.wait_ready()
    outbox = Outbox(keys=cluster.operators[0], ledger=cluster.chain_id)
    hashes = await submit(cluster, "CN", [outbox.energy(number) for number in range(20)])
    await cluster.until(lambda: cluster.all_final(hashes), "all entries final", 60)
    assert cluster.stop(VICTIM) == 0
    lose(cluster, "state", 7)
    cluster.start(VICTIM)
    await cluster.wait_ready(VICTIM)
    said = [line for line in cluster.homes[VICTIM].log_lines() if line.get("event")]
    events = [line["event"] for line in said]
    assert "store damaged" in events
    assert events.index("store repaired") < events.index("ready")
    data = cluster.homes[VICTIM].folder / "data"
    assert list(data.glob("rocksdb.damaged*"))
    # And where a damaged row has stopped it while it ran, though no start reads that row:
    assert cluster.stop(VICTIM) == 0
    lose(cluster, "facets", 3)
    lose(
        cluster, "commits", 3
    )  # a kind of rows, and the name of a field of what it says afterwards
    (data / "store-damaged").write_text("facets: cannot be read")
    cluster.start(VICTIM)
    await cluster.wait_ready(VICTIM)
    *_, repaired = (
        line for line in cluster.homes[VICTIM].log_lines() if line.get("event") == "store repaired"
    )
    assert (repaired["damaged_facets"], repaired["damaged_commits"]) == (1, 1)
    assert not (data / "store-damaged").exists()
    more = await submit(cluster, VICTIM, [outbox.energy(20 + number) for number in range(5)])
    await cluster.until(lambda: cluster.all_final(more), "entries after it final", 60)
