"""The process of one node: ready, stopped, killed, refused, broken. Around a fake engine, see `lone_node`."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from foedus.v1 import client_pb2 as pb
from node.ledger.genesis import encode_genesis, with_signature
from node.signing.keys import generate_node_keys
from node.signing.keystore import write_node_keys
from node.signing.statements import entry_hash
from tests.e2e.cluster import CHEAP_KDF, PASSPHRASE, PYTHON_PATH, ROOT, Cluster, Home, found_cluster
from tests.e2e.statements import Outbox

pytestmark = pytest.mark.e2e


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Cluster]:
    cluster = found_cluster(tmp_path, states=("KE",), operators=1)
    cluster.module = "tests.e2e.lone_node"
    with cluster:
        yield cluster


@pytest.fixture
def home(lone: Cluster) -> Home:
    return lone.homes["KE"]


async def submit(lone: Cluster, entry: bytes) -> pb.SubmitResponse:
    async with lone.client("KE") as node:
        return await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)


@pytest.mark.measure("M03")
async def test_what_was_acknowledged_survives_kill_and_stop(lone: Cluster, home: Home) -> None:
    outbox = Outbox(keys=lone.operators[0], ledger=lone.chain_id)
    entries = [outbox.facility("dc1", countersigned_by=home.agency)]
    lone.start("KE")
    await lone.wait_ready()
    for end in (lone.kill, lone.stop, lone.kill):
        entries += [outbox.energy(number) for number in range(5)]
        for entry in entries[-6:]:
            assert (await submit(lone, entry)).acknowledgement
        end("KE")
        lone.start("KE")
        await lone.wait_ready()
    hashes = [entry_hash(entry) for entry in entries]
    await lone.until(lambda: lone.all_final(hashes), "all final")
    async with lone.client("KE") as node:
        page = await node.List(pb.ListRequest(author="op0"))
    assert [entry.leaf for entry in page.entries] == entries
    assert lone.stop("KE") == 0
    assert home.log_lines()[-1]["event"] == "stopped"
    assert not any("text" in line for line in home.log_lines()), home.log_tail()


async def test_watchers_are_let_go_when_the_node_stops(lone: Cluster) -> None:
    lone.start("KE")
    await lone.wait_ready()
    async with lone.client("KE") as node:
        watch = node.Watch(pb.WatchRequest(first=0))
        await watch.read()
        assert lone.stop("KE") == 0
        with pytest.raises(grpc.aio.AioRpcError):
            await watch.read()


async def test_files_and_metrics_are_served(lone: Cluster, home: Home) -> None:
    lone.start("KE")
    await lone.wait_ready()
    async with httpx.AsyncClient() as plain:
        answer = await plain.get(f"http://{home.metrics}/metrics")
        assert 'foedus_node_info{state="KE"} 1.0' in answer.text
        assert "foedus_log_size 3.0" in answer.text
    status, body = await lone.https_get("KE", "/checkpoint")
    assert status == 200
    assert body.startswith(b"ledger.test/main\n")
    status, body = await lone.https_get("KE", "/tile/0/000.p/1")
    assert (status, len(body)) == (200, 32)


@pytest.mark.parametrize(("fault", "words"), [("assert", "fault of this"), ("write", "disk full")])
async def test_a_fault_ends_the_process_with_status_1_and_says_so(
    lone: Cluster, home: Home, fault: str, words: str
) -> None:
    lone.environment["FOEDUS_TEST_FAULT"] = fault
    lone.start("KE")
    process = home.process
    assert process is not None
    await lone.until(lambda: process.poll() is not None, "the process ends")
    assert process.returncode == 1
    assert words in home.log_tail()


async def test_two_processes_never_share_a_home(lone: Cluster, home: Home) -> None:
    lone.start("KE")
    await lone.wait_ready()
    status, text = attempt(home)
    assert status == 1
    assert "another node process uses this folder" in text
    async with lone.client("KE") as node:
        await node.GetStatus(pb.GetStatusRequest(), timeout=10)


def attempt(home: Home, *options: str, python: tuple[str, ...] = ()) -> tuple[int, str]:
    """Start a node that cannot start; its status and what it wrote."""
    command = [sys.executable, *python, "-m", "tests.e2e.lone_node", "--home", str(home.folder)]
    completed = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env={"PYTHONPATH": PYTHON_PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return completed.returncode, (completed.stdout + completed.stderr).decode()


def test_what_makes_no_node_is_refused_with_status_2(lone: Cluster, home: Home) -> None:
    """Each mistake in the home folder, one after the other; the message names the thing."""
    toml, genesis = home.folder / "foedus.toml", home.folder / "genesis.cbor"
    key_file, passphrase = home.folder / "keys" / "node.key", home.folder / "passphrase"
    assert attempt(home, python=("-O",)) == (2, UNOPTIMISED)

    def refused(*words: str, options: tuple[str, ...] = ()) -> None:
        status, text = attempt(home, *options)
        assert status == 2, text
        for word in words:
            assert word in text
        assert "Traceback" not in text
        assert PASSPHRASE.decode() not in text

    good = toml.read_text(encoding="utf-8")
    toml.write_text(good.replace("watchers", "wachters"), encoding="utf-8")
    refused("limits.wachters", "unknown")
    toml.write_text(good.replace('state = "KE"', 'state = "FR"'), encoding="utf-8")
    refused("'FR'", "KE")
    toml.write_text(good, encoding="utf-8")

    refused("no-such-file", options=("--passphrase-file", str(home.folder / "no-such-file")))
    passphrase.write_bytes(b"wrong\n")
    refused("wrong passphrase")
    passphrase.write_bytes(PASSPHRASE + b"\n")
    key_file.chmod(0o644)
    refused("chmod 600")
    key_file.chmod(0o600)

    write_node_keys(key_file, generate_node_keys("KE"), PASSPHRASE, replace=True, cost=CHEAP_KDF)
    refused("block key", "genesis")
    write_node_keys(key_file, home.keys, PASSPHRASE, replace=True, cost=CHEAP_KDF)

    genesis.write_bytes(encode_genesis(with_signature(lone.genesis, "KE", bytes(64))))
    refused("genesis.cbor", "KE", "signature")
    genesis.unlink()
    refused("genesis.cbor")


UNOPTIMISED = (
    "python -O removes the assertions that stop a node at its own faults: run it without -O\n"
)
