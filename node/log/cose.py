"""COSE_Sign1 (RFC 9052): signed statements (RFC 9943), endorsements, receipts (RFC 9942), transparent statements.

    entry        d2 84 <protected bstr> a0 <payload bstr> 58 40 <signature>
    endorsement  d2 84 <protected bstr> a0 f6 58 40 <signature>              detached, over SHA-256(content)  (R14)
    receipt      d2 84 <protected bstr> a1 19018c {-1: [bstr [size, index, [path]]]} f6 58 40 <signature>
    protected    {1: alg, 3: content type, 4: kid, 15: {1: issuer, 2: subject}}   of entries and endorsements  (R13)

What is signed is Sig_structure: ["Signature1", protected, h'', payload]. The unprotected header of an entry is empty, so one
signature has one entry around it; only the protected header is decoded, strictly (R18). alg is -19 (Ed25519, RFC 9864),
which we write, or -8 (EdDSA), which much software still writes. A receipt signs the root alone: its size and index are
*not* authenticated, a checkpoint's are.

    statement = parse_statement(entry)           # form: MalformedStatement
    verify(author_key, statement.to_be_signed(), statement.signature)      # node/signing does
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from node.log import cbor
from node.log.cosignature import Verify
from node.log.errors import MalformedCbor, MalformedProof, MalformedStatement, shown
from node.log.merkle import HASH_BYTES, fold_consistency, fold_inclusion, leaf_hash
from node.log.strict import U64_MAX
from node.log.tiles import ENTRY_BYTES_MAX

ALG_ED25519 = -19
ALG_EDDSA = -8
ALGS = (ALG_ED25519, ALG_EDDSA)

ENTRY_TYPE = "application/vnd.foedus.entry.v1+protobuf"
ENDORSEMENT_TYPE = "application/vnd.foedus.entry.v1+protobuf/endorsement"
ACKNOWLEDGEMENT_TYPE = "application/vnd.foedus.acknowledgement.v1+cbor"

KID_BYTES = 8
SIGNATURE_BYTES = 64
HEADER_BYTES_MAX = 512
PATH_HASHES_MAX = 64
RECEIPTS_MAX = 1_024

_PREFIX = b"\xd2\x84"
_EMPTY_MAP = 0xA0
_NIL = 0xF6
_SIGNATURE_HEAD = b"\x58\x40"
_TAIL_BYTES = len(_SIGNATURE_HEAD) + SIGNATURE_BYTES
_HEADER_CACHE_ENTRIES = (
    4_096  # headers repeat per author and subject; 4,096 * 512 B bounds what strangers make us hold
)

_ALG, _CRIT, _TYPE, _KID, _CLAIMS = 1, 2, 3, 4, 15
_ISSUER, _SUBJECT = 1, 2
_RECEIPTS, _VDS, _PROOFS = 394, 395, 396
_VDS_RFC9162_SHA256 = 1
_INCLUSION, _CONSISTENCY = -1, -2


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The protected header of an entry, an endorsement or an acknowledgement (R13)."""

    alg: int
    content_type: str
    kid: bytes
    issuer: str
    subject: str


class Statement(NamedTuple):
    """A COSE_Sign1 of the one shape that we write: well-formed, not authenticated. `payload` None: detached."""

    header: Header
    protected: bytes
    payload: bytes | None
    signature: bytes

    def to_be_signed(self, detached: bytes | None = None) -> bytes:
        """The bytes under the signature; a detached statement needs its payload handed in."""
        payload = self.payload if detached is None else detached
        assert payload is not None, "detached statement without its payload"
        return sig_structure(self.protected, payload)


def kid_of(public_key: bytes) -> bytes:
    """R16. A key whose kid equals a registered one is refused at registration."""
    return sha256(public_key).digest()[:KID_BYTES]


def encode_header(header: Header) -> bytes:
    """The protected header's deterministic CBOR, at most 512 bytes."""
    data = cbor.encode(
        {
            _ALG: header.alg,
            _TYPE: header.content_type,
            _KID: header.kid,
            _CLAIMS: {_ISSUER: header.issuer, _SUBJECT: header.subject},
        }
    )
    if len(data) > HEADER_BYTES_MAX:
        raise MalformedStatement(f"header of {len(data)} bytes: at most {HEADER_BYTES_MAX}")
    return data


@lru_cache(maxsize=_HEADER_CACHE_ENTRIES)
def parse_header(protected: bytes) -> Header:
    """The header that these bytes spell; exactly the four fields of R13. Raises MalformedStatement.

    A pure function of the bytes, remembered because a node reads each author's header once per entry.
    """
    fields = _protected_map(protected)
    claims = fields.get(_CLAIMS)
    if set(fields) != {_ALG, _TYPE, _KID, _CLAIMS}:
        raise MalformedStatement(f"protected header has fields {sorted(fields)}: want 1, 3, 4, 15")
    if type(claims) is not dict or set(claims) != {_ISSUER, _SUBJECT}:
        raise MalformedStatement(f"claims (15) {shown(claims)}: want 1 issuer and 2 subject")
    alg, content_type, kid = fields[_ALG], fields[_TYPE], fields[_KID]
    issuer, subject = claims[_ISSUER], claims[_SUBJECT]
    if type(alg) is not int or alg not in ALGS:
        raise MalformedStatement(f"alg {shown(alg)}: want -19 or -8")
    if type(content_type) is not str or type(issuer) is not str or type(subject) is not str:
        raise MalformedStatement("content type, issuer and subject are text")
    if type(kid) is not bytes or len(kid) != KID_BYTES:
        raise MalformedStatement(f"kid {shown(kid)}: want {KID_BYTES} bytes")
    return Header(alg=alg, content_type=content_type, kid=kid, issuer=issuer, subject=subject)


def _protected_map(protected: bytes, *, any_order: bool = False) -> dict[int, Any]:
    if len(protected) > HEADER_BYTES_MAX:
        raise MalformedStatement(f"header of {len(protected)} bytes: at most {HEADER_BYTES_MAX}")
    try:
        fields = cbor.decode(protected, depth_max=2, any_order=any_order)
    except MalformedCbor as err:
        raise MalformedStatement(f"protected header: {err}") from None
    if type(fields) is not dict or not all(type(key) is int for key in fields):
        raise MalformedStatement(f"protected header {shown(protected)}: want a map, integer keys")
    if _CRIT in fields:
        raise MalformedStatement(f"protected header: crit {shown(fields[_CRIT])} is not understood")
    return fields


def sig_structure(protected: bytes, payload: bytes) -> bytes:
    """Sig_structure of RFC 9052 section 4.4, context "Signature1", no external data."""
    return b"".join(
        (
            b"\x84\x6aSignature1",
            _bstr_head(len(protected)),
            protected,
            b"\x40",
            _bstr_head(len(payload)),
            payload,
        )
    )


def encode_statement(protected: bytes, payload: bytes | None, signature: bytes) -> bytes:
    """The COSE_Sign1 around a signature over `sig_structure(protected, payload)`; None leaves the payload out."""
    assert len(signature) == SIGNATURE_BYTES, f"signature of {len(signature)} bytes"
    middle = bytes([_NIL]) if payload is None else _bstr_head(len(payload)) + payload
    return b"".join(
        (
            _PREFIX,
            _bstr_head(len(protected)),
            protected,
            bytes([_EMPTY_MAP]),
            middle,
            _SIGNATURE_HEAD,
            signature,
        )
    )


def parse_statement(data: bytes) -> Statement:
    """A statement with its payload, e.g. an entry. Raises MalformedStatement.

    Accepts exactly what `encode_statement` writes around a header of R13, at most 65,535 bytes.
    """
    protected, start = _parse_front(data)
    end = len(data) - _TAIL_BYTES
    payload_start, payload_end = _bstr_span(data, start, "payload")
    if payload_end != end or data[end : end + 2] != _SIGNATURE_HEAD:
        raise MalformedStatement(
            f"payload ends at byte {payload_end} of {len(data)}: want 58 40 and 64 bytes"
        )
    return Statement(
        parse_header(protected), protected, data[payload_start:payload_end], data[end + 2 :]
    )


def peek_protected(data: bytes) -> bytes:
    """Where the protected header would stand if this is a statement; nothing is checked, and nothing raised."""
    if data[2:3] == b"\x58":
        return data[4 : 4 + data[3]] if len(data) > 3 else b""
    return data[5 : 5 + int.from_bytes(data[3:5], "big")] if data[2:3] == b"\x59" else b""


def parse_entry(entry: bytes) -> Statement:
    """A statement whose content type says that it is an entry of this ledger. Raises MalformedStatement.

    Whether issuer and subject equal the content's (R13) is the law's to compare; `subject` is "<kind>/<subject id>".
    """
    statement = parse_statement(entry)
    if statement.header.content_type != ENTRY_TYPE:
        raise MalformedStatement(
            f"content type {shown(statement.header.content_type)}: an entry has {ENTRY_TYPE}"
        )
    return statement


def parse_endorsement(data: bytes) -> Statement:
    """A countersignature of R14: detached, over SHA-256(content). Raises MalformedStatement."""
    statement = parse_detached(data)
    if statement.header.content_type != ENDORSEMENT_TYPE:
        raise MalformedStatement(
            f"content type {shown(statement.header.content_type)}: want {ENDORSEMENT_TYPE}"
        )
    return statement


def parse_detached(data: bytes) -> Statement:
    """A statement without its payload, e.g. an endorsement. Raises MalformedStatement."""
    protected, start = _parse_front(data)
    end = len(data) - _TAIL_BYTES
    if start + 1 != end or data[start] != _NIL or data[end : end + 2] != _SIGNATURE_HEAD:
        raise MalformedStatement("detached statement: want nil, 58 40 and 64 bytes")
    return Statement(
        header=parse_header(protected),
        protected=protected,
        payload=None,
        signature=data[end + 2 :],
    )


def _parse_front(data: bytes) -> tuple[bytes, int]:
    """The protected header's bytes, and where the payload begins."""
    if len(data) > ENTRY_BYTES_MAX:
        raise MalformedStatement(f"statement of {len(data)} bytes: at most {ENTRY_BYTES_MAX}")
    if not data.startswith(_PREFIX):
        raise MalformedStatement(
            f"statement begins {shown(data[:2])}: want d284 (tag 18, four parts)"
        )
    start, end = _bstr_span(data, 2, "protected header")
    if end >= len(data) or data[end] != _EMPTY_MAP:
        raise MalformedStatement(
            f"unprotected header {shown(data[end : end + 1])}...: want a0, empty"
        )
    return data[start:end], end + 1


def _bstr_span(data: bytes, at: int, field: str) -> tuple[int, int]:
    """Where the contents of the byte string at `at` begin and end; its head must be the shortest."""
    head = data[at] if at < len(data) else -1
    if 0x40 <= head < 0x58:
        start, length, shortest = at + 1, head - 0x40, 0
    elif head == 0x58:
        start, length, shortest = at + 2, int.from_bytes(data[at + 1 : at + 2], "big"), 24
    elif head == 0x59:
        start, length, shortest = at + 3, int.from_bytes(data[at + 1 : at + 3], "big"), 256
    else:
        raise MalformedStatement(f"{field} at byte {at}: not a byte string below 65,536 bytes")
    if length < shortest or start + length > len(data):
        raise MalformedStatement(
            f"{field} at byte {at}: length {length} is misspelt or runs over the end"
        )
    return start, start + length


def _bstr_head(length: int) -> bytes:
    if length < 24:
        return bytes([0x40 + length])
    if length < 256:
        return bytes([0x58, length])
    if length < 65_536:
        return b"\x59" + length.to_bytes(2, "big")
    return b"\x5a" + length.to_bytes(4, "big")


# --- receipts (RFC 9942, tree algorithm 1: RFC9162_SHA256) --------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class InclusionReceipt:
    """One log's signed word that an entry is under a root. `size` and `index` are claims that the signature leaves open."""

    alg: int
    kid: bytes
    issuer: str | None
    subject: str | None
    protected: bytes
    size: int
    index: int
    path: tuple[bytes, ...]
    signature: bytes

    def to_be_signed(self, entry: bytes) -> bytes:
        """The bytes under the signature if `entry` is the leaf. Raises MalformedProof."""
        root = fold_inclusion(leaf_hash(entry), self.index, self.size, self.path)
        return sig_structure(self.protected, root)

    def holds(self, entry: bytes, log_key: bytes, verify: Verify) -> bool:
        """Whether this log (Ed25519 key) signed that `entry` is under a root. Raises MalformedProof."""
        message = self.to_be_signed(entry)
        return _names(self, log_key) and verify(log_key, message, self.signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencyReceipt:
    """One log's signed word that a tree extends another; the newer root is signed. `new_root` None: it was left out."""

    alg: int
    kid: bytes
    issuer: str | None
    subject: str | None
    protected: bytes
    old_size: int
    new_size: int
    path: tuple[bytes, ...]
    new_root: bytes | None
    signature: bytes

    def to_be_signed(self, old_root: bytes) -> bytes:
        """The bytes under the signature if the old tree has this root. Raises MalformedProof."""
        new_root = fold_consistency(self.old_size, self.new_size, old_root, self.path)
        if self.new_root is not None and self.new_root != new_root:
            raise MalformedProof(f"the proof leads to {new_root.hex()}, not to the attached root")
        return sig_structure(self.protected, new_root)

    def holds(self, old_root: bytes, log_key: bytes, verify: Verify) -> bool:
        """Whether this log (Ed25519 key) signed a tree that extends the one of `old_root`. Raises MalformedProof."""
        message = self.to_be_signed(old_root)
        return _names(self, log_key) and verify(log_key, message, self.signature)


def _names(receipt: InclusionReceipt | ConsistencyReceipt, log_key: bytes) -> bool:
    """Whether the header says this key, and the one algorithm it is for: a signature counts as what it says it is."""
    return receipt.alg in ALGS and receipt.kid == kid_of(log_key)


def encode_receipt_header(
    kid: bytes, issuer: str, subject: str, *, alg: int = ALG_ED25519
) -> bytes:
    """Protected header of a receipt of ours. `alg` -8 is for readers that do not know RFC 9864 yet: one key, one signature."""
    assert alg in ALGS, f"alg {alg}"
    return cbor.encode(
        {
            _ALG: alg,
            _KID: kid,
            _CLAIMS: {_ISSUER: issuer, _SUBJECT: subject},
            _VDS: _VDS_RFC9162_SHA256,
        }
    )


def encode_inclusion_receipt(
    protected: bytes, size: int, index: int, path: Sequence[bytes], signature: bytes
) -> bytes:
    """The receipt around a signature over `sig_structure(protected, root)`."""
    proof = cbor.encode([size, index, list(path)])
    return _PREFIX[:1] + cbor.encode([protected, {_PROOFS: {_INCLUSION: [proof]}}, None, signature])


def encode_consistency_receipt(
    protected: bytes,
    old_size: int,
    new_size: int,
    path: Sequence[bytes],
    new_root: bytes,
    signature: bytes,
) -> bytes:
    """The receipt around a signature over `sig_structure(protected, new_root)`, root attached (the RFC's text)."""
    proof = cbor.encode([old_size, new_size, list(path)])
    unprotected = {_PROOFS: {_CONSISTENCY: [proof]}}
    return _PREFIX[:1] + cbor.encode([protected, unprotected, new_root, signature])


def parse_inclusion_receipt(data: bytes) -> InclusionReceipt:
    """Raises MalformedStatement. Any alg is read; only the two names of Ed25519 ever hold."""
    protected, fields, proof, payload, signature = _parse_receipt(data, _INCLUSION)
    size, index, path = proof
    if payload is not None:
        raise MalformedStatement("inclusion receipt: the root is detached, want nil as payload")
    return InclusionReceipt(
        **fields, protected=protected, size=size, index=index, path=path, signature=signature
    )


def parse_consistency_receipt(data: bytes) -> ConsistencyReceipt:
    """Raises MalformedStatement. The newer root may be attached (the RFC's text) or left out (its example)."""
    protected, fields, proof, payload, signature = _parse_receipt(data, _CONSISTENCY)
    old_size, new_size, path = proof
    if payload is not None and len(payload) != HASH_BYTES:
        raise MalformedStatement(f"consistency receipt: root {shown(payload)} is not a hash")
    return ConsistencyReceipt(
        **fields,
        protected=protected,
        old_size=old_size,
        new_size=new_size,
        path=path,
        new_root=payload,
        signature=signature,
    )


def _parse_receipt(
    data: bytes, kind: int
) -> tuple[bytes, dict[str, Any], tuple[int, int, tuple[bytes, ...]], bytes | None, bytes]:
    protected, unprotected, payload, signature = _parse_sign1(data)
    fields = _protected_map(protected, any_order=True)  # the RFC's own sample is not in order
    alg, kid, claims = fields.get(_ALG), fields.get(_KID), fields.get(_CLAIMS, {})
    if type(alg) is not int or type(kid) is not bytes or type(claims) is not dict:
        raise MalformedStatement(f"receipt header {shown(fields)}: want alg, kid and claims")
    if type(fields.get(_VDS)) is not int or fields[_VDS] != _VDS_RFC9162_SHA256:
        raise MalformedStatement(f"receipt vds {shown(fields.get(_VDS))}: want 1, protected")
    issuer, subject = claims.get(_ISSUER), claims.get(_SUBJECT)
    if not isinstance(issuer, str | None) or not isinstance(subject, str | None):
        raise MalformedStatement(f"receipt claims {shown(claims)}: issuer and subject are text")
    proofs = unprotected.get(_PROOFS)
    proof_list = proofs.get(kind) if type(proofs) is dict and len(proofs) == 1 else None
    if type(proof_list) is not list or len(proof_list) != 1 or type(proof_list[0]) is not bytes:
        raise MalformedStatement(f"receipt proofs (396) {shown(proofs)}: want one of kind {kind}")
    facts = {"alg": alg, "kid": kid, "issuer": issuer, "subject": subject}
    return protected, facts, _parse_proof(proof_list[0]), payload, signature


def _parse_proof(data: bytes) -> tuple[int, int, tuple[bytes, ...]]:
    try:
        proof = cbor.decode(data, depth_max=2)
    except MalformedCbor as err:
        raise MalformedStatement(f"receipt proof: {err}") from None
    match proof:
        case [
            first,
            second,
            [*path],
        ] if (  # not `int(first)`: compiled, that makes a number of a truth
            type(first) is int
            and type(second) is int
            and 0 <= first <= U64_MAX
            and 0 <= second <= U64_MAX
            and len(path) <= PATH_HASHES_MAX
            and all(type(item) is bytes and len(item) == HASH_BYTES for item in path)
        ):
            return first, second, tuple(path)
    raise MalformedStatement(f"receipt proof {shown(data)}: want two sizes and up to 64 hashes")


def _parse_sign1(data: bytes) -> tuple[bytes, Mapping[int, Any], bytes | None, bytes]:
    if data[:1] != _PREFIX[:1]:
        raise MalformedStatement(f"COSE_Sign1 begins {shown(data[:1])}: want d2 (tag 18)")
    try:
        parts = cbor.decode(data[1:], any_order=True)
    except MalformedCbor as err:
        raise MalformedStatement(f"COSE_Sign1: {err}") from None
    match parts:
        case [bytes(protected), dict(unprotected), bytes(payload), bytes(signature)]:
            return protected, unprotected, payload, signature
        case [bytes(protected), dict(unprotected), None, bytes(signature)]:
            return protected, unprotected, None, signature
    raise MalformedStatement(
        f"COSE_Sign1 {shown(data)}: want protected, unprotected, payload, signature"
    )


def encode_transparent(entry: bytes, receipts: Sequence[bytes]) -> bytes:
    """An entry with receipts in its unprotected header (RFC 9943): for finality, one receipt per state."""
    protected, _, payload, signature = _parse_sign1(entry)
    unprotected = {_RECEIPTS: list(receipts)}
    return _PREFIX[:1] + cbor.encode([protected, unprotected, payload, signature])


def parse_transparent(data: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """The entry (with an empty unprotected header, as it is logged) and its receipts. Raises MalformedStatement."""
    protected, unprotected, payload, signature = _parse_sign1(data)
    receipts = unprotected.get(_RECEIPTS)
    if set(unprotected) != {_RECEIPTS} or type(receipts) is not list or not receipts:
        raise MalformedStatement(f"unprotected header {shown(unprotected)}: want receipts (394)")
    if len(receipts) > RECEIPTS_MAX or not all(type(receipt) is bytes for receipt in receipts):
        raise MalformedStatement(
            f"{len(receipts)} receipts: want byte strings, at most {RECEIPTS_MAX}"
        )
    entry = _PREFIX[:1] + cbor.encode([protected, {}, payload, signature])
    return entry, tuple(receipts)
