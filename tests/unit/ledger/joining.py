"""What states sign to join, to leave and to change their nodes' keys, for tests."""

from collections.abc import Sequence
from hashlib import sha256

from foedus.v1 import content_pb2 as pb
from node.ledger.seats import declared
from node.signing.keys import AgencyKeys, NodeKeys, generate_agency_keys, generate_node_keys
from node.signing.statements import sign_endorsement
from tests.unit.ledger.founding import Author


def new_state(state: str) -> tuple[NodeKeys, AgencyKeys]:
    """A state that founded nothing: keys of its node and its agency."""
    seed = sha256(b"joining-tests/" + state.encode()).digest()
    other = sha256(b"joining-tests/agency/" + state.encode()).digest()
    return generate_node_keys(state, seed=seed), generate_agency_keys(state, seed=other)


def rotated(state: str, times: int = 1, *, with_mldsa: bool = False) -> NodeKeys:
    """Later keys of a state's node."""
    seed = sha256(b"rotated/%d/" % times + state.encode()).digest()
    return generate_node_keys(state, seed=seed, later=True, with_mldsa=with_mldsa)


def registers(sponsor: Author, joining: AgencyKeys, behind: Sequence[AgencyKeys]) -> bytes:
    """A member registers a new state's agency keys; others stand behind it."""
    assert joining.vote is not None
    body = pb.Identity(
        party=joining.author_id,
        role=pb.PARTY_ROLE_STATE,
        state=joining.author_id,
        keys=[
            pb.PublicKey(purpose=pb.KEY_PURPOSE_AUTHOR, ed25519=joining.author.public),
            pb.PublicKey(purpose=pb.KEY_PURPOSE_VOTE, ed25519=joining.vote.public),
        ],
    )
    return _signed(sponsor, "identity", joining.author_id, behind, identity=body)


def declares(
    author: Author,
    node: NodeKeys,
    *,
    port: int = 7101,
    host: str = "127.0.0.1",
    ledger: bytes = b"",
) -> bytes:
    """A state's own word on its node. `ledger`: for which its keys sign, if not this one."""
    seat = declared(
        node,
        ledger=ledger or author.ledger,
        state=node.state,
        peer=f"{host}:{port}",
        client=f"{host}:{port + 1}",
        http=f"{host}:{port + 2}",
    )
    return declares_seat(author, seat)


def declares_seat(author: Author, seat: pb.Validator) -> bytes:
    state = author.keys.author_id
    body = pb.Identity(party=state, role=pb.PARTY_ROLE_STATE, state=state, validator=seat)
    return _signed(author, "identity", state, (), identity=body)


def accedes(author: Author, attesting: Sequence[AgencyKeys]) -> bytes:
    body = pb.Instrument(
        type=pb.INSTRUMENT_TYPE_ACCEDE, attested_by=[agency.author_id for agency in attesting]
    )
    return _signed(author, "instrument", author.keys.author_id, attesting, instrument=body)


def withdraws(author: Author) -> bytes:
    body = pb.Instrument(type=pb.INSTRUMENT_TYPE_WITHDRAW)
    return _signed(author, "instrument", author.keys.author_id, (), instrument=body)


def _signed(
    author: Author,
    kind: str,
    subject: str,
    endorsers: Sequence[AgencyKeys],
    *,
    identity: pb.Identity | None = None,
    instrument: pb.Instrument | None = None,
) -> bytes:
    content = pb.Content(
        ver=1,
        ledger=author.ledger,
        author=author.keys.author_id,
        confidentiality=pb.CONFIDENTIALITY_PUBLIC,
        identity=identity,
        instrument=instrument,
    ).SerializeToString()
    endorsements = tuple(
        sign_endorsement(
            agency.author, endorser=agency.author_id, kind=kind, subject=subject, content=content
        )
        for agency in endorsers
    )
    return author.sign(content, kind=kind, subject=subject, endorsements=endorsements)
