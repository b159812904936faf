"""Who may connect, over real TLS on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from foedus.v1 import peer_pb2 as pb
from foedus.v1 import peer_pb2_grpc as rpc
from node.network.certificates import (
    CertificateRegister,
    PeerCertificate,
    ServerCertificates,
    UnknownPeer,
    channel_credentials,
    channel_options,
)
from node.signing.transport import TransportIdentity, generate_transport

STATES = ("ast", "bor", "cyr", "dal")
IDENTITIES = tuple(
    generate_transport(state, scalar_seed=bytes([i + 1]) * 32) for i, state in enumerate(STATES)
)
PEERS = tuple(
    PeerCertificate(member=i, state=state, certificate_pem=IDENTITIES[i].certificate_pem)
    for i, state in enumerate(STATES)
)
STRANGER = generate_transport("ast", scalar_seed=bytes([9]) * 32)


Context = grpc.aio.ServicerContext[Any, Any]


def names_callers(register: CertificateRegister) -> grpc.GenericRpcHandler:
    """A fake of the peer service: one method, which answers with the caller's index as one byte."""

    async def answer(
        _request: pb.GetNewestBlockRequest, context: Context
    ) -> pb.GetNewestBlockResponse:
        try:
            member = register.member_of(context.auth_context())
        except UnknownPeer as err:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(err))
        return pb.GetNewestBlockResponse(block=bytes([member]))

    method = grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=pb.GetNewestBlockRequest.FromString,
        response_serializer=pb.GetNewestBlockResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler("foedus.v1.PeerService", {"GetNewestBlock": method})


@asynccontextmanager
async def served(
    roots: tuple[PeerCertificate, ...], register: CertificateRegister
) -> AsyncIterator[int]:
    """Member 0 listens; TLS lets `roots` in, the handler only `register`."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((names_callers(register),))
    certificates = ServerCertificates()
    certificates.show(IDENTITIES[0], [peer.certificate_pem for peer in roots])
    credentials = certificates.credentials()
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def ask(port: int, own: TransportIdentity, peer: PeerCertificate) -> bytes:
    async with grpc.aio.secure_channel(
        f"127.0.0.1:{port}", channel_credentials(own, peer), options=channel_options(peer)
    ) as channel:
        answer = await rpc.PeerServiceStub(channel).GetNewestBlock(
            pb.GetNewestBlockRequest(), timeout=5
        )
        return bytes(answer.block)


async def test_each_member_is_known_by_its_certificate() -> None:
    async with served(PEERS, CertificateRegister(PEERS)) as port:
        for member in (1, 2, 3):
            assert await ask(port, IDENTITIES[member], PEERS[0]) == bytes([member])


async def test_a_stranger_with_a_members_name_fails_the_handshake() -> None:
    async with served(PEERS, CertificateRegister(PEERS)) as port:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(port, STRANGER, PEERS[0])
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_passes_tls_but_is_not_registered_is_denied() -> None:
    async with served(PEERS, CertificateRegister(PEERS[:3])) as port:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(port, IDENTITIES[3], PEERS[0])
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_server_with_another_certificate_is_not_spoken_to() -> None:
    async with served(PEERS, CertificateRegister(PEERS)) as port:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(port, IDENTITIES[1], PEERS[2])
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("shown", [(), (b"not PEM",), (PEERS[1].certificate_pem,) * 2])
def test_none_malformed_or_several_certificates_are_no_member(shown: tuple[bytes, ...]) -> None:
    with pytest.raises(UnknownPeer):
        CertificateRegister(PEERS).member_of({"x509_pem_cert": shown})


@pytest.mark.parametrize("peers", [(), (PEERS[0], PEERS[0])])
def test_a_register_with_nobody_or_doubles_is_refused(peers: tuple[PeerCertificate, ...]) -> None:
    with pytest.raises(ValueError, match="register"):
        CertificateRegister(peers)
