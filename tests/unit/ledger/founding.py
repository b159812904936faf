"""A founded ledger for tests: members and operators with keys from fixed seeds, and the entries they sign."""

from dataclasses import dataclass, field
from hashlib import sha256

from foedus.v1 import content_pb2 as pb
from node.ledger.genesis import (
    Genesis,
    GenesisMember,
    GenesisParty,
    chain_id,
    encode_genesis,
    signed_bytes,
    with_signature,
)
from node.signing.keys import (
    AgencyKeys,
    NodeKeys,
    generate_agency_keys,
    generate_node_keys,
)
from node.signing.statements import FIRST_PREV, entry_hash, sign_endorsement, sign_entry

STATES = (
    *("BR", "CN", "GB", "KE", "US", "DE", "IN", "FR", "JP", "ZA", "CA", "AU", "KR"),
    *("NG", "EG", "MX", "AR", "ID", "TR", "SA", "IT", "ES", "PL", "SE", "NL"),
)
GENESIS_MS = 1_700_000_000_000


@dataclass
class Author:
    """One author's chain as its outbox would keep it."""

    keys: AgencyKeys
    ledger: bytes
    seq: int = 0
    prev: bytes = FIRST_PREV

    def energy(self, wh: int, *, facility: str = "dc1", meter: str = "m1") -> bytes:
        """The next energy statement: always well-formed, in a period of its own."""
        return self.sign(self.energy_content(wh, facility=facility, meter=meter))

    def energy_content(self, wh: int, *, facility: str = "dc1", meter: str = "m1") -> pb.Content:
        start = GENESIS_MS // 1000 - 10_000_000 + 600 * self.seq
        return pb.Content(
            ver=1,
            ledger=self.ledger,
            author=self.keys.author_id,
            period=pb.Period(start=start, end=start + 600),
            confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
            energy=pb.Energy(
                facility=facility,
                meter=meter,
                wh=wh,
                peak_w=10,
                min_w=1,
                point=pb.METER_POINT_SITE,
            ),
        )

    def facility(self, name: str, by: AgencyKeys, *, endorsed: bool = True) -> bytes:
        """The next facility statement, countersigned by its state's agency."""
        content = pb.Content(
            ver=1,
            ledger=self.ledger,
            author=self.keys.author_id,
            confidentiality=pb.CONFIDENTIALITY_RESTRICTED,
            facility=pb.Facility(facility=name, capacity_mh=1000, mem_gb=80),
        ).SerializeToString()
        endorsement = sign_endorsement(
            by.author, endorser=by.author_id, kind="facility", subject=name, content=content
        )
        endorsements = (endorsement,) if endorsed else ()
        return self.sign(content, kind="facility", subject=name, endorsements=endorsements)

    def sign(
        self,
        content: pb.Content | bytes,
        *,
        kind: str = "energy",
        subject: str = "dc1",
        advance: bool = True,
        endorsements: tuple[bytes, ...] = (),
    ) -> bytes:
        entry = sign_entry(
            self.keys.author,
            author=self.keys.author_id,
            kind=kind,
            subject=subject,
            content=content if isinstance(content, bytes) else content.SerializeToString(),
            seq=self.seq + 1,
            prev=self.prev,
            endorsements=endorsements,
        )
        if advance:
            self.seq += 1
            self.prev = entry_hash(entry)
        return entry


@dataclass
class Founding:
    """Everything about one founded ledger."""

    genesis: Genesis
    document: bytes
    nodes: tuple[NodeKeys, ...]
    agencies: tuple[AgencyKeys, ...]
    operators: tuple[AgencyKeys, ...]
    chain_id: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.chain_id = chain_id(self.document)

    def author(self, index: int = 0) -> Author:
        """A fresh chain of operator number `index`."""
        return Author(self.operators[index], self.chain_id)

    def state_author(self, index: int = 0) -> Author:
        """A fresh chain of member number `index`'s agency."""
        return Author(self.agencies[index], self.chain_id)


def found(
    members: int = 4,
    operators: int = 2,
    *,
    law_version: int = 1,
    drill: bool = True,
    policy: dict[str, int] | None = None,
    second: int = 0,
    origin: str = "ledger.test/main",
) -> Founding:
    """A ledger of `members` states, signed by all, with some operators of the first ones. Any of STATES may join.

    The first `second` members have an ML-DSA cosigner too.
    """
    states = sorted(STATES[:members])
    nodes = tuple(
        generate_node_keys(state, seed=_seed(state), with_mldsa=index < second)
        for index, state in enumerate(states)
    )
    agencies = tuple(generate_agency_keys(state, seed=_seed("agency/" + state)) for state in states)
    parties = tuple(
        generate_agency_keys(f"op{number}", with_vote=False, seed=_seed(f"op{number}"))
        for number in range(operators)
    )
    genesis = Genesis(
        origin=origin,
        time_ms=GENESIS_MS,
        drill=drill,
        publication="open",
        protocol={"inclusion_s": 60},
        policy=policy or {},
        law_version=law_version,
        states=tuple(sorted(STATES)) if law_version > 1 else tuple(states),
        members=tuple(map(member_of, nodes, agencies)),
        parties=tuple(
            GenesisParty(
                id=party.author_id,
                role="operator",
                state=states[number % members],
                author_key=party.author.public,
            )
            for number, party in enumerate(parties)
        ),
    )
    genesis = sign_by_all(genesis, nodes)
    return Founding(genesis, encode_genesis(genesis), nodes, agencies, parties)


def member_of(node: NodeKeys, agency: AgencyKeys) -> GenesisMember:
    assert agency.vote is not None
    return GenesisMember(
        state=node.state,
        block_key=node.block.public,
        log_key=node.log.public,
        cosigner_key=node.cosigner.public,
        author_key=agency.author.public,
        vote_key=agency.vote.public,
        certificate_pem=node.transport.certificate_pem,
        peer_endpoint="127.0.0.1:7001",
        client_endpoint="127.0.0.1:7002",
        http_endpoint="127.0.0.1:7003",
        cosigner_pq_key=b"" if node.cosigner_pq is None else node.cosigner_pq.public,
    )


def sign_by_all(genesis: Genesis, nodes: tuple[NodeKeys, ...]) -> Genesis:
    message = signed_bytes(genesis)
    for node in nodes:
        genesis = with_signature(genesis, node.state, node.block.sign(message))
    return genesis


def _seed(label: str) -> bytes:
    return sha256(b"ledger-tests/" + label.encode()).digest()
