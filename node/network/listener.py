"""The one port on which a node answers its peers, whatever epoch they speak of (SPEC 14.5, RULINGS R47, R48).

    call ──► TLS: some registered certificate ──► the epoch that the request names ──► that epoch's door and service
                                                        │
                                                        └─ an epoch that is over: answered from the store (`past`)

Each handshake uses the newest certificates: a change of the register needs no restart, and connections made before it stay. What
a caller may ask is the door's to say: TLS keeps out only those who have no registered certificate at all.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import grpc

from node.network import wire
from node.network.certificates import ServerCertificates
from node.network.doorkeeper import Context, Handshakes
from node.network.service import SERVICE, PeerService
from node.network.transport import Transport
from node.signing.transport import TransportIdentity

STOP_GRACE_S: Final = 1.0
TICK_S: Final = 1.0
CALLS_PER_MEMBER: Final = 32
CONNECTIONS_PER_MEMBER: Final = 4
CONNECTIONS_SPARE: Final = 64  # for whoever does not pass the handshake: 10 s each at most
MEMBERS_SPARE: Final = 16  # who may join before the next restart without sharing the others' room
PAST_MAX: Final = (
    4  # epochs that are over and still have a door: who is far behind walks them one by one
)


class Listener:
    """See the module's text. `attach` at least one epoch, then `start`."""

    def __init__(self, address: str, transport: Transport, handshakes: Handshakes) -> None:
        self._address = address
        self._transport = transport
        self._services: dict[int, PeerService] = {}
        self._past: OrderedDict[int, PeerService] = OrderedDict()
        self._open_past: Callable[[int], PeerService | None] = lambda _: None
        self.handshakes = handshakes
        self._certificates = ServerCertificates(handshakes.begun)
        self._server: Any = None

    def attach(self, epoch: int, service: PeerService) -> None:
        """Requests that name this epoch are this service's."""
        self._services[epoch] = service
        self._past.pop(epoch, None)

    def detach(self, epoch: int) -> None:
        """The epoch is over, and nobody follows it live any more."""
        self._services.pop(epoch, None)

    def on_past(self, open_past: Callable[[int], PeerService | None]) -> None:
        """Who answers for epochs that are over and not attached; None: no such epoch."""
        self._open_past = open_past

    def show(self, identity: TransportIdentity, certificates: Iterable[bytes]) -> None:
        """From the next handshake on: our own certificate, and whose are let in.

        What answers for epochs that are over knows the certificates of when it was opened: it is opened anew, or who was declared
        since would be a stranger there, and never come through those epochs.
        """
        self._certificates.show(identity, certificates)
        for service in self._past.values():
            service.close()
        self._past.clear()

    async def start(self, members: int) -> int:
        """The port that answers from now on. Raises OSError naming the address."""
        assert self._services, "attach and show before start"
        members += MEMBERS_SPARE
        server = self._transport.server(
            options=_options(members), maximum_concurrent_rpcs=CALLS_PER_MEMBER * members
        )
        server.add_generic_rpc_handlers((self._handler(),))
        try:
            port: int = server.add_secure_port(self._address, self._certificates.credentials())
        except RuntimeError as err:  # what grpcio raises when binding fails
            raise OSError(f"listen.peer {self._address}: cannot listen there: {err}") from err
        await server.start()
        self._server = server
        return port

    async def count_handshakes(self) -> None:
        """Until cancelled: gRPC does not tell of those that fail."""
        while True:
            await asyncio.sleep(TICK_S)
            self.handshakes.count_failed()

    async def stop(self) -> None:
        """Calls under way get a moment."""
        for service in (*self._services.values(), *self._past.values()):
            service.close()
        if self._server is not None:
            await self._server.stop(STOP_GRACE_S)

    # Calls

    def _handler(self) -> grpc.GenericRpcHandler:
        """For `grpc.aio.Server`. Requests and answers are bytes: `wire` reads and writes them."""
        names: Sequence[str] = list(next(iter(self._services.values())).unary)
        methods: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(self._unary(name)) for name in names
        }
        subscribe: Any = self._subscribe
        methods["Subscribe"] = grpc.unary_stream_rpc_method_handler(subscribe)
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _unary(self, name: str) -> Any:
        async def handle(data: bytes, context: Context) -> bytes:
            return await self._service_for(data).unary[name](data, context)

        return handle

    async def _subscribe(self, data: bytes, context: Context) -> None:
        await self._service_for(data).subscribe(data, context)

    def _service_for(self, data: bytes) -> PeerService:
        """Of the epoch that the request names; the newest one says what is wrong with any other."""
        newest = max(self._services)
        epoch = wire.peek_epoch(data)
        if epoch is None or epoch > newest:
            return self._services[newest]
        service = self._services.get(epoch) or self._past.get(epoch)
        if service is not None:
            return service
        opened = self._open_past(epoch)
        if opened is None:
            return self._services[newest]
        self._past[epoch] = opened
        while len(self._past) > PAST_MAX:
            _, old = self._past.popitem(last=False)
            old.close()
        return opened


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
