"""A peer that means harm, over real TLS: refused by name, no crash, nothing grows (issue: tests that must exist)."""

import asyncio
import os
import time

import grpc
import pytest

from consensus.codec import BLOCK_BYTES_MAX
from consensus.types import CommitIndex, Digest, Ref, Round, ValidatorIndex
from node.network import doorkeeper, wire
from node.network.hosting import Rejected
from node.signing.transport import generate_transport
from node.telemetry import resident_bytes
from tests.unit.network.members import (
    CHAIN,
    IDENTITIES,
    FakeNode,
    caller,
    four_ports,
    hostile_server,
    running,
    until,
)

MIB = 1024 * 1024
STRANGER = generate_transport("bor", scalar_seed=b"\x63" * 32)
REF = Ref(Round(3), ValidatorIndex(2), Digest(b"\x09" * 32))
FETCH = wire.write_fetch(wire.Fetch(CHAIN, (REF,), Round(0)))


# --- callers -------------------------------------------------------------------------------------


async def test_a_non_member_is_refused_with_a_log_line_and_a_metric(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(doorkeeper, "HANDSHAKE_S", 0.5)
    ports = four_ports()
    async with running(0, ports) as ast:
        async with caller(ports[0], identity=STRANGER) as client:
            status, _ = await client.refused("Fetch", FETCH)
        assert status == "UNAVAILABLE"
        await until(lambda: ast.counted("foedus_peer_refused", why="tls") >= 1, "counted")
        assert not ast.node.readers
    assert any(record.getMessage() == "peer refused" for record in caplog.records)


async def test_a_member_is_not_counted_as_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorkeeper, "HANDSHAKE_S", 0.5)
    ports = four_ports()
    async with running(0, ports) as ast, caller(ports[0]) as client:
        await client.ask("Fetch", FETCH)
        await asyncio.sleep(2.5)  # two counts after the limit
        assert ast.counted("foedus_peer_refused", why="tls") == 0


async def test_own_certificate_is_no_peer() -> None:
    ports = four_ports()
    async with running(0, ports) as ast, caller(ports[0], identity=IDENTITIES[0]) as client:
        status, details = await client.refused("Fetch", FETCH)
        assert status == "PERMISSION_DENIED"
        assert "own certificate" in details
        assert ast.counted("foedus_peer_refused", why="stranger") == 1


@pytest.mark.parametrize("chain", [wire.Chain(b"\x08" * 32, 0), wire.Chain(b"\x07" * 32, 1)])
async def test_another_chain_or_epoch_is_refused_by_every_method(chain: wire.Chain) -> None:
    ports = four_ports()
    author, index = ValidatorIndex(0), 0
    requests = {
        "Fetch": wire.write_fetch(wire.Fetch(chain, (REF,), Round(0))),
        "FetchRange": wire.write_range(wire.FetchRange(chain, Round(1), Round(2))),
        "FetchBelow": wire.write_below(wire.FetchBelow(chain, CommitIndex(index))),
        "FetchCommits": wire.write_commits(
            wire.FetchCommits(chain, CommitIndex(1), CommitIndex(2))
        ),
        "FetchListed": wire.write_listed(wire.FetchListed(chain, (REF,))),
        "GetNewestBlock": wire.write_newest(wire.GetNewest(chain, author)),
        "GetCosignatures": wire.write_cosignatures(wire.GetCosignatures(chain, 1)),
        "HandOver": wire.write_hand_over(wire.HandOver(chain, (b"entry",))),
    }
    async with running(0, ports) as ast, caller(ports[0]) as client:
        for method, request in requests.items():
            status, details = await client.refused(method, request)
            assert status == "FAILED_PRECONDITION", method
            assert chain.chain_id.hex() in details
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.subscribe(chain=chain).read()
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert ast.counted("foedus_peer_refused", why="chain") == len(requests) + 1
        assert not ast.node.readers


BAD_REQUESTS = [
    ("Fetch", b"\xff\xff\xff"),
    ("Fetch", b""),
    ("Fetch", wire.write_fetch(wire.Fetch(CHAIN, (), Round(0)))),
    ("Fetch", wire.write_fetch(wire.Fetch(CHAIN, (REF,) * 65, Round(0)))),
    (
        "Fetch",
        wire.write_fetch(
            wire.Fetch(CHAIN, (Ref(Round(1), ValidatorIndex(1), Digest(b"short")),), Round(0))
        ),
    ),
    (
        "Fetch",
        wire.write_fetch(
            wire.Fetch(CHAIN, (REF._replace(author=ValidatorIndex(70_000)),), Round(0))
        ),
    ),
    ("FetchRange", wire.write_range(wire.FetchRange(CHAIN, Round(1), Round(51)))),
    ("FetchRange", wire.write_range(wire.FetchRange(CHAIN, Round(2), Round(1)))),
    (
        "FetchCommits",
        wire.write_commits(wire.FetchCommits(CHAIN, CommitIndex(1), CommitIndex(51))),
    ),
    (
        "FetchCommits",
        wire.write_commits(wire.FetchCommits(CHAIN, CommitIndex(0), CommitIndex(1))),
    ),
    ("FetchListed", wire.write_listed(wire.FetchListed(CHAIN, ()))),
    ("FetchListed", wire.write_listed(wire.FetchListed(CHAIN, (REF,) * 1_001))),
    ("GetNewestBlock", wire.write_newest(wire.GetNewest(CHAIN, ValidatorIndex(65_536)))),
    ("GetCosignatures", wire.write_cosignatures(wire.GetCosignatures(wire.Chain(b"x", 0), 1))),
    ("HandOver", wire.write_hand_over(wire.HandOver(CHAIN, ()))),
    ("HandOver", wire.write_hand_over(wire.HandOver(CHAIN, (b"x",) * 65))),
    ("HandOver", wire.write_hand_over(wire.HandOver(CHAIN, (bytes(40_000), bytes(30_000))))),
]


@pytest.mark.parametrize(("method", "request_bytes"), BAD_REQUESTS)
async def test_a_malformed_request_is_refused_and_charged(
    method: str, request_bytes: bytes
) -> None:
    ports = four_ports()
    async with running(0, ports) as ast, caller(ports[0]) as client:
        status, details = await client.refused(method, request_bytes)
        assert status == "INVALID_ARGUMENT"
        assert details
        assert ast.counted("foedus_peer_charged", state="bor") == 1
        assert await client.ask("Fetch", FETCH)  # and once is forgiven


async def test_an_oversized_request_is_refused_before_anybody_reads_it() -> None:
    ports = four_ports()
    async with running(0, ports), caller(ports[0]) as client:
        status, _ = await client.refused("Fetch", bytes(wire.REQUEST_BYTES_MAX + 1))
        assert status == "RESOURCE_EXHAUSTED"
        assert await client.ask("Fetch", FETCH)


async def test_who_keeps_sending_malformed_requests_is_left_alone() -> None:
    ports = four_ports()
    async with (
        running(0, ports) as ast,
        caller(ports[0]) as client,
        caller(ports[0], own=2) as other,
    ):
        statuses = [(await client.refused("Fetch", b"\xff"))[0] for _ in range(10)]
        assert statuses[0] == "INVALID_ARGUMENT"
        assert statuses[-1] == "RESOURCE_EXHAUSTED"
        assert (await client.refused("Fetch", FETCH))[0] == "RESOURCE_EXHAUSTED"
        assert await other.ask("Fetch", FETCH)  # others do not pay for it
        assert ast.counted("foedus_peer_refused", why="penalty") >= 1


async def test_a_flood_of_requests_meets_the_budget_and_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doorkeeper, "REQUESTS_PER_S", 20.0)
    ports = four_ports()
    async with (
        running(0, ports) as ast,
        caller(ports[0]) as client,
        caller(ports[0], own=2) as other,
    ):
        await client.ask("Fetch", FETCH)
        answers = await asyncio.gather(
            *(client.ask("Fetch", FETCH) for _ in range(500)), return_exceptions=True
        )
        refused = {
            answer.code().name for answer in answers if isinstance(answer, grpc.aio.AioRpcError)
        }
        # UNAVAILABLE: more streams at once than the connection may have, refused by the transport.
        assert "RESOURCE_EXHAUSTED" in refused
        assert refused <= {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
        assert ast.counted("foedus_peer_refused", why="budget") >= 1
        began = time.monotonic()
        assert await other.ask("Fetch", FETCH)
        assert time.monotonic() - began < 2


async def test_bytes_served_are_budgeted() -> None:
    ports = four_ports()
    async with running(0, ports, FakeNode(answer_bytes=4 * MIB)), caller(ports[0]) as client:
        served, refused = 0, set()
        for _ in range(20):
            try:
                await client.ask("Fetch", FETCH)
                served += 1
            except grpc.aio.AioRpcError as err:
                refused.add(err.code().name)
        assert refused == {"RESOURCE_EXHAUSTED"}
        assert 4 <= served < 15  # two seconds' worth at once, 8 MiB a second after that


async def test_half_open_connections_and_noise_on_the_port() -> None:
    ports = four_ports()
    async with running(0, ports), caller(ports[0]) as client:
        writers = []
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", ports[0])
            writer.write(os.urandom(2_048))
            writers.append(writer)
        assert await client.ask("Fetch", FETCH)
        for writer in writers:
            writer.close()


# --- streams -------------------------------------------------------------------------------------

BAD_FRAMES = {
    "garbage": b"\xff\xff\xff\xff",
    "empty": b"",
    "many": wire.bundle_frame([b""] * (wire.BLOCKS_MAX + 1)),
    "large block": wire.bundle_frame([bytes(BLOCK_BYTES_MAX + 1)]),
    "many lines": wire.cosigned_frame([b""] * (wire.LINES_MAX + 1)),
    "large line": wire.cosigned_frame([bytes(wire.LINE_BYTES_MAX + 1)]),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_malformed_frame_is_charged_and_the_stream_goes_on(name: str) -> None:
    ports = four_ports()
    frames = [BAD_FRAMES[name], wire.wake_frame(Round(4))]
    async with hostile_server(ports[1], frames), running(0, ports) as ast:
        await until(lambda: ast.node.wakes, "the good frame after the bad one")
        assert ast.node.wakes == [(1, 4)]
        assert not ast.node.bundles
        assert ast.counted("foedus_peer_charged", state="bor") == 1


async def test_an_oversized_frame_ends_the_stream_not_the_node() -> None:
    ports = four_ports()
    frames = [wire.bundle_frame([bytes(MIB)] * 9)]
    async with hostile_server(ports[1], frames) as requests, running(0, ports) as ast:
        await until(lambda: len(requests) >= 2, "dialled again after the oversized frame")
        assert not ast.node.bundles


async def test_a_stream_of_bad_frames_is_left_after_a_few_and_not_dialled_at_once() -> None:
    ports = four_ports()
    async with hostile_server(ports[1], [b"\xff"] * 1_000) as requests, running(0, ports) as ast:
        await until(lambda: ast.counted("foedus_peer_charged", state="bor") >= 6, "charged")
        await until(lambda: not ast.network.is_connected(1), "left alone")
        await asyncio.sleep(1.5)
        assert len(requests) == 1
        assert ast.counted("foedus_peer_charged", state="bor") < 20


async def test_blocks_that_the_engine_rejects_are_charged_to_the_sender() -> None:
    ports = four_ports()
    node = FakeNode(reject=Rejected("badly signed", 60.0))
    frames = [wire.bundle_frame([b"block"])] * 5
    async with hostile_server(ports[1], frames) as requests, running(0, ports, node) as ast:
        await until(lambda: ast.counted("foedus_peer_charged", state="bor") == 2, "charged twice")
        await until(lambda: not ast.network.is_connected(1), "left alone")
        assert len(requests) == 1


async def test_a_flood_of_large_frames_costs_time_to_the_sender_and_no_memory_to_us() -> None:
    ports = four_ports()
    frames = [wire.bundle_frame([bytes(256 * 1024)] * 16)] * 60  # 240 MiB
    before = resident_bytes()
    async with hostile_server(ports[1], frames), running(0, ports) as ast:
        ast.node.bundles = _Forgetful()
        await until(lambda: ast.network.is_connected(1), "connected")
        await asyncio.sleep(3)
        taken = len(ast.node.bundles) * 4
        assert taken < 64 + 32 * 3 + 32, f"{taken} MiB read in three seconds"
    # The frames themselves are one object of the test; what both ends of a connection hold is bounded by flow control.
    assert resident_bytes() - before < 120 * MIB


class _Forgetful(list[tuple[int, tuple[bytes, ...]]]):
    """Counts what it is given and keeps nothing of it."""

    def append(self, item: tuple[int, tuple[bytes, ...]]) -> None:
        super().append((item[0], ()))
