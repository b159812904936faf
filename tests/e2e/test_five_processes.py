"""Five states, five processes, one ledger: agreement, proof, loss of one, and a client that means harm."""

import asyncio
import contextlib
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from foedus.v1 import client_pb2 as pb
from foedus.v1 import client_pb2_grpc as rpc
from node.api.refusals import REFUSAL_KEY
from node.ledger.trust import trust_policy
from node.log import policy
from node.log.proof import parse_proof
from node.signing.acknowledgement import verify_acknowledgement
from node.signing.statements import entry_hash
from node.signing.verify import verify_ed25519
from tests.e2e.cluster import Cluster, found_cluster
from tests.e2e.statements import Outbox

pytestmark = pytest.mark.e2e
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    founded = found_cluster(tmp_path_factory.mktemp("five"))
    with founded:
        founded.start_all()
        yield founded


@pytest.fixture(scope="module")
def outboxes(cluster: Cluster) -> tuple[Outbox, ...]:
    return tuple(Outbox(keys=keys, ledger=cluster.chain_id) for keys in cluster.operators)


async def submit(cluster: Cluster, state: str, entry: bytes) -> pb.SubmitResponse:
    async with cluster.client(state) as node:
        return await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)


async def submit_all(cluster: Cluster, entries: list[bytes], *states: str) -> list[bytes]:
    """Each entry through the next node in turn, in order; their hashes."""
    for state, entry in zip(itertools.cycle(states), entries, strict=False):
        answer = await submit(cluster, state, entry)
        assert answer.state != pb.ENTRY_STATE_UNKNOWN
    return [entry_hash(entry) for entry in entries]


async def test_entries_through_any_node_are_final_on_all(
    cluster: Cluster, outboxes: tuple[Outbox, ...]
) -> None:
    await cluster.wait_ready()
    first = outboxes[0]
    agency = cluster.homes["US"].agency
    entries = [first.facility("dc1", countersigned_by=agency)]
    entries += [first.energy(100 + number) for number in range(12)]
    # An author's entries reach different nodes: some wait there for their predecessors.
    hashes = await submit_all(cluster, entries, *cluster.states)
    await cluster.until(lambda: cluster.all_final(hashes), "13 entries final on five nodes")
    await cluster.until(cluster.one_root, "one root on five nodes")
    statuses = await cluster.statuses()
    assert len({status.final_root for status in statuses.values()}) == 1
    assert all(not status.alarms for status in statuses.values())
    async with cluster.client("KE") as node:
        page = await node.List(pb.ListRequest(author="op0"))
    assert [entry.leaf for entry in page.entries] == entries
    assert [entry.code for entry in page.entries] == [""] * len(entries)


@pytest.mark.measure("M57")
async def test_an_acknowledgement_and_a_receipt_verify_offline(
    cluster: Cluster, outboxes: tuple[Outbox, ...]
) -> None:
    await cluster.wait_ready()
    entry = outboxes[1].facility("dc9", countersigned_by=cluster.homes["CN"].agency)
    answer = await submit(cluster, "BR", entry)
    promise = verify_acknowledgement(answer.acknowledgement, cluster.homes["BR"].keys.log.public)
    assert promise is not None
    assert (promise.node, promise.entry_hash) == ("BR", entry_hash(entry))
    await cluster.until(lambda: cluster.all_final([entry_hash(entry)]), "the facility final")
    trusted = policy.parse_policy(trust_policy(cluster.genesis))
    for state in cluster.states:
        async with cluster.client(state) as node:
            request = pb.GetReceiptRequest(entry_hash=entry_hash(entry))
            receipt = await node.GetReceipt(request, timeout=10)
        proof = parse_proof(receipt.tlog_proof)
        judged = policy.evaluate(trusted, proof.note, verify_ed25519)
        assert judged.satisfied, judged.why
        assert len(judged.witnesses) >= 4
        assert proof.root_of(entry) == judged.checkpoint.root
        assert proof.root_of(entry + b"x") != judged.checkpoint.root


async def test_one_node_killed_others_go_on_and_it_catches_up(
    cluster: Cluster, outboxes: tuple[Outbox, ...]
) -> None:
    await cluster.wait_ready()
    others = tuple(state for state in cluster.states if state != "KE")
    waiting = outboxes[0].energy(1)
    assert (await submit(cluster, "KE", waiting)).acknowledgement
    cluster.kill("KE")
    entries = [outboxes[1].energy(number) for number in range(10)]
    hashes = await submit_all(cluster, entries, *others)
    await cluster.until(lambda: cluster.all_final(hashes, *others), "final without KE")
    cluster.start("KE")
    await cluster.wait_ready("KE")
    # What KE acknowledged before it was killed is not lost, and it has what came meanwhile.
    await cluster.until(
        lambda: cluster.all_final([entry_hash(waiting), *hashes]), "KE caught up, its entry final"
    )
    await cluster.until(cluster.one_root, "one root again")


async def test_a_node_without_its_store_is_rebuilt_from_its_peers(
    cluster: Cluster, outboxes: tuple[Outbox, ...]
) -> None:
    await cluster.wait_ready()
    home = cluster.homes["CN"]
    before = await cluster.status("US")
    assert cluster.stop("CN") == 0
    shutil.rmtree(home.folder / "data" / "rocksdb")
    cluster.start("CN")
    await cluster.wait_ready("CN")
    entry = outboxes[1].energy(501)
    await submit(cluster, "CN", entry)
    await cluster.until(lambda: cluster.all_final([entry_hash(entry)]), "its entry is final")
    await cluster.until(cluster.one_root, "one root again")
    assert (await cluster.status("CN")).log_size > before.log_size
    assert not (await cluster.status("CN")).alarms


# --- a client that means harm --------------------------------------------------------------------


async def refused(call: Any) -> tuple[StatusCode, str]:
    """Status and code of a refused call."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    for key, value in caught.value.trailing_metadata() or ():
        if key == REFUSAL_KEY:
            assert isinstance(value, bytes)
            return caught.value.code(), pb.Refusal.FromString(value).code
    return caught.value.code(), ""


async def test_a_hostile_client_is_refused_by_name_and_costs_no_memory(
    cluster: Cluster, outboxes: tuple[Outbox, ...]
) -> None:
    await cluster.wait_ready()
    home = cluster.homes["GB"]
    before = home.resident_bytes()
    async with cluster.client("GB") as node:
        await one_of_each(cluster, outboxes, node)
    await flood(cluster, outboxes[0], seconds=5)
    honest = outboxes[0].energy(77)
    async with cluster.client("GB") as node:
        began = time.monotonic()
        assert (await node.Submit(pb.SubmitRequest(entry=honest), timeout=10)).acknowledgement
        assert time.monotonic() - began < 5
    await cluster.until(lambda: cluster.all_final([entry_hash(honest)]), "an honest entry final")
    grown = home.resident_bytes() - before
    assert grown < 64 * MIB, f"the node grew by {grown / MIB:.0f} MiB"
    assert cluster.homes["GB"].process is not None
    assert cluster.homes["GB"].process.poll() is None


async def one_of_each(
    cluster: Cluster, outboxes: tuple[Outbox, ...], node: "rpc.LedgerServiceAsyncStub"
) -> None:
    """Every kind of bad entry once."""
    author = replace(outboxes[0])  # a copy of the chain: what is refused uses no place in it
    good = replace(author).energy(3)
    agency = cluster.homes["US"].agency
    assert agency.vote is not None
    by_vote_key = Outbox(keys=replace(agency, author=agency.vote), ledger=cluster.chain_id)
    by_node_key = Outbox(
        keys=replace(
            author.keys, author=replace(cluster.homes["US"].keys.block, role=agency.author.role)
        ),
        ledger=cluster.chain_id,
    )
    unknown = Outbox(keys=replace(author.keys, author_id="nobody"), ledger=cluster.chain_id)
    cases = [
        (good[:-64] + bytes(64), StatusCode.UNAUTHENTICATED, "SIGNATURE"),
        (b"", StatusCode.INVALID_ARGUMENT, "SCHEMA"),
        (os.urandom(300), StatusCode.INVALID_ARGUMENT, "SCHEMA"),
        (good + b"\x00", StatusCode.INVALID_ARGUMENT, "SCHEMA"),
        (good + bytes(65_536), StatusCode.INVALID_ARGUMENT, "TOO_LARGE"),
        (unknown.energy(1), StatusCode.UNAUTHENTICATED, "UNKNOWN_AUTHOR"),
        (by_vote_key.energy(1), StatusCode.UNAUTHENTICATED, "UNKNOWN_AUTHOR"),
        (by_node_key.energy(1), StatusCode.UNAUTHENTICATED, "UNKNOWN_AUTHOR"),
        (replace(author, ledger=bytes(32)).energy(1), StatusCode.FAILED_PRECONDITION, "LEDGER"),
        (replace(author, seq=9_999).energy(1), StatusCode.FAILED_PRECONDITION, "SEQ_GAP"),
    ]
    for entry, status, code in cases:
        found = await refused(node.Submit(pb.SubmitRequest(entry=entry), timeout=10))
        assert found == (status, code)
    # Too large for the transport: refused before a handler sees it.
    status, _ = await refused(node.Submit(pb.SubmitRequest(entry=bytes(MIB)), timeout=10))
    assert status is StatusCode.RESOURCE_EXHAUSTED
    # A replay is harmless: the old promise or place again, and one leaf.
    page = await node.List(pb.ListRequest(author="op0", kind="energy", limit=1))
    replayed = page.entries[0]
    answer = await node.Submit(pb.SubmitRequest(entry=replayed.leaf), timeout=10)
    assert answer.entry_hash == replayed.leaf_digest
    assert answer.state == pb.ENTRY_STATE_FINAL


async def flood(cluster: Cluster, outbox: Outbox, *, seconds: float) -> None:
    """Bad signatures, garbage, half-open connections and watchers, all at once, from many connections."""
    deadline = time.monotonic() + seconds
    good = replace(outbox).energy(3)
    answers: dict[str, int] = {}

    async def liar(number: int) -> None:
        async with cluster.client("GB") as node:
            while time.monotonic() < deadline:
                entry = good[:-8] + os.urandom(8) if number % 2 else os.urandom(60_000)
                try:
                    await node.Submit(pb.SubmitRequest(entry=entry), timeout=10)
                except grpc.aio.AioRpcError as err:
                    answers[err.code().name] = answers.get(err.code().name, 0) + 1

    async def watcher() -> None:
        async with cluster.client("GB") as node:
            try:
                async for _ in node.Watch(pb.WatchRequest(first=0), timeout=seconds):
                    await asyncio.sleep(seconds)  # takes one message and then reads no further
            except grpc.aio.AioRpcError:
                pass

    async def stranger(address: str) -> None:
        host, _, port = address.rpartition(":")
        while time.monotonic() < deadline:
            try:
                reader, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.01)
                continue
            try:
                writer.write(os.urandom(4096))
                await asyncio.wait_for(reader.read(100), 1)
            except (OSError, TimeoutError):
                await asyncio.sleep(0.01)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    home = cluster.homes["GB"]
    async with asyncio.TaskGroup() as tasks:
        for number in range(16):
            tasks.create_task(liar(number))
            tasks.create_task(watcher())
        for address in (home.client, home.http, home.peer):
            for _ in range(4):
                tasks.create_task(stranger(address))
    assert set(answers) <= {"UNAUTHENTICATED", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}, answers
    assert sum(answers.values()) > 100, answers


# --- the end ------------------------------------------------------------------------------------


async def test_a_graceful_stop_ends_every_process_with_status_0(cluster: Cluster) -> None:
    await cluster.wait_ready()
    assert cluster.stop_all() == dict.fromkeys(cluster.states, 0)
    for home in cluster.homes.values():
        events = [line.get("event") for line in home.log_lines()]
        assert events[-1] == "stopped"
        assert not any("text" in line for line in home.log_lines()), home.log_tail()
