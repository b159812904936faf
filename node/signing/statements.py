"""Entries and endorsements: signed where the key lives, never changed again.

    endorsement = sign_endorsement(their_key, endorser="KE", kind="run", subject="run-1", content=content)
    entry = sign_entry(my_key, author="US", kind="run", subject="run-1", content=content,
                       seq=8, prev=entry_hash(last), endorsements=(endorsement,))

Endorsements are made before the author wraps and signs, over SHA-256(content): they do not cover `seq`, so no
countersigner waits for a chain (RULINGS R14). Whoever signs must have (seq, hash) on disk before the entry leaves (R28).
"""

from collections.abc import Sequence
from hashlib import sha256

from foedus.v1 import content_pb2
from node.log.cose import (
    ALG_ED25519,
    ENDORSEMENT_TYPE,
    ENTRY_TYPE,
    Header,
    Statement,
    encode_header,
    encode_statement,
    sig_structure,
)
from node.log.errors import MalformedStatement
from node.log.tiles import ENTRY_BYTES_MAX
from node.signing.keys import Role, SigningKey
from node.signing.verify import SignatureCheck

FIRST_PREV = bytes(32)  # `prev` of an author's first entry


def entry_hash(entry: bytes) -> bytes:
    """SHA-256 of the whole entry: its name on the ledger, and the `prev` of the author's next one."""
    return sha256(entry).digest()


def sign_entry(
    key: SigningKey,
    *,
    author: str,
    kind: str,
    subject: str,
    content: bytes,
    seq: int,
    prev: bytes,
    endorsements: Sequence[bytes] = (),
) -> bytes:
    """The signed statement around Envelope{content, seq, prev, endorsements} (RULINGS R13).

    `subject` is the id of what is spoken of, else the author's. Raises MalformedStatement if the entry would be too large.
    """
    envelope = content_pb2.Envelope(content=content, seq=seq, prev=prev, endorsements=endorsements)
    return sign_payload(
        key, author=author, kind=kind, subject=subject, payload=envelope.SerializeToString()
    )


def sign_payload(key: SigningKey, *, author: str, kind: str, subject: str, payload: bytes) -> bytes:
    """The signed statement around payload bytes that the caller has made."""
    assert key.role in (Role.AUTHOR, Role.VOTE), f"entry by a {key.role} key"
    protected = _header(key, ENTRY_TYPE, author, kind, subject)
    signature = key.sign(sig_structure(protected, payload))
    entry = encode_statement(protected, payload, signature)
    if len(entry) > ENTRY_BYTES_MAX:
        raise MalformedStatement(f"entry of {len(entry)} bytes: at most {ENTRY_BYTES_MAX}")
    return entry


def sign_endorsement(
    key: SigningKey, *, endorser: str, kind: str, subject: str, content: bytes
) -> bytes:
    """A detached COSE_Sign1 by a countersigner over SHA-256(content) (RULINGS R14)."""
    assert key.role in (Role.AUTHOR, Role.VOTE), f"endorsement by a {key.role} key"
    protected = _header(key, ENDORSEMENT_TYPE, endorser, kind, subject)
    signature = key.sign(sig_structure(protected, sha256(content).digest()))
    return encode_statement(protected, None, signature)


def entry_check(statement: Statement, public_key: bytes, hash_of_entry: bytes) -> SignatureCheck:
    """What to hand to the verify pool for an entry, with the key resolved from the register (RULINGS R71)."""
    return SignatureCheck(public_key, statement.to_be_signed(), statement.signature, hash_of_entry)


def endorsement_check(statement: Statement, public_key: bytes, content: bytes) -> SignatureCheck:
    """The same for an endorsement of this content."""
    return SignatureCheck(
        public_key, statement.to_be_signed(sha256(content).digest()), statement.signature
    )


def _header(key: SigningKey, content_type: str, issuer: str, kind: str, subject: str) -> bytes:
    return encode_header(
        Header(
            alg=ALG_ED25519,
            content_type=content_type,
            kid=key.kid,
            issuer=issuer,
            subject=f"{kind}/{subject}",
        )
    )
