"""The runbook's Backup and Restore, as written there: a disk is lost, sign states and all, and comes back from an archive."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.ledger.cosigned import parse_cosigned
from node.storage.store import Store
from tests.e2e.cluster import Cluster, found_cluster
from tests.e2e.statements import Outbox
from tests.e2e.test_audit import foedus, texts
from tests.e2e.test_sign_state import submit
from tests.unit.engine.test_sign_state import assert_one_block_per_slot

pytestmark = pytest.mark.e2e

STATES = ("US", "CN", "GB", "KE")
VICTIM, PEER = "GB", "CN"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with found_cluster(tmp_path, states=STATES) as founded:
        founded.start_all()
        yield founded


def lines(home: Path) -> dict[tuple[int, int], bytes]:
    """(size, member) -> the root that its line is over, of all lines that a node holds."""
    with Store.open(home / "data" / "rocksdb", read_only=True) as store:
        return {
            (size, member): parse_cosigned(row).root
            for size in store.cosigned_sizes(0, 2**63, 10_000)
            for member, row in store.cosignatures(size)
        }


async def test_a_lost_disk_comes_back_from_an_archive(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.wait_ready()
    outbox = Outbox(keys=cluster.operators[0], ledger=cluster.chain_id)
    home = cluster.homes[VICTIM].folder
    first = await submit(cluster, PEER, [outbox.energy(number) for number in range(5)])
    await cluster.until(lambda: cluster.all_final(first), "all entries final", 60)
    backup = tmp_path / "archive"
    status, made = foedus("archive", "export", "--home", home, backup)  # while the node runs
    assert status == 0, made

    # What it signs after the backup is what it must not contradict.
    later = await submit(cluster, PEER, [outbox.energy(10 + number) for number in range(5)])
    await cluster.until(lambda: cluster.all_final(later), "later entries final", 60)
    assert cluster.stop(VICTIM) == 0
    before = tmp_path / "before"
    shutil.copytree(home, before)
    shutil.rmtree(home / "data")
    away = await submit(cluster, PEER, [outbox.energy(20)])

    status, made = foedus("archive", "import", backup, "--home", home)
    assert status == 0, made
    assert not (home / "data" / "cosign").exists()
    cluster.start(VICTIM)
    await cluster.wait_ready(VICTIM)
    await cluster.until(lambda: cluster.all_final(away), "entries of its absence final", 60)

    async def cosigns() -> bool:
        """It signs again, at the latest once others have carried the log past what it had signed."""
        await submit(cluster, PEER, [outbox.energy(30)])
        return (home / "data" / "cosign").exists()

    await cluster.until(cosigns, "it cosigns again", 60)
    last = await submit(cluster, VICTIM, [outbox.energy(99)])
    await cluster.until(lambda: cluster.all_final(last), "its own entry final", 60)
    assert set(cluster.stop_all().values()) == {0}
    peer = cluster.homes[PEER].folder
    for copy in (before, peer):
        assert_one_block_per_slot(home / "data", copy / "data")
        old, new = lines(copy), lines(home)
        assert [place for place in old.keys() & new.keys() if old[place] != new[place]] == []
    status, report = foedus("audit", home, "--against", peer, "--against", before)
    assert (status, report["verdict"]) == (0, "consistent"), texts(report)
    assert report["misdeeds"] == []
