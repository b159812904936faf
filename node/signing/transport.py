"""The transport identity of a node: one self-signed ECDSA P-256 certificate, held whole in the member register.

No certificate authority: a peer is who shows the registered certificate, byte for byte (RULINGS R47). P-256 because gRPC
refuses Ed25519 certificates; 2020 to 9999 because expiry is the register's business, not the certificate's.
"""

import datetime as dt
import ssl
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.signing.errors import BadCertificate

CERTIFICATE_PEM_BYTES_MAX = 4_096
_NOT_BEFORE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_NOT_AFTER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
# What the library raises for bytes that are no certificate: no common base but Exception. Strangers choose the bytes.
_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
)
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportIdentity:
    """A certificate and the private key behind it, both PEM."""

    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False, compare=False)


def server_name(state: str) -> str:
    """The one name in a node's certificate, and what a client overrides the target name with."""
    return f"{state.lower()}.foedus"


def generate_transport(
    state: str, *, scalar_seed: bytes | None = None, later: bool = False
) -> TransportIdentity:
    """A fresh identity; `scalar_seed` (32 bytes) fixes it for tests and demonstrations. `later`: the state has had another."""
    if scalar_seed is None:
        private_key = ec.generate_private_key(ec.SECP256R1())
    else:
        scalar = int.from_bytes(scalar_seed, "big") % (_P256_ORDER - 1) + 1
        private_key = ec.derive_private_key(scalar, ec.SECP256R1())
    return TransportIdentity(
        certificate_pem=_self_signed(
            private_key, state, fixed=scalar_seed is not None, later=later
        ),
        private_key_pem=private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),  # the key file around it is encrypted
        ),
    )


def _names(state: str, public_key: ec.EllipticCurvePublicKey) -> tuple[x509.Name, x509.Name]:
    """The subjects that a certificate of this state may have: a first one's, and a later one's, which is no other's.

    Who trusts several certificates looks up the issuer of one by its name alone, and takes the first it finds: two of one name,
    as an old and a new one of one state, or one that borrows another state's, shut somebody out.
    """
    common = x509.NameAttribute(NameOID.COMMON_NAME, server_name(state))
    key = x509.SubjectKeyIdentifier.from_public_key(public_key).digest.hex()
    return x509.Name([common]), x509.Name([common, x509.NameAttribute(NameOID.SERIAL_NUMBER, key)])


def _self_signed(
    private_key: ec.EllipticCurvePrivateKey, state: str, *, fixed: bool, later: bool
) -> bytes:
    public_key = private_key.public_key()
    name = _names(state, public_key)[later]
    serial = int.from_bytes(x509.SubjectKeyIdentifier.from_public_key(public_key).digest, "big")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(serial >> 2)  # positive and at most 20 bytes
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(server_name(state))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .sign(private_key, hashes.SHA256(), ecdsa_deterministic=fixed or None)
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def check_certificate(pem: bytes, state: str) -> None:
    """Raises BadCertificate unless `pem` is one certificate as R47 wants it for this state, in canonical PEM."""
    if len(pem) > CERTIFICATE_PEM_BYTES_MAX:
        raise BadCertificate(
            f"certificate of {len(pem)} bytes: at most {CERTIFICATE_PEM_BYTES_MAX}"
        )
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        public_key, subject = certificate.public_key(), certificate.subject
    except _UNREADABLE as err:
        raise BadCertificate(f"certificate of {state}: {err}") from None
    if certificate.public_bytes(serialization.Encoding.PEM) != pem:
        raise BadCertificate(f"certificate of {state}: not canonical PEM of one certificate")
    if list(names) != [x509.DNSName(server_name(state))]:
        raise BadCertificate(f"certificate of {state}: its one name must be {server_name(state)}")
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(
        public_key.curve, ec.SECP256R1
    ):
        raise BadCertificate(f"certificate of {state}: want an ECDSA P-256 key")
    if subject not in _names(state, public_key):
        raise BadCertificate(
            f"certificate of {state}: its subject must be CN={server_name(state)}, and may have the key's identifier"
        )
    if (certificate.not_valid_before_utc, certificate.not_valid_after_utc) != (
        _NOT_BEFORE,
        _NOT_AFTER,
    ):
        raise BadCertificate(f"certificate of {state}: want validity from 2020 to 9999")
    try:
        certificate.verify_directly_issued_by(certificate)
    except (*_UNREADABLE, TypeError, InvalidSignature) as err:
        raise BadCertificate(f"certificate of {state}: not self-signed: {err}") from None


def encrypting() -> ssl.SSLContext:
    """For a client that takes any certificate: who answers is judged by what it signed, and nothing else of it is believed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def same_certificate(shown_pem: bytes, registered_pem: bytes) -> bool:
    """Does a peer show the registered certificate? Compared as DER: TLS libraries wrap PEM lines differently.

    Comparing what the certificate *is* would not do: one issued by a registered key also passes TLS (R47, measured).
    """
    try:
        return x509.load_pem_x509_certificate(shown_pem) == x509.load_pem_x509_certificate(
            registered_pem
        )
    except _UNREADABLE:
        return False
