"""Who is at the other end of a connection between members (RULINGS R47).

TLS alone does not answer that: a certificate *issued by* a registered key also passes the handshake. So the server asks for
a client certificate, and each handler then compares the one shown with the register.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import grpc

from node.signing.transport import TransportIdentity, same_certificate, server_name

_SPELLINGS_PER_MEMBER = 4  # TLS libraries wrap PEM lines differently; who connects uses one
SHOWN_CERTIFICATE_KEY = "x509_pem_cert"  # gRPC's name for the peer's certificate in an auth context


class UnknownPeer(Exception):
    """The caller shows no certificate, several, or none that is registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCertificate:
    """One line of the register: a member's index in the committee, its state, its whole certificate."""

    member: int
    state: str
    certificate_pem: bytes


class CertificateRegister:
    """The certificates of the members, by committee index. Never changes; a new register is a new object."""

    def __init__(self, peers: Iterable[PeerCertificate]) -> None:
        """Raises ValueError if two members share an index or a certificate, or if there are none."""
        self._peers: Sequence[PeerCertificate] = tuple(peers)
        if not self._peers:
            raise ValueError("register without members: nobody could connect")
        if len({peer.member for peer in self._peers}) != len(self._peers):
            raise ValueError("two members of the register have one index")
        if len({peer.certificate_pem for peer in self._peers}) != len(self._peers):
            raise ValueError("two members of the register have one certificate")
        # PEM texts shown before and found registered: parsing 200 certificates for each call would cost 20 ms.
        self._known: dict[bytes, int] = {}

    def member_of(self, auth_context: Mapping[str, Iterable[bytes]]) -> int:
        """The index of the member at the other end of a call, from `ServicerContext.auth_context()`.

        Raises:
            UnknownPeer: not exactly one certificate, or not a registered one.
        """
        shown = tuple(auth_context.get(SHOWN_CERTIFICATE_KEY, ()))
        if len(shown) != 1:
            raise UnknownPeer(f"the caller shows {len(shown)} certificates: want one")
        if (known := self._known.get(shown[0])) is not None:
            return known
        for peer in self._peers:
            if same_certificate(shown[0], peer.certificate_pem):
                if len(self._known) < _SPELLINGS_PER_MEMBER * len(self._peers):
                    self._known[shown[0]] = peer.member
                return peer.member
        raise UnknownPeer("the caller's certificate is not in the register")

    def server_credentials(
        self, own: TransportIdentity, on_handshake: Callable[[], None] = lambda: None
    ) -> grpc.ServerCredentials:
        """For the peers' listener: a client certificate is required, and registered ones are its only roots.

        `on_handshake` is called as each handshake begins, from a thread of gRPC's.
        """
        configuration = grpc.ssl_server_certificate_configuration(
            [(own.private_key_pem, own.certificate_pem)],
            root_certificates=b"".join(peer.certificate_pem for peer in self._peers),
        )

        def unchanged() -> None:
            # None: as before. To return one configuration object again and again makes grpcio 1.85 release it each time a
            # handshake fails, and abort the process (measured: a few hundred connections of noise).
            on_handshake()

        return grpc.dynamic_ssl_server_credentials(
            configuration,
            unchanged,  # type: ignore[arg-type] # the stubs leave out None, which grpcio documents
            require_client_authentication=True,
        )


def channel_credentials(own: TransportIdentity, peer: PeerCertificate) -> grpc.ChannelCredentials:
    """For dialling one peer: its own certificate is the only root."""
    return grpc.ssl_channel_credentials(
        root_certificates=peer.certificate_pem,
        private_key=own.private_key_pem,
        certificate_chain=own.certificate_pem,
    )


def channel_options(peer: PeerCertificate) -> tuple[tuple[str, str], ...]:
    """The name to expect instead of the address dialled: addresses change, the certificate's one name does not."""
    return (("grpc.ssl_target_name_override", server_name(peer.state)),)
