"""Audits of real nodes: running, stopped, killed, altered. The histories come from processes that never heard of an audit."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rocksdict

from foedus.v1 import client_pb2 as pb
from node.ledger.records import is_record
from node.signing.statements import entry_hash
from node.storage import keys
from node.storage.store import Store
from tests.e2e.cluster import FIVE_STATES, PYTHON_PATH, ROOT, Cluster, found_cluster
from tests.e2e.statements import Outbox

pytestmark = pytest.mark.e2e
ENTRIES = 24
COMMAND_S = 90
DEPTHS = {"parse", "structure", "certificates", "signatures", "order", "law"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with found_cluster(tmp_path) as founded:
        yield founded


def foedus(*words: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit status and document of a command under --json."""
    done = subprocess.run(
        [sys.executable, "-m", "node.cli.main", *map(str, words), "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        capture_output=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert done.stdout, done.stderr.decode()
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


def texts(found: dict[str, Any]) -> object:
    return [one["text"] for one in found.get("findings", ())][:5] or found


async def fill(cluster: Cluster) -> None:
    """Entries through all nodes; on return all are final everywhere, and all five have cosigned the last size."""
    outbox = Outbox(keys=cluster.operators[0], ledger=cluster.chain_id)
    hashes = []
    for number in range(ENTRIES):
        state = FIVE_STATES[number % len(FIVE_STATES)]
        entry = outbox.energy(number)
        async with cluster.client(state) as node:
            await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)
        hashes.append(entry_hash(entry))
    await cluster.until(lambda: cluster.all_final(hashes), "all entries final", 60)
    await cluster.until(cluster.one_root, "one root, all of it final", 60)

    async def cosigned_by_all() -> bool:
        status, note = await cluster.https_get("US", "/checkpoint.full")
        return status == 200 and note.count(b"/cosigner/") == len(FIVE_STATES)

    await cluster.until(cosigned_by_all, "five cosignatures", 30, every_s=1.1)


@pytest.mark.measure("M57", "X18")
async def test_running_stopped_killed_and_altered_nodes(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_all()
    await cluster.wait_ready()
    await fill(cluster)

    # Running: one by its URL, one by its store, beside each other.
    url = f"https://{cluster.homes['KE'].http}"
    status, found = foedus("audit", cluster.homes["US"].folder, url)
    assert (status, found["verdict"], found["roots_equal"]) == (0, "consistent", True), texts(found)
    assert {source["kind"] for source in found["sources"]} == {"store", "web"}

    cluster.kill("GB")
    for state in ("US", "CN", "KE", "BR"):
        assert cluster.stop(state) == 0

    # Stopped, and killed: each store whole, at every depth.
    homes = [cluster.homes[state].folder for state in FIVE_STATES]
    status, found = foedus("audit", *homes)
    assert (status, found["verdict"]) == (0, "consistent"), texts(found)
    for source in found["sources"]:
        done = {depth for depth, state in source["checked"].items() if state["done"]}
        assert done == DEPTHS | {"store", "compare"}, source["checked"]

    # Exported: replayed offline from plain files.
    status, made = foedus("archive", "export", "--home", homes[0], tmp_path / "export")
    assert status == 0, made
    status, found = foedus("audit", tmp_path / "export", "--genesis", homes[1] / "genesis.cbor")
    assert (status, found["roots_equal"]) == (0, True), texts(found)
    assert found["entries_replayed"] == made["size"] > ENTRIES
    assert sorted(found["cosigned_by"]) == sorted(FIVE_STATES)
    assert {d for d, s in found["sources"][0]["checked"].items() if s["done"]} == DEPTHS

    # Altered: the accused node's store, by the database's own software.
    index, first = _forge(homes[4] / "data" / "rocksdb")
    status, found = foedus(
        "audit", homes[4], "--against", homes[3], "--evidence", tmp_path / "evidence.json"
    )
    assert (status, found["verdict"]) == (1, "inconsistent")
    places = [(f["source"], f["entry"], f["bytes"]) for f in found["findings"] if f["bytes"]]
    assert places == [("BR", index, [first, first])]
    assert json.loads((tmp_path / "evidence.json").read_bytes())["findings"]


def _forge(database: Path) -> tuple[int, int]:
    """One bit of a signed entry in the middle of the log. Returns entry and byte."""
    with Store.open(database) as store:
        index = next(
            i for i in range(store.log_size() // 2, 10_000) if not is_record(store.entry(i))
        )
        leaf = bytearray(store.entry(index))
        leaf[50] ^= 1
        batch = rocksdict.WriteBatch(raw_mode=True)
        batch.put(keys.u64(index), bytes(leaf), store._handles["log"])
        store._write(batch)
    return index, 50
