"""What carries calls between members: one listener, one channel for each member dialled.

The two methods are those of `grpc.aio`, so the room above speaks gRPC's own words; what is behind them is handed in with the
other parts of a node. gRPC over TLS is what ships (RULINGS R47).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import grpc

from node.network.certificates import PeerCertificate, channel_credentials, channel_options
from node.signing.transport import TransportIdentity

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
