import datetime as dt
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nacl import bindings

from node.signing.errors import BadCertificate, KeyReused, WeakKey
from node.signing.keys import (
    Role,
    SigningKey,
    check_distinct,
    check_public_key,
    generate_agency_keys,
    generate_node_keys,
    split_seed,
)
from node.signing.transport import (
    check_certificate,
    generate_transport,
    same_certificate,
    server_name,
)
from node.signing.verify import verify_ed25519

SEED = sha256(b"a seed for tests").digest()
L = 2**252 + 27742317777372353535851937790883648493


def test_a_key_shows_no_secret() -> None:
    keys = generate_node_keys("US", seed=SEED)
    agency = generate_agency_keys("US", seed=SEED)
    text = repr(keys) + repr(agency) + str(keys.block)
    for key in (keys.block, keys.log, keys.cosigner, agency.author, agency.vote):
        assert key is not None
        assert key.seed.hex() not in text
        assert repr(key.seed)[2:-1] not in text
    assert "PRIVATE KEY" not in text


def test_every_role_has_a_key_of_its_own() -> None:
    keys, agency = generate_node_keys("US", seed=SEED), generate_agency_keys("US", seed=SEED)
    assert agency.vote is not None
    made = {
        key.role: key.public
        for key in (keys.block, keys.log, keys.cosigner, agency.author, agency.vote)
    }
    assert len(set(made.values())) == 5
    check_distinct({role.value: public for role, public in made.items()})
    assert generate_node_keys("US", seed=SEED) == keys
    assert generate_node_keys("US").block != keys.block


def test_one_key_in_two_roles_is_refused() -> None:
    public = SigningKey.generate(Role.AUTHOR).public
    with pytest.raises(KeyReused, match="vote and author"):
        check_distinct({"author": public, "vote": public})


def test_only_an_agency_votes() -> None:
    assert generate_agency_keys("acme", with_vote=False).vote is None


def test_seeds_of_roles_are_labelled() -> None:
    assert len({split_seed(SEED, role) for role in Role}) == len(Role)


def test_signatures_verify_and_kids_are_of_the_public_key() -> None:
    key = SigningKey.generate(Role.BLOCK)
    assert key.kid == sha256(key.public).digest()[:8]
    assert verify_ed25519(key.public, b"m", key.sign(b"m"))
    assert key.sign(b"m") == key.sign(b"m")


# Points of small order, and spellings that no honest encoder writes (libsodium's own blocklist and RFC 8032's rule).
WEAK = {
    "neutral": bytes([1]) + bytes(31),
    "zero": bytes(32),
    "order 2": bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    "order 8": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "order 8, sign": bytes.fromhex(
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"
    ),
    "y = p, not canonical": bytes.fromhex(
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
    ),
    "neutral, not canonical": bytes.fromhex(
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
    ),
    "not on the curve": bytes([2]) + bytes(31),
    "short": bytes(31),
    "long": bytes(33),
}


@pytest.mark.parametrize("name", WEAK)
def test_weak_public_keys_are_refused(name: str) -> None:
    with pytest.raises(WeakKey):
        check_public_key(WEAK[name])
    assert not verify_ed25519(WEAK[name], b"m", WEAK[name][:32].ljust(32, b"\0") + bytes(32))


def test_a_key_of_mixed_order_is_refused_though_signatures_under_it_verify() -> None:
    """It is no weak point by libsodium's verifying rule, and yet a member with two keys for one secret."""
    secret = SigningKey.from_seed(Role.AUTHOR, SEED)
    torsion = WEAK["order 8"]
    mixed = bindings.crypto_core_ed25519_add(secret.public, torsion)
    with pytest.raises(WeakKey):
        check_public_key(mixed, "author key")
    check_public_key(secret.public)


def test_a_malleable_signature_is_refused() -> None:
    key = SigningKey.from_seed(Role.AUTHOR, SEED)
    signature = key.sign(b"m")
    s = int.from_bytes(signature[32:], "little")
    assert not verify_ed25519(key.public, b"m", signature[:32] + (s + L).to_bytes(32, "little"))
    for bad in (b"", signature[:-1], signature + b"\0"):
        assert not verify_ed25519(key.public, b"m", bad)
    for other in (key.public[:-1], key.public + b"\0"):
        assert not verify_ed25519(other, b"m", signature)


def test_a_transport_certificate_is_what_the_register_wants() -> None:
    made = generate_transport("US")
    check_certificate(made.certificate_pem, "US")
    assert server_name("US") == "us.foedus"
    with pytest.raises(BadCertificate, match=r"cn\.foedus"):
        check_certificate(made.certificate_pem, "CN")
    for bad in (
        b"",
        b"no pem",
        made.certificate_pem[:-1],
        made.certificate_pem + made.certificate_pem,
        b"# comment\n" + made.certificate_pem,
        made.private_key_pem,
        b"x" * 4_097,
    ):
        with pytest.raises(BadCertificate):
            check_certificate(bad, "US")


def test_a_later_certificate_has_a_name_of_its_own_and_nobody_borrows_a_name() -> None:
    """Among several trusted certificates an issuer is looked up by name: of two with one name the wrong one may be found."""
    first, later, other = (generate_transport("US", later=number > 0) for number in range(3))
    for made in (first, later, other):
        check_certificate(made.certificate_pem, "US")
    names = {
        x509.load_pem_x509_certificate(made.certificate_pem).subject.rfc4514_string()
        for made in (first, later, other)
    }
    assert len(names) == 3
    key = ec.generate_private_key(ec.SECP256R1())
    borrowed = x509.load_pem_x509_certificate(generate_transport("CN").certificate_pem).subject
    forged = (
        x509.CertificateBuilder()
        .subject_name(borrowed)
        .issuer_name(borrowed)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("us.foedus")]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    with pytest.raises(BadCertificate, match="its subject must be"):
        check_certificate(forged, "US")


def test_certificates_of_a_seed_are_the_same_and_others_differ() -> None:
    one, two = (
        generate_transport("US", scalar_seed=SEED),
        generate_transport("US", scalar_seed=SEED),
    )
    other = generate_transport("US")
    assert one.certificate_pem == two.certificate_pem
    assert same_certificate(one.certificate_pem, two.certificate_pem)
    assert not same_certificate(other.certificate_pem, one.certificate_pem)
    assert not same_certificate(b"rubbish", one.certificate_pem)


def test_a_certificate_issued_by_a_registered_key_is_not_that_certificate() -> None:
    """TLS accepts it (measured, RULINGS R47); the comparison is what refuses it."""
    registered = generate_transport("US")
    issuer_key = serialization.load_pem_private_key(registered.private_key_pem, None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    issuer = x509.load_pem_x509_certificate(registered.certificate_pem)
    issued = (
        x509.CertificateBuilder()
        .subject_name(issuer.subject)
        .issuer_name(issuer.subject)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(issuer.serial_number)
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("us.foedus")]), critical=False)
        .sign(issuer_key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    assert not same_certificate(issued, registered.certificate_pem)
    with pytest.raises(BadCertificate, match="self-signed"):
        check_certificate(issued, "US")


def test_any_flipped_bit_of_a_certificate_has_one_error() -> None:
    """The library has five kinds of errors for bytes that are no certificate; ours is one."""
    pem = generate_transport("US", scalar_seed=bytes(32)).certificate_pem
    for at in range(len(pem)):
        altered = bytearray(pem)
        altered[at] ^= 1 << at % 8
        with pytest.raises(BadCertificate):
            check_certificate(bytes(altered), "US")
