"""Members among themselves: streams, resumption by round, requests, reconnecting, slow readers."""

import asyncio
from contextlib import AsyncExitStack

import grpc
import pytest

from consensus.types import CommitIndex, Digest, Ref, Round, ValidatorIndex
from node.network import link, wire
from node.network.certificates import PeerCertificate
from node.network.link import Peer, Unanswered
from node.network.network import Network
from node.network.outbox import BYTES_MAX
from node.signing.transport import generate_transport
from node.telemetry import Metrics
from tests.unit.network.members import (
    CHAIN,
    COMMIT_CERTIFICATE,
    IDENTITIES,
    STATES,
    FakeNode,
    caller,
    four_ports,
    hostile_server,
    peers,
    running,
    until,
)

REF = Ref(Round(3), ValidatorIndex(2), Digest(b"\x09" * 32))


async def test_each_reads_the_other_and_every_question_is_answered() -> None:
    ports = four_ports()
    first = FakeNode(own_blocks={1: b"one"}, lines=[b"line"], answer_bytes=10)
    async with running(0, ports, first) as ast, running(1, ports) as bor:
        await until(lambda: bor.network.is_connected(0) and ast.network.is_connected(1), "linked")
        await until(lambda: bor.node.cosigned_lines, "greeted")
        assert bor.node.bundles == [(0, (b"one",))]
        assert bor.node.cosigned_lines == [(0, (b"line",))]
        ast.network.send(1, wire.wake_frame(Round(7)))
        ast.network.broadcast(wire.bundle_frame((b"a", b"b")))
        await until(lambda: len(bor.node.bundles) == 2, "the bundle")
        assert bor.node.bundles[1] == (0, (b"a", b"b"))
        assert bor.node.wakes == [(0, 7)]
        network = bor.network
        assert await network.fetch(0, (REF,), Round(1)) == wire.Fetched(
            (bytes(10),), Round(5), (REF,)
        )
        assert await network.fetch_range(0, Round(2), Round(4)) == wire.Ranged(
            (b"range",), Round(4), Round(99)
        )
        assert await network.fetch_below(0, CommitIndex(6)) == wire.Below(
            Round(7), ((CommitIndex(6), (b"below",)),)
        )
        assert await network.fetch_commits(0, CommitIndex(4), CommitIndex(6)) == wire.Commits(
            (b"commit 4",), COMMIT_CERTIFICATE
        )
        assert await network.fetch_listed(0, (REF, REF)) == (b"block %d" % REF.round,) * 2
        assert await network.newest(0, ValidatorIndex(0)) == b"newest"
        assert await network.newest(0, ValidatorIndex(1)) is None
        assert await network.cosignatures(0, 12) == (b"line 12",)
        largest = bytes(wire.LEAF_BYTES_MAX)
        assert await network.hand_over(0, (largest,)) == 1
        assert ast.node.handed == [largest]
        standings = {standing.member: standing for standing in network.standings()}
        assert standings[0].is_read
        assert standings[0].reads_us
        assert not standings[2].is_read
        with pytest.raises(Unanswered):
            await network.cosignatures(2, 1)


async def test_a_stream_is_resumed_above_the_round_that_the_reader_holds() -> None:
    ports = four_ports()
    blocks = {round_: b"block %d" % round_ for round_ in range(1, 6)}
    reader = FakeNode(rounds={0: 3})
    async with AsyncExitStack() as stack:
        bor = await stack.enter_async_context(running(1, ports, reader))
        async with running(0, ports, FakeNode(own_blocks=blocks)):
            await until(lambda: reader.bundles, "resumed")
            assert reader.bundles == [(0, (b"block 4", b"block 5"))]
            reader.rounds[0] = 5
        await until(lambda: not bor.network.is_connected(0), "the loss is seen")
        async with running(0, ports, FakeNode(own_blocks=blocks)):
            # Nothing is above: the newest comes again, since one lost block can stall everybody.
            await until(lambda: len(reader.bundles) == 2, "reconnected")
            assert reader.bundles[1] == (0, (b"block 5",))


async def test_the_request_names_chain_and_round() -> None:
    ports = four_ports()
    async with hostile_server(ports[1], []) as requests:
        async with running(0, ports, FakeNode(rounds={1: 17})) as ast:
            await until(lambda: ast.network.is_connected(1), "connected")
        request = wire.read_subscribe(requests[0])
        assert request.after_round == 17
        assert request.chain == wire.Chain(b"\x07" * 32, 0)


async def test_a_second_stream_of_a_member_replaces_the_first() -> None:
    ports = four_ports()
    async with (
        running(0, ports, FakeNode(own_blocks={1: b"one"})) as ast,
        caller(ports[0]) as first,
        caller(ports[0]) as second,
    ):
        old = first.subscribe()
        assert await old.read() == wire.bundle_frame((b"one",))
        new = second.subscribe()
        assert await new.read() == wire.bundle_frame((b"one",))
        assert await asyncio.wait_for(old.read(), 5) is grpc.aio.EOF
        ast.network.send(1, wire.wake_frame(Round(2)))
        assert await asyncio.wait_for(new.read(), 5) == wire.wake_frame(Round(2))
        # The one that was replaced is no loss of the reader.
        assert ast.node.readers == [("came", 1), ("came", 1)]
        new.cancel()
        await until(lambda: ast.node.readers[-1] == ("left", 1), "the reader left")


async def test_a_reader_that_does_not_read_holds_no_more_than_its_queue() -> None:
    ports = four_ports()
    node = FakeNode(own_blocks={1: b"newest"})
    async with running(0, ports, node) as ast, caller(ports[0]) as client:
        call = client.subscribe()
        await call.initial_metadata()
        await until(lambda: ("came", 1) in node.readers, "subscribed")
        frame = wire.bundle_frame((bytes(200_000),))
        for _ in range(400):  # 80 MB
            ast.network.send(1, frame)
            await asyncio.sleep(0)
            held = ast.metrics.registry.get_sample_value("foedus_peer_queue_bytes")
            assert held is not None
            assert held <= BYTES_MAX
        assert ast.counted("foedus_peer_queue_overflows", state="bor") >= 1
        # It reads again: after what was under way comes the newest own block, and the stream goes on.
        ast.network.send(1, wire.wake_frame(Round(9)))
        seen: list[bytes] = []
        while not seen or seen[-1] != wire.wake_frame(Round(9)):
            seen.append(await asyncio.wait_for(call.read(), 5))
        assert wire.bundle_frame((b"newest",)) in seen[1:]
        assert len(seen) < 400


async def test_a_fault_in_an_answer_stops_the_node() -> None:
    ports = four_ports()
    node = FakeNode(fault=AssertionError("broken on purpose"))

    async def ask_it() -> None:
        async with running(0, ports, node), caller(ports[0]) as client:
            request = wire.write_fetch(wire.Fetch(CHAIN, (REF,), Round(0)))
            status, _ = await client.refused("Fetch", request)
            assert status == "UNAVAILABLE"

    with pytest.raises(BaseExceptionGroup) as caught:
        await ask_it()
    assert caught.group_contains(AssertionError, match="broken on purpose")


async def test_an_address_in_use_is_named() -> None:
    ports = four_ports()
    async with running(0, ports):
        with pytest.raises(OSError, match=f"127.0.0.1:{ports[0]}"):
            async with running(0, ports):
                pass


async def test_who_dials_us_is_dialled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "PAUSE_FIRST_S", 60.0)
    ports = four_ports()
    async with running(0, ports) as ast:
        await asyncio.sleep(0.5)  # the first dialling has failed, the next is a minute away
        async with running(1, ports) as bor:
            await until(lambda: bor.network.is_connected(0), "bor dialled")
            await until(lambda: ast.network.is_connected(1), "ast dialled back")


async def test_whose_pins_all_fail_dials_by_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that was away while the others changed their certificates reads them all the same; they know its own (R48)."""
    monkeypatch.setattr("node.network.network.PINS_LOOK_S", 0.05)
    monkeypatch.setattr("node.network.network.PINS_FAIL_S", 0.5)
    ports = four_ports()
    old = PeerCertificate(
        member=0, state=STATES[0], certificate_pem=generate_transport(STATES[0]).certificate_pem
    )
    register = peers(ports)
    register[0] = Peer(certificate=old, endpoint=register[0].endpoint)
    returning = FakeNode()
    network = Network(
        own=1,
        peers=register,
        identity=IDENTITIES[1],
        address=f"127.0.0.1:{ports[1]}",
        chain=CHAIN,
        hosted=returning,
        heard=returning,
        metrics=Metrics(),
    )
    async with running(0, ports, FakeNode(own_blocks={1: b"one"})):
        await network.start()
        task = asyncio.ensure_future(network.run())
        try:
            await until(lambda: network.is_connected(0), "read by the certificate it shows")
            await until(lambda: returning.bundles == [(0, (b"one",))], "its blocks come")
        finally:
            task.cancel()
            await asyncio.wait((task,))
            await network.stop()
