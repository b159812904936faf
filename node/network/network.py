"""The node among its peers: one listener, one link to each other member.

network = Network(...)
await network.start()                listens
await network.run()                  dials and reads, until cancelled; raises what stops the node
network.send(member, frame)          to a member's stream, if it reads; never waits
await network.fetch(member, ...)     ask, or Unanswered
await network.stop()
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from consensus.types import CommitIndex, Ref, Round, ValidatorIndex
from node.network import wire
from node.network.certificates import CertificateRegister
from node.network.doorkeeper import MALFORMED_POINTS, Doorkeeper
from node.network.hosting import Heard, Hosted, Rejected
from node.network.link import Link, Peer
from node.network.service import PeerService
from node.network.transport import GrpcTransport, Transport
from node.network.wire import Chain, MalformedMessage
from node.signing.transport import TransportIdentity
from node.telemetry import Metrics

STOP_GRACE_S: Final = 1.0
CALLS_PER_MEMBER: Final = 32
CONNECTIONS_PER_MEMBER: Final = 4
CONNECTIONS_SPARE: Final = 64  # for whoever does not pass the handshake: 10 s each at most
TICK_S: Final = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a member's node stands towards this one."""

    member: int
    reads_us: bool
    is_read: bool


class Network:
    """See the module's text. Used from one event loop."""

    def __init__(
        self,
        *,
        own: int,
        peers: Sequence[Peer],
        identity: TransportIdentity,
        address: str,
        chain: Chain,
        hosted: Hosted,
        heard: Heard,
        metrics: Metrics,
        transport: Transport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`peers[i]` is member i, the own one included; `address` is where to listen.

        `transport` carries the calls (gRPC over TLS); `monotonic` gives the seconds of pauses and budgets.
        """
        states = [peer.certificate.state for peer in peers]
        register = CertificateRegister(peer.certificate for peer in peers)
        self._own = own
        self._address = address
        self._identity = identity
        self._register = register
        self._transport = transport or GrpcTransport()
        self._door = Doorkeeper(
            own=own,
            states=states,
            register=register,
            chain=chain,
            metrics=metrics,
            monotonic=monotonic,
        )
        self._fault: asyncio.Future[None] | None = None
        self._chain = chain
        self._service = PeerService(
            self._door, hosted, states, metrics, self._on_reader, self._fail
        )
        self._links = {
            peer.certificate.member: Link(
                peer,
                own=own,
                identity=identity,
                chain=chain,
                heard=heard,
                door=self._door,
                transport=self._transport,
            )
            for peer in peers
            if peer.certificate.member != own
        }
        self._server: Any = None

    async def start(self) -> int:
        """The port that answers from now on. Raises OSError naming the address."""
        self._fault = asyncio.get_running_loop().create_future()
        members = len(self._links) + 1
        server = self._transport.server(
            options=_options(members), maximum_concurrent_rpcs=CALLS_PER_MEMBER * members
        )
        server.add_generic_rpc_handlers((self._service.handler(),))
        credentials = self._register.server_credentials(self._identity, self._door.handshake_begun)
        try:
            port: int = server.add_secure_port(self._address, credentials)
        except RuntimeError as err:  # what grpcio raises when binding fails
            raise OSError(f"listen.peer {self._address}: cannot listen there: {err}") from err
        await server.start()
        self._server = server
        return port

    async def run(self) -> None:
        """Dial everybody and keep reading. Raises StorageError or AssertionError met in a handler."""
        assert self._fault is not None, "start before run"
        async with asyncio.TaskGroup() as tasks:
            for link in self._links.values():
                tasks.create_task(link.run(), name=f"link {link.member}")
            tasks.create_task(self._tick(), name="handshakes")
            await self._fault

    async def stop(self) -> None:
        """Leave the peers: their streams end, calls under way get a moment."""
        self._service.close()
        if self._server is not None:
            await self._server.stop(STOP_GRACE_S)

    # What the engine does with it

    def members(self) -> list[int]:
        """All members but this one, ascending."""
        return sorted(self._links)

    def is_connected(self, member: int) -> bool:
        """Whether this member can be asked now."""
        return self._links[member].connected

    def is_reader(self, member: int) -> bool:
        """Whether this member reads from us."""
        return member in self._service.readers

    def send(self, member: int, frame: bytes) -> None:
        """Queue a frame for this member, if it reads. Never waits: what does not fit is dropped."""
        self._service.send(member, frame)

    def broadcast(self, frame: bytes) -> None:
        for member in list(self._service.readers):
            self._service.send(member, frame)

    def charge(self, member: int, why: str, points: float) -> None:
        """Something of this member's that no honest one sends."""
        self._door.charge(member, why, points)

    @property
    def outbox_bytes(self) -> tuple[int, int]:
        """What waits for readers now, and the most that may."""
        return self._service.outbox_bytes

    def standings(self) -> list[Standing]:
        return [
            Standing(
                member=member,
                reads_us=member in self._service.readers,
                is_read=self._links[member].connected,
            )
            for member in self.members()
        ]

    # Asking; each raises Unanswered, and Rejected where the answer is none: for the caller to charge

    async def fetch(self, member: int, refs: tuple[Ref, ...], known_round: Round) -> wire.Fetched:
        request = wire.write_fetch(wire.Fetch(self._chain, refs, known_round))
        return await self._ask(member, "Fetch", request, wire.read_fetched)

    async def fetch_range(self, member: int, first: Round, last: Round) -> wire.Ranged:
        request = wire.write_range(wire.FetchRange(self._chain, first, last))
        return await self._ask(member, "FetchRange", request, wire.read_ranged)

    async def fetch_below(self, member: int, after_commit: CommitIndex) -> wire.Below:
        request = wire.write_below(wire.FetchBelow(self._chain, after_commit))
        return await self._ask(member, "FetchBelow", request, wire.read_below_answer)

    async def fetch_commits(
        self, member: int, first: CommitIndex, last: CommitIndex
    ) -> wire.Commits:
        request = wire.write_commits(wire.FetchCommits(self._chain, first, last))
        return await self._ask(member, "FetchCommits", request, wire.read_commits_answer)

    async def fetch_listed(self, member: int, refs: tuple[Ref, ...]) -> tuple[bytes, ...]:
        request = wire.write_listed(wire.FetchListed(self._chain, refs))
        return await self._ask(member, "FetchListed", request, wire.read_listed_answer)

    async def newest(self, member: int, author: ValidatorIndex) -> bytes | None:
        request = wire.write_newest(wire.GetNewest(self._chain, author))
        return await self._ask(member, "GetNewestBlock", request, wire.read_newest_answer)

    async def cosignatures(self, member: int, size: int) -> tuple[bytes, ...]:
        request = wire.write_cosignatures(wire.GetCosignatures(self._chain, size))
        return await self._ask(member, "GetCosignatures", request, wire.read_lines)

    async def _ask(self, member: int, method: str, request: bytes, read: Callable[[bytes], T]) -> T:
        data = await self._links[member].ask(method, request)
        try:
            return read(data)
        except MalformedMessage as err:
            raise Rejected(f"{method}: {err}", MALFORMED_POINTS) from None

    def _on_reader(self, member: int) -> None:
        self._links[member].poke()

    def _fail(self, err: BaseException) -> None:
        if self._fault is not None and not self._fault.done():
            self._fault.set_exception(err)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._door.count_failed_handshakes()


def _options(members: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", wire.REQUEST_BYTES_MAX),
        ("grpc.max_send_message_length", wire.MESSAGE_BYTES_MAX),
        ("grpc.max_metadata_size", 8 * 1024),
        ("grpc.absolute_max_metadata_size", 16 * 1024),
        ("grpc.max_concurrent_streams", CALLS_PER_MEMBER),
        (
            "grpc.max_allowed_incoming_connections",
            CONNECTIONS_PER_MEMBER * members + CONNECTIONS_SPARE,
        ),
        # A port already taken is an error, not a share of somebody else's connections.
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 3),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
    ]
