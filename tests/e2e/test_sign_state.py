"""A sign state lost for real: a process killed, its file removed, the operator's command (SPEC 10, record 0139).

The other stories of lost, old and doubled sign states are told by engines: tests/unit/engine/test_sign_state.py.
"""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from foedus.v1 import client_pb2 as pb
from node.signing.statements import entry_hash
from tests.e2e.cluster import Cluster, Home, found_cluster
from tests.e2e.statements import Outbox
from tests.e2e.test_audit import foedus
from tests.unit.engine.test_sign_state import assert_one_block_per_slot, signed_round

pytestmark = pytest.mark.e2e

STATES = ("US", "CN", "GB", "KE")
VICTIM, SILENT = "US", "KE"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with found_cluster(tmp_path, states=STATES) as founded:
        founded.start_all()
        yield founded


def start_second(cluster: Cluster, state: str) -> subprocess.Popen[bytes]:
    """Another process on the folder of one that runs."""
    home = cluster.homes[state]
    running = home.process
    home.process = None
    cluster.start(state)
    return swap(home, running)


def swap(home: Home, process: subprocess.Popen[bytes] | None) -> subprocess.Popen[bytes]:
    """The process that the home had until now."""
    before, home.process = home.process, process
    assert before is not None, "it was started"
    return before


async def submit(cluster: Cluster, state: str, entries: list[bytes]) -> list[bytes]:
    async with cluster.client(state) as node:
        for entry in entries:
            await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)
    return [entry_hash(entry) for entry in entries]


async def test_lost_confirmed_and_signing_again(cluster: Cluster) -> None:
    """Four, one of them silent; another loses its sign state and must not sign until its operator says so."""
    await cluster.wait_ready()
    outbox = Outbox(keys=cluster.operators[0], ledger=cluster.chain_id)
    first = await submit(cluster, "CN", [outbox.energy(number) for number in range(20)])
    await cluster.until(lambda: cluster.all_final(first), "final", 30)

    # While it runs, a second process on its folder does not start.
    home = cluster.homes[VICTIM]
    second = start_second(cluster, VICTIM)
    await cluster.until(lambda: second.poll() is not None, "the second ends", 30)
    assert second.returncode == 1
    assert "another node process uses this folder" in home.log_tail()

    cluster.kill(SILENT)
    cluster.kill(VICTIM)
    data = home.folder / "data"
    before = signed_round(data)
    (data / "block").unlink()
    cluster.start(VICTIM)
    await cluster.wait_ready(VICTIM)

    async def one_short() -> bool:
        return (await cluster.status(VICTIM)).signing.may_confirm_loss

    await cluster.until(one_short, "two of three answers", 30)
    waiting = await submit(cluster, "CN", [outbox.energy(99)])
    await asyncio.sleep(1.0)  # more than 4 delta: time alone settles nothing
    assert (await cluster.status(VICTIM)).signing.sign_state_lost
    assert signed_round(data) == 0, "it signed without knowing what it had signed"

    code, answer = foedus("node", "confirm-loss", "--home", home.folder, "--yes")
    assert (code, answer["signing"]) == (0, "signing"), answer
    cluster.start(
        SILENT
    )  # the ledger goes on once three others carry it past what may have been signed
    await cluster.until(lambda: cluster.all_final(waiting, *STATES), "final", 30)
    await cluster.until(lambda: signed_round(data) > before + 1, "it signs again", 30)
    assert set(cluster.stop_all().values()) == {0}
    assert_one_block_per_slot(*(cluster.homes[state].folder / "data" for state in STATES))
