"""Seats: the node of a member state, as a genesis or an `identity` declares it (SPEC 14; RULINGS R10, R46, R47).

The law keeps seats and cannot judge them: what a certificate or a weak key is, is known here. And nobody may register another's
key, or it could keep that state out: whoever declares a seat signs it with each of its keys,

    H("sign/validator/1", ledger 32 | of state, block, log, cosigner, certificate, peer, client, http each: u16 length | bytes)

and where there is an ML-DSA key (R46), with that too, its u16 length | bytes at the end of what is signed.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from foedus.v1 import content_pb2 as pb
from node.ledger.errors import MalformedRecord
from node.ledger.genesis import Genesis, GenesisMember
from node.log.cose import parse_statement
from node.log.errors import MalformedStatement
from node.signing.errors import BadCertificate, WeakKey
from node.signing.keys import NodeKeys, check_public_key
from node.signing.transport import check_certificate
from node.signing.verify import mldsa_check, verify_ed25519, verify_mldsa44
from node.treaty.entries import ParsedEntry
from node.treaty.errors import MalformedContent
from node.treaty.law import Law
from node.treaty.parsing import parse_entry

LABEL: Final = "sign/validator/1"
_KEYS: Final = ("block_key", "log_key", "cosigner_key")


def declared(
    keys: NodeKeys, *, ledger: bytes, state: str, peer: str, client: str, http: str
) -> pb.Validator:
    """The seat that these keys sign for: what a state puts into its `identity`. Endpoints are host:port."""
    node = pb.Validator(
        block_key=keys.block.public,
        log_key=keys.log.public,
        cosigner_key=keys.cosigner.public,
        certificate_pem=keys.transport.certificate_pem,
        peer_endpoint=peer,
        client_endpoint=client,
        http_endpoint=http,
        cosigner_pq_key=b"" if keys.cosigner_pq is None else keys.cosigner_pq.public,
    )
    message = signed_bytes(ledger, state, node)
    node.possession.extend(key.sign(message) for key in (keys.block, keys.log, keys.cosigner))
    if keys.cosigner_pq is not None:
        node.possession.append(keys.cosigner_pq.sign(message))
    return node


def signed_bytes(ledger: bytes, state: str, node: pb.Validator) -> bytes:
    """What each of the keys signs: 32 bytes."""
    parts = (
        state.encode(),
        node.block_key,
        node.log_key,
        node.cosigner_key,
        node.certificate_pem,
        node.peer_endpoint.encode(),
        node.client_endpoint.encode(),
        node.http_endpoint.encode(),
        *((node.cosigner_pq_key,) if node.cosigner_pq_key else ()),
    )
    message = ledger + b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    label = LABEL.encode()
    return sha256(bytes((len(label),)) + label + message).digest()


def bad_seat(parsed: ParsedEntry, *, second: bool = True) -> tuple[str, str] | None:
    """What is wrong with the seat in this well-formed `identity`, (field, why); None: nothing, or it has none.

    `second`: its ML-DSA key's word is asked for too.
    """
    body: pb.Identity = parsed.body
    if not body.HasField("validator"):
        return None
    node = body.validator
    for name in _KEYS:
        try:
            check_public_key(getattr(node, name))
        except WeakKey as err:
            return f"identity.validator.{name}", str(err)
    try:
        check_certificate(node.certificate_pem, body.party)
    except BadCertificate as err:
        return "identity.validator.certificate_pem", str(err)
    message = signed_bytes(parsed.ledger, body.party, node)
    for name, signature in zip(_KEYS, node.possession, strict=False):  # the ML-DSA key's comes last
        if not verify_ed25519(getattr(node, name), message, signature):
            return "identity.validator.possession", f"not signed by its {name} over this seat"
    asked = second and node.cosigner_pq_key
    if asked and not verify_mldsa44(node.cosigner_pq_key, message, node.possession[-1]):
        return "identity.validator.possession", "not signed by its cosigner_pq_key over this seat"
    return None


def members_of(
    law: Law, genesis: Genesis, committee: Mapping[str, int]
) -> tuple[GenesisMember, ...]:
    """The committee's members in validator order, each with the seat it validates by.

    Of a state that did not found the ledger author and vote key are empty: the register has them, and no validator needs them.
    """
    return tuple([member_at(law, genesis, state, number) for state, number in committee.items()])


def member_at(law: Law, genesis: Genesis, state: str, number: int) -> GenesisMember:
    """One member with its seat of this number. Raises KeyError."""
    founder = next((member for member in genesis.members if member.state == state), None)
    if number == 0:
        if founder is None:
            raise KeyError(state)
        return founder
    seat = law.seat(state, number)
    node = pb.Validator(
        block_key=seat.block_key,
        log_key=seat.log_key,
        cosigner_key=seat.cosigner_key,
        certificate_pem=seat.certificate_pem,
        peer_endpoint=seat.peer,
        client_endpoint=seat.client,
        http_endpoint=seat.http,
        cosigner_pq_key=law.second_key(state, number),
    )
    return _member(genesis, state, node)


def member_in(genesis: Genesis, state: str, leaf: bytes, index: int) -> GenesisMember:
    """A member with the seat that this entry of the log declares. Raises MalformedRecord."""
    try:
        payload = parse_statement(leaf).payload
        parsed = parse_entry(payload or b"")
    except (MalformedStatement, MalformedContent) as err:
        raise MalformedRecord(f"entry {index}: no statement: {err}") from err
    body = parsed.body
    if parsed.kind != "identity" or body.party != state or not body.HasField("validator"):
        raise MalformedRecord(f"entry {index}: declares no seat of {state}")
    wrong = bad_seat(parsed, second=mldsa_check() is not None)  # an auditor may have no ML-DSA
    if wrong is not None:
        raise MalformedRecord(
            f"entry {index}: no node takes that seat of {state}: {': '.join(wrong)}"
        )
    return _member(genesis, state, body.validator)


def _member(genesis: Genesis, state: str, node: pb.Validator) -> GenesisMember:
    founder = next((member for member in genesis.members if member.state == state), None)
    return GenesisMember(
        cosigner_pq_key=node.cosigner_pq_key,
        state=state,
        block_key=node.block_key,
        log_key=node.log_key,
        cosigner_key=node.cosigner_key,
        author_key=b"" if founder is None else founder.author_key,
        vote_key=b"" if founder is None else founder.vote_key,
        certificate_pem=node.certificate_pem,
        peer_endpoint=node.peer_endpoint,
        client_endpoint=node.client_endpoint,
        http_endpoint=node.http_endpoint,
    )
