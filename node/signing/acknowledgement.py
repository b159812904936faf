"""Acknowledgements: a node's signed word that an entry will be included by a time (RULINGS R58).

A COSE_Sign1 by the node's log key around deterministic CBOR {entry, inclusion_by_ms, ledger, node}. It is given after the
entry is durable in the node's mempool. If a final commit record later than `inclusion_by_ms` exists and the log has no leaf for
the entry, the *acknowledging* node is guilty by this evidence (unless replay drops the entry by a code of R26).
"""

from dataclasses import dataclass
from functools import lru_cache

from node.log import cbor
from node.log.cose import (
    ACKNOWLEDGEMENT_TYPE,
    ALG_ED25519,
    Header,
    Statement,
    encode_header,
    encode_statement,
    kid_of,
    parse_statement,
    sig_structure,
)
from node.log.errors import MalformedCbor, MalformedStatement, shown
from node.signing.keys import Role, SigningKey
from node.signing.verify import verify_ed25519

_SUBJECT = "acknowledgement"
_HASH_BYTES = 32
_TIME_MS_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What was promised: `entry_hash` is in the log of `chain_id` by ledger time `inclusion_by_ms`, says `node`."""

    chain_id: bytes
    entry_hash: bytes
    node: str
    inclusion_by_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAcknowledgement:
    """A well-formed acknowledgement, not yet authenticated."""

    acknowledgement: Acknowledgement
    statement: Statement


def sign_acknowledgement(log_key: SigningKey, promise: Acknowledgement) -> bytes:
    """The COSE_Sign1 bytes to hand to the client."""
    assert log_key.role is Role.LOG, f"acknowledgement by a {log_key.role} key"
    protected = _header(log_key.public, promise.node)
    payload = cbor.encode(
        {
            "entry": promise.entry_hash,
            "inclusion_by_ms": promise.inclusion_by_ms,
            "ledger": promise.chain_id,
            "node": promise.node,
        }
    )
    signature = log_key.sign(sig_structure(protected, payload))
    return encode_statement(protected, payload, signature)


@lru_cache(maxsize=64)
def _header(log_key: bytes, node: str) -> bytes:
    """The protected header of this node's acknowledgements: the same in all of them."""
    return encode_header(
        Header(
            alg=ALG_ED25519,
            content_type=ACKNOWLEDGEMENT_TYPE,
            kid=kid_of(log_key),
            issuer=node,
            subject=_SUBJECT,
        )
    )


def parse_acknowledgement(data: bytes) -> ParsedAcknowledgement:
    """Form only. Raises MalformedStatement."""
    statement = parse_statement(data)
    header = statement.header
    if header.content_type != ACKNOWLEDGEMENT_TYPE or header.subject != _SUBJECT:
        raise MalformedStatement(f"acknowledgement of type {shown(header.content_type)}")
    assert statement.payload is not None, "parse_statement gives no detached one"
    try:
        fields = cbor.decode_record(statement.payload)
    except MalformedCbor as err:
        raise MalformedStatement(f"acknowledgement payload: {err}") from None
    match fields:
        case {
            "entry": bytes(entry_hash),
            "inclusion_by_ms": int(inclusion_by_ms),
            "ledger": bytes(chain_id),
            "node": str(node),
        } if (
            len(fields) == 4
            and len(entry_hash) == len(chain_id) == _HASH_BYTES
            and type(inclusion_by_ms) is int
            and 0 <= inclusion_by_ms <= _TIME_MS_MAX
            and node == header.issuer
        ):
            promise = Acknowledgement(
                chain_id=chain_id,
                entry_hash=entry_hash,
                node=node,
                inclusion_by_ms=inclusion_by_ms,
            )
            return ParsedAcknowledgement(acknowledgement=promise, statement=statement)
    raise MalformedStatement(
        f"acknowledgement payload {shown(fields)}: want entry, ledger, node, time"
    )


def verify_acknowledgement(data: bytes, log_key: bytes) -> Acknowledgement | None:
    """The promise, if these bytes are one signed by this log key; None if the signature is not its. Raises MalformedStatement."""
    parsed = parse_acknowledgement(data)
    statement = parsed.statement
    good = verify_ed25519(log_key, statement.to_be_signed(), statement.signature)
    return parsed.acknowledgement if good else None
