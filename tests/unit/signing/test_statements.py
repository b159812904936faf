from hashlib import sha256

import pytest

from foedus.v1 import content_pb2
from node.log import cbor, cose
from node.log.cose import parse_entry
from node.log.errors import MalformedStatement
from node.signing import acknowledgement, statements
from node.signing.acknowledgement import Acknowledgement
from node.signing.keys import Role, SigningKey
from node.signing.verify import VerifyPool

AUTHOR = SigningKey.from_seed(Role.AUTHOR, b"a" * 32)
LOG = SigningKey.from_seed(Role.LOG, b"l" * 32)


def entry(content: bytes = b"content", **changes: object) -> bytes:
    fields: dict[str, object] = {
        "author": "US",
        "kind": "run",
        "subject": "run-1",
        "content": content,
        "seq": 7,
        "prev": bytes(32),
        "endorsements": (b"e1", b"e2"),
    }
    return statements.sign_entry(AUTHOR, **(fields | changes))  # type: ignore[arg-type]


def test_an_entry_says_what_was_signed() -> None:
    parsed = parse_entry(entry())
    assert parsed.header.issuer == "US"
    assert parsed.header.subject == "run/run-1"
    assert parsed.header.kid == AUTHOR.kid
    assert parsed.header.alg == -19
    envelope = content_pb2.Envelope.FromString(parsed.payload or b"")
    assert (envelope.content, envelope.seq, envelope.prev) == (b"content", 7, bytes(32))
    assert list(envelope.endorsements) == [b"e1", b"e2"]


def test_signing_again_gives_the_same_bytes() -> None:
    """Ed25519 is deterministic: an author that crashed between signing and sending sends the same entry."""
    assert entry() == entry()
    assert statements.entry_hash(entry()) == sha256(entry()).digest()


def test_any_changed_byte_of_an_entry_is_refused_or_does_not_verify() -> None:
    good = entry()
    with VerifyPool(threads=1) as pool:
        for position in range(len(good)):
            altered = bytearray(good)
            altered[position] ^= 0x01
            try:
                parsed = parse_entry(bytes(altered))
            except MalformedStatement:
                continue
            name = statements.entry_hash(bytes(altered))
            assert pool.verify_now([statements.entry_check(parsed, AUTHOR.public, name)]) == [False]


def test_what_is_too_large_is_not_signed() -> None:
    with pytest.raises(MalformedStatement, match="at most"):
        entry(b"x" * 65_536)
    with pytest.raises(MalformedStatement, match="header"):
        entry(subject="s" * 600)


def test_keys_sign_only_in_their_role() -> None:
    """Our own mistake, so an assertion: no bytes from outside choose the key."""
    with pytest.raises(AssertionError, match="log key"):
        statements.sign_payload(LOG, author="US", kind="run", subject="r", payload=b"")
    with pytest.raises(AssertionError, match="author key"):
        acknowledgement.sign_acknowledgement(AUTHOR, PROMISE)


PROMISE = Acknowledgement(
    chain_id=bytes(32), entry_hash=bytes([1]) * 32, node="US", inclusion_by_ms=1_790_000_060_000
)


def test_acknowledgements_both_ways() -> None:
    data = acknowledgement.sign_acknowledgement(LOG, PROMISE)
    assert acknowledgement.verify_acknowledgement(data, LOG.public) == PROMISE
    assert acknowledgement.verify_acknowledgement(data, AUTHOR.public) is None
    parsed = acknowledgement.parse_acknowledgement(data)
    assert parsed.statement.header.kid == LOG.kid
    with pytest.raises(MalformedStatement):
        parse_entry(data)  # no acknowledgement can be submitted as an entry


def signed(payload: object, content_type: str = cose.ACKNOWLEDGEMENT_TYPE, **changes: str) -> bytes:
    protected = cose.encode_header(
        cose.Header(
            alg=-19,
            content_type=content_type,
            kid=LOG.kid,
            issuer=changes.get("issuer", "US"),
            subject=changes.get("subject", "acknowledgement"),
        )
    )
    data = payload if isinstance(payload, bytes) else cbor.encode(payload)  # type: ignore[arg-type]
    return cose.encode_statement(protected, data, LOG.sign(cose.sig_structure(protected, data)))


FIELDS = {"entry": bytes(32), "inclusion_by_ms": 5, "ledger": bytes(32), "node": "US"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        entry(),
        signed(FIELDS, content_type="text/plain"),
        signed(FIELDS, issuer="CN"),
        signed(FIELDS, subject="other"),
        signed(b"\xff"),
        signed([]),
        signed({}),
        signed(FIELDS | {"more": 1}),
        signed(FIELDS | {"entry": bytes(31)}),
        signed(FIELDS | {"ledger": "text"}),
        signed(FIELDS | {"inclusion_by_ms": -1}),
        signed(FIELDS | {"inclusion_by_ms": 2**63}),
        signed(FIELDS | {"inclusion_by_ms": True}),
        signed(FIELDS | {"node": 5}),
    ],
)
def test_what_is_no_acknowledgement(data: bytes) -> None:
    with pytest.raises(MalformedStatement):
        acknowledgement.parse_acknowledgement(data)
    assert acknowledgement.parse_acknowledgement(signed(FIELDS))
