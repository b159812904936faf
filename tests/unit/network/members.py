"""Four members on loopback for tests of the network: real TLS, real gRPC; what stands behind the network is a fake."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from consensus.types import Round
from node.network import wire
from node.network.certificates import PeerCertificate, channel_credentials, channel_options
from node.network.hosting import Rejected
from node.network.link import Peer
from node.network.network import Network
from node.network.service import SERVICE
from node.signing.transport import TransportIdentity, generate_transport
from node.telemetry import Metrics
from tests.e2e.cluster import free_ports

STATES = ("ast", "bor", "cyr", "dal")
IDENTITIES = tuple(
    generate_transport(state, scalar_seed=bytes([i + 1]) * 32) for i, state in enumerate(STATES)
)
CERTIFICATES = tuple(
    PeerCertificate(member=i, state=state, certificate_pem=IDENTITIES[i].certificate_pem)
    for i, state in enumerate(STATES)
)
CHAIN = wire.Chain(b"\x07" * 32, 0)
DEADLINE_S = 10.0


COMMIT_CERTIFICATE = wire.Certificate(
    leaf_index=3, leaf=b"leaf", proof=(bytes(32),), lines=(b"line",)
)


@dataclass
class FakeNode:
    """A FAKE of the engine: gives what it is told to give, and remembers what the network brought. It verifies nothing."""

    own_blocks: dict[int, bytes] = field(default_factory=dict)  # by round
    lines: list[bytes] = field(default_factory=list)
    rounds: dict[int, int] = field(default_factory=dict)  # newest round held of each member
    answer_bytes: int = 0
    bundles: list[tuple[int, tuple[bytes, ...]]] = field(default_factory=list)
    wakes: list[tuple[int, int]] = field(default_factory=list)
    streams: list[tuple[int, bool]] = field(default_factory=list)
    cosigned_lines: list[tuple[int, tuple[bytes, ...]]] = field(default_factory=list)
    readers: list[tuple[str, int]] = field(default_factory=list)
    handed: list[bytes] = field(default_factory=list)
    reject: Rejected | None = None
    fault: BaseException | None = None

    def greeting(self, after_round: Round) -> Sequence[bytes]:
        above = [block for round_, block in sorted(self.own_blocks.items()) if round_ > after_round]
        if not above and self.own_blocks:
            above = [self.own_blocks[max(self.own_blocks)]]
        frames = [wire.bundle_frame(above)] if above else []
        return [*frames, *([wire.cosigned_frame(self.lines)] if self.lines else [])]

    def newest_own_frame(self) -> bytes | None:
        if not self.own_blocks:
            return None
        return wire.bundle_frame((self.own_blocks[max(self.own_blocks)],))

    def fetch(self, request: wire.Fetch) -> wire.Fetched:
        if self.fault is not None:
            raise self.fault
        return wire.Fetched((bytes(self.answer_bytes),), Round(5), request.refs)

    def fetch_range(self, request: wire.FetchRange) -> wire.Ranged:
        return wire.Ranged((b"range",), request.last, Round(99))

    def fetch_below(self, request: wire.FetchBelow) -> wire.Below:
        return wire.Below(Round(7), ((request.after_commit, (b"below",)),))

    def fetch_commits(self, request: wire.FetchCommits) -> wire.Commits:
        return wire.Commits((b"commit %d" % request.first,), COMMIT_CERTIFICATE)

    def fetch_listed(self, request: wire.FetchListed) -> Sequence[bytes]:
        return [b"block %d" % ref.round for ref in request.refs]

    def newest(self, request: wire.GetNewest) -> bytes | None:
        return None if request.author else b"newest"

    def cosignatures(self, request: wire.GetCosignatures) -> Sequence[bytes]:
        return [b"line %d" % request.size]

    def hand_over(self, request: wire.HandOver) -> int:
        self.handed += request.entries
        return len(request.entries)

    def reader_came(self, member: int) -> None:
        self.readers.append(("came", member))

    def reader_left(self, member: int) -> None:
        self.readers.append(("left", member))

    async def bundle(self, member: int, blocks: tuple[bytes, ...]) -> None:
        if self.reject is not None:
            raise self.reject
        self.bundles.append((member, blocks))

    def stream_opened(self, member: int) -> None:
        self.streams.append((member, True))

    def stream_ended(self, member: int) -> None:
        self.streams.append((member, False))

    def wake(self, member: int, round_: Round) -> None:
        self.wakes.append((member, round_))

    def cosigned(self, member: int, lines: tuple[bytes, ...]) -> None:
        self.cosigned_lines.append((member, lines))

    def newest_round_of(self, member: int) -> Round:
        return Round(self.rounds.get(member, 0))


def peers(ports: Sequence[int]) -> list[Peer]:
    """All four members at these ports."""
    return [
        Peer(certificate=certificate, endpoint=f"127.0.0.1:{port}")
        for certificate, port in zip(CERTIFICATES, ports, strict=True)
    ]


@dataclass
class Member:
    """One running network around a fake node."""

    network: Network
    node: FakeNode
    metrics: Metrics
    ports: Sequence[int]

    def counted(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"{name}_total", labels) or 0.0


@asynccontextmanager
async def running(
    own: int, ports: Sequence[int], node: FakeNode | None = None
) -> AsyncIterator[Member]:
    """Member `own`'s network, listening and dialling."""
    node, metrics = node or FakeNode(), Metrics()
    network = Network(
        own=own,
        peers=peers(ports),
        identity=IDENTITIES[own],
        address=f"127.0.0.1:{ports[own]}",
        chain=CHAIN,
        hosted=node,
        heard=node,
        metrics=metrics,
    )
    await network.start()
    task = asyncio.get_running_loop().create_task(network.run())
    try:
        yield Member(network, node, metrics, ports)
    finally:
        task.cancel()
        await asyncio.wait((task,))
        await network.stop()
    if not task.cancelled() and (fault := task.exception()) is not None:
        raise fault


def four_ports() -> list[int]:
    return free_ports(4)


@asynccontextmanager
async def caller(
    port: int, *, own: int = 1, identity: TransportIdentity | None = None, server: int = 0
) -> AsyncIterator["Caller"]:
    """A hand-made client with member `own`'s certificate, or another."""
    options: list[tuple[str, Any]] = [
        *channel_options(CERTIFICATES[server]),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ]
    channel = grpc.aio.secure_channel(
        f"127.0.0.1:{port}",
        channel_credentials(identity or IDENTITIES[own], CERTIFICATES[server]),
        options=options,
    )
    async with channel:
        yield Caller(channel)


@dataclass
class Caller:
    channel: grpc.aio.Channel

    async def ask(self, method: str, data: bytes) -> bytes:
        call: Any = self.channel.unary_unary(f"/{SERVICE}/{method}")
        answer: bytes = await call(data, timeout=DEADLINE_S)
        return answer

    async def refused(self, method: str, data: bytes) -> tuple[str, str]:
        """Status and details of a call that must fail."""
        try:
            await self.ask(method, data)
        except grpc.aio.AioRpcError as err:
            return err.code().name, err.details() or ""
        raise AssertionError(f"{method} was answered")

    def subscribe(self, after_round: int = 0, chain: wire.Chain = CHAIN) -> Any:
        call: Any = self.channel.unary_stream(f"/{SERVICE}/Subscribe")
        return call(wire.write_subscribe(wire.Subscribe(chain, Round(after_round))))


@asynccontextmanager
async def hostile_server(
    port: int, frames: Sequence[bytes], *, identity: TransportIdentity = IDENTITIES[1]
) -> AsyncIterator[list[bytes]]:
    """A fake member that sends these frames to whoever subscribes; yields the requests it got."""
    requests: list[bytes] = []

    async def subscribe(data: bytes, context: Any) -> None:
        requests.append(data)
        await context.send_initial_metadata(())
        for frame in frames:
            await context.write(frame)
        await asyncio.Event().wait()

    handler: Any = subscribe
    server = grpc.aio.server(options=[("grpc.max_send_message_length", 64 * 1024 * 1024)])
    method: Any = grpc.unary_stream_rpc_method_handler(handler)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Subscribe": method}),)
    )
    credentials = grpc.ssl_server_credentials(
        [(identity.private_key_pem, identity.certificate_pem)]
    )
    server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    try:
        yield requests
    finally:
        await server.stop(None)


async def until(condition: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)
