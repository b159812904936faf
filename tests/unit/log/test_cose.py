from hashlib import sha256

import cbor2
import pytest

from node.log import cbor, cose, merkle
from node.log.cose import Header
from node.log.errors import MalformedProof, MalformedStatement
from node.signing import statements
from node.signing.keys import Role
from node.signing.verify import verify_ed25519
from tests.unit.log import world

KEY = world.key(Role.AUTHOR, "US")
HEADER = Header(
    alg=-19, content_type=cose.ENTRY_TYPE, kid=KEY.kid, issuer="US", subject="run/run-1"
)
PAYLOAD = b"payload" * 50


def entry(protected: bytes | None = None, payload: bytes = PAYLOAD) -> bytes:
    protected = cose.encode_header(HEADER) if protected is None else protected
    signature = KEY.sign(cose.sig_structure(protected, payload))
    return cose.encode_statement(protected, payload, signature)


def test_an_entry_is_the_cbor_that_a_library_writes() -> None:
    parsed = cose.parse_entry(entry())
    protected = cbor2.dumps({1: -19, 3: cose.ENTRY_TYPE, 4: KEY.kid, 15: {1: "US", 2: "run/run-1"}})
    assert parsed.protected == protected
    whole = cbor2.CBORTag(18, [protected, {}, PAYLOAD, parsed.signature])
    assert entry() == cbor2.dumps(whole)
    assert parsed.to_be_signed() == cbor2.dumps(["Signature1", protected, b"", PAYLOAD])
    assert parsed.header == HEADER
    assert verify_ed25519(KEY.public, parsed.to_be_signed(), parsed.signature)


@pytest.mark.parametrize("length", [0, 1, 23, 24, 255, 256, 65_000])
def test_payloads_of_every_length_form(length: int) -> None:
    data = entry(payload=b"x" * length)
    assert cose.parse_entry(data).payload == b"x" * length
    assert cbor2.loads(data).value[2] == b"x" * length


@pytest.mark.measure("M53")
def test_the_largest_entry_and_one_more() -> None:
    front = len(entry(payload=b"x" * 300)) - 300
    largest = entry(payload=b"x" * (65_535 - front))
    assert len(largest) == 65_535
    assert cose.parse_entry(largest)
    with pytest.raises(MalformedStatement):
        cose.parse_entry(entry(payload=b"x" * (65_536 - front)))


def test_both_algorithms_are_read() -> None:
    old = cose.encode_header(Header(alg=-8, content_type="t", kid=KEY.kid, issuer="i", subject="s"))
    assert cose.parse_statement(entry(old)).header.alg == -8
    with pytest.raises(MalformedStatement):
        cose.parse_entry(entry(old))  # content type t is no entry's


BASE = {1: -19, 3: cose.ENTRY_TYPE, 4: bytes(8), 15: {1: "US", 2: "s"}}


@pytest.mark.parametrize(
    "header",
    [
        {1: -19},
        {key: value for key, value in BASE.items() if key != 4},
        BASE | {16: 0},
        BASE | {2: [16], 16: 0},
        BASE | {2: []},
        BASE | {1: -7},
        BASE | {1: True},
        BASE | {1: "Ed25519"},
        BASE | {3: 60},
        BASE | {3: b"bytes"},
        BASE | {4: bytes(7)},
        BASE | {4: "12345678"},
        BASE | {15: {1: "US"}},
        BASE | {15: {1: "US", 2: "s", 3: "aud"}},
        BASE | {15: {1: "US", 2: 5}},
        BASE | {15: {1: ["US"], 2: "s"}},
        BASE | {15: {"1": "US", "2": "s"}},
        BASE | {15: []},
        BASE | {15: {1: "x" * 600, 2: "s"}},
        [],
        5,
    ],
)
def test_other_headers_are_refused(header: object) -> None:
    with pytest.raises(MalformedStatement):
        cose.parse_statement(entry(cbor2.dumps(header)))


GOOD = cose.encode_header(HEADER)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"\x01\x32", b"\x01\x38\x12", "alg in a longer head"),
        (b"\xa4\x01\x32", b"\xa5\x01\x32\x01\x32", "doubled key"),
        (b"\xa4\x01\x32", b"\xbf\x01\x32", "indefinite map"),
        (b"\x01\x32", b"\x01\xc1\x32", "tag in the header"),
        (b"\x0f\xa2\x01\x62US\x02", b"\x0f\xa2\x02\x62US\x01", "claims out of order"),
    ],
)
def test_other_spellings_of_a_header_are_refused(old: bytes, new: bytes, why: str) -> None:
    assert old in GOOD
    with pytest.raises(MalformedStatement):
        cose.parse_statement(entry(GOOD.replace(old, new, 1)))


def test_other_spellings_around_the_header_are_refused() -> None:
    good = entry()
    start = good.index(b"\xa0\x59")  # unprotected header, payload
    for bad in (
        good[1:],
        b"\xd8\x12" + good[1:],
        b"\xd2\xd2" + good[1:],
        b"\xd2\x9f" + good[2:] + b"\xff",
        b"\xd2\x85" + good[2:] + b"\x00",
        good + b"\x00",
        good[:-1],
        good[:2] + b"\x59\x00" + good[3:],
        good[:start] + b"\xa1\x04\x41\x00" + good[start + 1 :],
        good[:start] + b"\xf6" + good[start + 1 :],
        good[: start + 1] + b"\x5a\x00\x00" + good[start + 2 :],
        good.replace(b"\x58\x40", b"\x59\x00\x40"),
        good[:start],
        b"",
        b"\xd2",
        b"\xd2\x84",
        b"\xd2\x84\x58",
        b"\xd2\x84\x40\xa0",
    ):
        with pytest.raises(MalformedStatement):
            cose.parse_statement(bad)


def test_endorsements_are_detached_and_cover_the_content_alone() -> None:
    made = statements.sign_endorsement(
        KEY, endorser="US", kind="run", subject="run-1", content=b"c"
    )
    parsed = cose.parse_endorsement(made)
    assert parsed.payload is None
    assert parsed.header.content_type == cose.ENDORSEMENT_TYPE
    check = statements.endorsement_check(parsed, KEY.public, b"c")
    assert check.message == cose.sig_structure(parsed.protected, sha256(b"c").digest())
    assert verify_ed25519(check.public_key, check.message, check.signature)
    other = statements.endorsement_check(parsed, KEY.public, b"d")
    assert not verify_ed25519(other.public_key, other.message, other.signature)
    for bad in (entry(), made + b"\x00", made.replace(b"\xa0\xf6", b"\xa0\xf7"), made[:-1]):
        with pytest.raises(MalformedStatement):
            cose.parse_endorsement(bad)
    with pytest.raises(MalformedStatement):
        cose.parse_entry(made)


LOG_KEY = world.LOG_KEYS["AA"]
RECEIPT_HEADER = cose.encode_receipt_header(LOG_KEY.kid, "ledger", "run/run-1")


def receipt(index: int, size: int) -> tuple[bytes, merkle.MemoryHashes]:
    hashes = merkle.MemoryHashes()
    hashes.append(
        [merkle.leaf_hash(entry()), *merkle.leaf_hashes(b"%d" % n for n in range(1, size))]
    )
    signature = LOG_KEY.sign(cose.sig_structure(RECEIPT_HEADER, hashes.tree.root()))
    path = merkle.inclusion_proof(index, size, hashes.read)
    return cose.encode_inclusion_receipt(RECEIPT_HEADER, size, index, path, signature), hashes


def test_inclusion_receipts_both_ways() -> None:
    data, _ = receipt(0, 11)
    parsed = cose.parse_inclusion_receipt(data)
    assert (parsed.size, parsed.index, parsed.issuer, parsed.kid) == (11, 0, "ledger", LOG_KEY.kid)
    assert verify_ed25519(LOG_KEY.public, parsed.to_be_signed(entry()), parsed.signature)
    assert not verify_ed25519(LOG_KEY.public, parsed.to_be_signed(b"other"), parsed.signature)
    with pytest.raises(MalformedStatement):
        cose.parse_consistency_receipt(data)


@pytest.mark.parametrize("alg", [-7, -35, -48, -53, 0, 1])
def test_a_receipt_that_names_another_algorithm_never_holds(alg: int) -> None:
    """The signature is good as Ed25519: taking it would let the header say what nobody checked (RFC 9052, 9.1)."""
    _, hashes = receipt(0, 11)
    header = cbor2.dumps({1: alg, 4: LOG_KEY.kid, 395: 1})
    root = hashes.tree.root()
    signature = LOG_KEY.sign(cose.sig_structure(header, root))
    path = merkle.inclusion_proof(0, 11, hashes.read)
    inclusion = cose.parse_inclusion_receipt(
        cose.encode_inclusion_receipt(header, 11, 0, path, signature)
    )
    assert not inclusion.holds(entry(), LOG_KEY.public, verify_ed25519)
    path = merkle.consistency_proof(5, 11, hashes.read)
    consistency = cose.parse_consistency_receipt(
        cose.encode_consistency_receipt(header, 5, 11, path, root, signature)
    )
    assert not consistency.holds(hashes.root_at(5), LOG_KEY.public, verify_ed25519)


def test_a_receipt_holds_for_the_key_that_it_names_alone() -> None:
    data, _ = receipt(0, 11)
    parsed = cose.parse_inclusion_receipt(data)
    assert parsed.holds(entry(), LOG_KEY.public, verify_ed25519)
    assert not parsed.holds(b"other", LOG_KEY.public, verify_ed25519)
    assert not parsed.holds(entry(), bytes(32), lambda *_: True)  # another key, whatever it says


def test_consistency_receipts_both_ways_root_attached_or_not() -> None:
    _, hashes = receipt(0, 11)
    path = merkle.consistency_proof(5, 11, hashes.read)
    signature = LOG_KEY.sign(cose.sig_structure(RECEIPT_HEADER, hashes.tree.root()))
    data = cose.encode_consistency_receipt(
        RECEIPT_HEADER, 5, 11, path, hashes.tree.root(), signature
    )
    detached = data.replace(b"\x58\x20" + hashes.tree.root(), b"\xf6")
    assert detached != data
    for form in (data, detached):
        parsed = cose.parse_consistency_receipt(form)
        message = parsed.to_be_signed(hashes.root_at(5))
        assert verify_ed25519(LOG_KEY.public, message, parsed.signature)
        with pytest.raises(MalformedProof):
            parsed.to_be_signed(hashes.root_at(6))
    with pytest.raises(MalformedProof):
        cose.parse_consistency_receipt(data.replace(hashes.tree.root(), bytes(32))).to_be_signed(
            hashes.root_at(5)
        )


def test_transparent_statements_both_ways() -> None:
    data, _ = receipt(0, 3)
    made = cose.encode_transparent(entry(), (data, data))
    assert cose.parse_transparent(made) == (entry(), (data, data))
    with pytest.raises(MalformedStatement):
        cose.parse_statement(
            made
        )  # its unprotected header is not empty: this is not what is logged
    for bad in (entry(), cose.encode_transparent(entry(), ())):
        with pytest.raises(MalformedStatement):
            cose.parse_transparent(bad)


def inside(protected: object, unprotected: object, payload: object = None) -> bytes:
    head = protected if isinstance(protected, bytes) else cbor.encode(protected)  # type: ignore[arg-type]
    return cbor2.dumps(cbor2.CBORTag(18, [head, unprotected, payload, bytes(64)]))


PROOF = cbor2.dumps([1, 0, []])
VDS = {1: -19, 4: b"k", 395: 1}


@pytest.mark.parametrize(
    "data",
    [
        inside({1: -19, 4: b"k"}, {396: {-1: [PROOF]}, 395: 1}),  # vds counts only if protected
        inside(VDS | {395: 2}, {396: {-1: [PROOF]}}),
        inside(VDS | {2: [395]}, {396: {-1: [PROOF]}}),
        inside(VDS, {}),
        inside(VDS, {396: {}}),
        inside(VDS, {396: {-2: [PROOF]}}),
        inside(VDS, {396: {-1: []}}),
        inside(VDS, {396: {-1: [PROOF, PROOF]}}),
        inside(VDS, {396: {-1: PROOF}}),
        inside(VDS, {396: {-1: [[1, 0, []]]}}),
        inside(VDS, {396: {-1: [cbor2.dumps([1, 0])]}}),
        inside(VDS, {396: {-1: [cbor2.dumps([True, 0, []])]}}),
        inside(VDS, {396: {-1: [cbor2.dumps([1, -1, []])]}}),
        inside(VDS, {396: {-1: [cbor2.dumps([1, 0, [b"short"]])]}}),
        inside(VDS, {396: {-1: [cbor2.dumps([1, 0, [bytes(32)] * 65])]}}),
        inside(VDS, {396: {-1: [PROOF]}}, payload=bytes(32)),
        inside(VDS | {15: 5}, {396: {-1: [PROOF]}}),
        inside(VDS | {15: {1: 5}}, {396: {-1: [PROOF]}}),
        inside(b"\xa0\xa0", {396: {-1: [PROOF]}}),
        b"\xd2\x80",
        b"",
    ],
)
def test_what_is_no_receipt(data: bytes) -> None:
    with pytest.raises(MalformedStatement):
        cose.parse_inclusion_receipt(data)


def test_other_peoples_receipts_may_order_their_header_as_they_like() -> None:
    protected = cbor2.dumps({395: 1, 4: b"k", 1: -7})
    assert cose.parse_inclusion_receipt(inside(protected, {396: {-1: [PROOF]}})).alg == -7
