"""What carries calls between members: one listener, one channel for each member dialled.

Two methods are those of `grpc.aio`, so the room above speaks gRPC's own words; what is behind them is handed in with the
other parts of a node. gRPC over TLS is what ships (RULINGS R47).
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Final, Protocol

import grpc

from node.network.certificates import PeerCertificate, channel_credentials, channel_options
from node.signing.transport import TransportIdentity

SHOWN_S: Final = 5.0

Options = Sequence[tuple[str, Any]]


class Transport(Protocol):
    """Where this node listens and how it dials."""

    def server(self, *, options: Options, maximum_concurrent_rpcs: int) -> Any:
        """As `grpc.aio.server`: a server that is not started yet."""
        ...

    def channel(
        self, endpoint: str, own: TransportIdentity, peer: PeerCertificate, options: Options
    ) -> Any:
        """As `grpc.aio.secure_channel`, between these two certificates: dialled at the first call."""
        ...

    async def shown_certificate(self, endpoint: str) -> bytes | None:
        """The certificate, PEM, that whoever listens there shows; nothing is proven by it. None: there is none to be had."""
        ...


class GrpcTransport:
    """gRPC, with TLS."""

    def server(self, *, options: Options, maximum_concurrent_rpcs: int) -> grpc.aio.Server:
        return grpc.aio.server(options=options, maximum_concurrent_rpcs=maximum_concurrent_rpcs)

    def channel(
        self, endpoint: str, own: TransportIdentity, peer: PeerCertificate, options: Options
    ) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            endpoint,
            channel_credentials(own, peer),
            options=[*channel_options(peer), *options],
        )

    async def shown_certificate(self, endpoint: str) -> bytes | None:
        host, _, port = endpoint.rpartition(":")
        address = (host.strip("[]"), int(port))
        try:
            pem = await asyncio.to_thread(ssl.get_server_certificate, address, timeout=SHOWN_S)
        except OSError:
            return None
        return pem.encode()
