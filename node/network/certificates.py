"""Who is at the other end of a connection between members (RULINGS R47).

TLS alone does not answer that: a certificate *issued by* a registered key also passes the handshake. So the server asks for
a client certificate, and each handler then compares the one shown with the register.
"""

import threading
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
    also: tuple[
        bytes, ...
    ] = ()  # others that are good at this time: old and new ones overlap (R48)

    @property
    def certificates(self) -> tuple[bytes, ...]:
        return (self.certificate_pem, *self.also)


class CertificateRegister:
    """The certificates of the members, by committee index. Never changes; a new register is a new object.

    Indexes from the committee's size on are guests: members who validate later, and read meanwhile (SPEC 14).
    """

    def __init__(self, peers: Iterable[PeerCertificate]) -> None:
        """Raises ValueError if two members share an index or a certificate, or if there are none."""
        self._peers: Sequence[PeerCertificate] = tuple(peers)
        if not self._peers:
            raise ValueError("register without members: nobody could connect")
        if len({peer.member for peer in self._peers}) != len(self._peers):
            raise ValueError("two members of the register have one index")
        shown = [pem for peer in self._peers for pem in set(peer.certificates)]
        if len(set(shown)) != len(shown):
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
            if any(same_certificate(shown[0], pem) for pem in peer.certificates):
                if len(self._known) < _SPELLINGS_PER_MEMBER * len(self._peers):
                    self._known[shown[0]] = peer.member
                return peer.member
        raise UnknownPeer("the caller's certificate is not in the register")


class ServerCertificates:
    """What our side of a handshake is made with: the own certificate, and whose are let in. Renewed without a restart (R48)."""

    def __init__(self, on_handshake: Callable[[], None] = lambda: None) -> None:
        """`on_handshake` is called as each handshake begins, from a thread of gRPC's."""
        self._on_handshake = on_handshake
        self._shown: tuple[TransportIdentity, bytes] | None = None
        self._is_fresh = False  # whether `_shown` is news to gRPC, which asks from its threads
        self._lock = threading.Lock()

    def show(self, own: TransportIdentity, certificates: Iterable[bytes]) -> None:
        """From the next handshake on; connections made before stay."""
        shown = (own, b"".join(sorted(set(certificates))))
        with self._lock:
            if shown != self._shown:
                self._shown, self._is_fresh = shown, True

    def credentials(self) -> grpc.ServerCredentials:
        """For the peers' listener: a client certificate is required, and registered ones are its only roots."""
        first = self._take()
        assert first is not None, "show before credentials"

        def renewed() -> grpc.ServerCertificateConfiguration | None:
            # None: as before. To return one configuration object again and again makes grpcio 1.85 release it each time a
            # handshake fails, and abort the process (measured: a few hundred connections of noise). Each is returned once.
            self._on_handshake()
            return self._take()

        return grpc.dynamic_ssl_server_credentials(
            first,
            renewed,  # type: ignore[arg-type] # the stubs leave out None, which grpcio documents
            require_client_authentication=True,
        )

    def _take(self) -> grpc.ServerCertificateConfiguration | None:
        with self._lock:
            if not self._is_fresh or self._shown is None:
                return None
            self._is_fresh = False
            own, roots = self._shown
        return grpc.ssl_server_certificate_configuration(
            [(own.private_key_pem, own.certificate_pem)], root_certificates=roots
        )


def channel_credentials(own: TransportIdentity, peer: PeerCertificate) -> grpc.ChannelCredentials:
    """For dialling one peer: its own certificates are the only roots."""
    return grpc.ssl_channel_credentials(
        root_certificates=b"".join(peer.certificates),
        private_key=own.private_key_pem,
        certificate_chain=own.certificate_pem,
    )


def channel_options(peer: PeerCertificate) -> tuple[tuple[str, str], ...]:
    """The name to expect instead of the address dialled: addresses change, the certificate's one name does not."""
    return (("grpc.ssl_target_name_override", server_name(peer.state)),)
