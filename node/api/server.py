"""The client gRPC server: TLS with the node's registered certificate, anyone may connect (RULINGS R49)."""

import threading
from collections.abc import Callable
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from foedus.v1 import client_pb2 as pb
from foedus.v1 import client_pb2_grpc as rpc
from foedus.v1 import law_pb2, law_pb2_grpc
from node.api.guard import Guard
from node.api.law_service import LawService
from node.api.node import ServedNode
from node.api.service import LedgerService
from node.settings import LimitSettings
from node.signing.transport import TransportIdentity
from node.telemetry import Metrics

REQUEST_BYTES_MAX: Final = (
    256 * 1024 + 4096
)  # times `client_calls` bounds what requests hold: 64 MiB
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024  # a genesis document of a thousand members
METADATA_BYTES_MAX: Final = 8 * 1024
CALLS_SPARE: Final = 64  # beyond `client_calls`: refused by the guard, with details
STOP_GRACE_S: Final = 2.0
_LAW_SERVICE: Final = law_pb2.DESCRIPTOR.services_by_name["LawService"].full_name
_SERVICE: Final = pb.DESCRIPTOR.services_by_name["LedgerService"].full_name


class ClientServer:
    """Serves one node to clients from `start` to `stop`."""

    def __init__(
        self,
        node: ServedNode,
        address: str,
        identity: TransportIdentity,
        limits: LimitSettings,
        metrics: Metrics,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        guard = Guard(
            calls_max=limits.client_calls,
            streams_max=limits.watchers,
            deadline_s=limits.deadline_s,
            metrics=metrics,
            on_fatal=on_fatal,
        )
        self._address = address
        self._identity = identity
        self._is_fresh = False  # whether that is news to gRPC
        self._lock = threading.Lock()
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(
            interceptors=(guard,),
            options=_options(limits),
            maximum_concurrent_rpcs=limits.client_calls + CALLS_SPARE,
        )
        service = LedgerService(node, watch_queue=limits.watch_queue)
        rpc.add_LedgerServiceServicer_to_server(service, self._server)
        law_pb2_grpc.add_LawServiceServicer_to_server(LawService(node), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (_SERVICE, _LAW_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    def show(self, identity: TransportIdentity) -> None:
        """From the next handshake on: the certificate of another seat (RULINGS R48)."""
        with self._lock:
            if identity != self._identity:
                self._identity, self._is_fresh = identity, True

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks, from its threads, as each handshake begins; each configuration is returned once."""
        with self._lock:
            if not self._is_fresh:
                return None
            self._is_fresh = False
            return _shown(self._identity)

    async def start(self) -> int:
        """The port that answers from now on. Raises OSError if the address cannot be had."""
        credentials = grpc.dynamic_ssl_server_credentials(
            _shown(self._identity),
            self._renewed,  # type: ignore[arg-type] # the stubs leave out None, which grpcio documents
            require_client_authentication=False,
        )
        try:
            port = self._server.add_secure_port(self._address, credentials)
        except RuntimeError as err:  # what grpcio raises when binding fails
            raise OSError(f"listen.client {self._address}: cannot listen there: {err}") from err
        await self._server.start()
        for name in ("", _SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return port

    async def stop(self) -> None:
        """Tell health checks, refuse new calls, give those under way a moment."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(STOP_GRACE_S)


def _options(limits: LimitSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
        ("grpc.max_send_message_length", ANSWER_BYTES_MAX),
        ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES_MAX),
        ("grpc.max_concurrent_streams", limits.calls_per_connection),
        ("grpc.max_allowed_incoming_connections", limits.client_connections),
        # A port already taken is an error, not a share of somebody else's connections.
        ("grpc.so_reuseport", 0),
        # Idle connections hold memory; pings of more than one in ten seconds are a flood.
        ("grpc.max_connection_idle_ms", 300_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 3),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]


def _shown(identity: TransportIdentity) -> grpc.ServerCertificateConfiguration:
    pair = (identity.private_key_pem, identity.certificate_pem)
    return grpc.ssl_server_certificate_configuration([pair])
