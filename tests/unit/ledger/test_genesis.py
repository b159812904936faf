"""The founding document: strict form, every member's signature, no key twice."""

from dataclasses import replace
from typing import Any

import pytest

from node.ledger.errors import MalformedGenesis
from node.ledger.genesis import (
    Genesis,
    chain_id,
    declaration_signed_bytes,
    encode_declaration,
    encode_genesis,
    parse_declaration,
    parse_genesis,
    parse_unsigned_genesis,
    signed_bytes,
    with_signature,
)
from node.ledger.plan import facts_of
from node.log import cbor
from tests.unit.ledger.founding import Founding, found, sign_by_all


@pytest.fixture(scope="module")
def founding() -> Founding:
    return found(4)


def test_a_genesis_reads_back_as_written(founding: Founding) -> None:
    genesis = parse_genesis(founding.document)
    assert genesis == founding.genesis
    assert encode_genesis(genesis) == founding.document
    assert chain_id(founding.document) == founding.chain_id
    assert genesis.member_index("KE") == 3


def test_every_listed_member_must_have_signed(founding: Founding) -> None:
    genesis = founding.genesis
    signatures = dict(genesis.signatures)
    del signatures["GB"]
    with pytest.raises(MalformedGenesis, match="member GB: has not signed"):
        parse_genesis(encode_genesis(replace(genesis, signatures=signatures)))
    assert parse_unsigned_genesis(encode_genesis(replace(genesis, signatures={}))).signatures == {}


def test_a_signature_over_another_genesis_is_refused(founding: Founding) -> None:
    other = replace(founding.genesis, drill=False)
    with pytest.raises(MalformedGenesis, match="member BR: its signature"):
        parse_genesis(encode_genesis(other))


def test_a_signature_by_another_member_is_refused(founding: Founding) -> None:
    message = signed_bytes(founding.genesis)
    forged = with_signature(founding.genesis, "CN", founding.nodes[0].block.sign(message))
    with pytest.raises(MalformedGenesis, match="member CN: its signature"):
        parse_genesis(encode_genesis(forged))


def test_a_stranger_among_the_signatures_is_refused(founding: Founding) -> None:
    with pytest.raises(MalformedGenesis, match="XX is not a member"):
        parse_genesis(encode_genesis(with_signature(founding.genesis, "XX", bytes(64))))


def changed(founding: Founding, **fields: Any) -> Genesis:
    """The founding genesis with other fields, signed anew by all."""
    return sign_by_all(replace(founding.genesis, signatures={}, **fields), founding.nodes)


def test_values_out_of_range_are_named(founding: Founding) -> None:
    members, parties = founding.genesis.members, founding.genesis.parties
    cases: list[tuple[dict[str, Any], str]] = [
        ({"origin": "has space"}, "origin="),
        ({"publication": "nobody"}, "publication='nobody': want one of members, open"),
        ({"time_ms": -1}, "time_ms=-1"),
        ({"law_version": 0}, "law_version=0"),
        ({"protocol": {"gc_depth": -1}}, "protocol="),
        ({"policy": {"slot_l": "5"}}, "policy.slot_l="),
        ({"policy": {"no_such": 5}}, "policy.no_such"),
        ({"policy": {"bench_cap": 20_000}}, "policy.bench_cap=20000"),
        ({"states": ("US", "BR", "CN", "GB", "KE")}, "states: want ascending"),
        ({"states": ("BR", "CN", "GB")}, "member KE: not in states"),
        ({"members": ()}, "members: a ledger has at least one"),
        ({"members": (members[0], *members)}, "'BR': listed twice"),
        ({"parties": (replace(parties[0], role="king"),)}, "role='king'"),
        ({"parties": (replace(parties[0], state="FR"),)}, "state='FR' is not in states"),
        ({"parties": (replace(parties[0], owners=("nobody",)),)}, "owner 'nobody'"),
        ({"parties": (replace(parties[0], author_key=bytes(32)),)}, "party op0: author_key"),
        (
            {"members": (replace(members[0], peer_endpoint="nowhere"), *members[1:])},
            "member BR: peer_endpoint='nowhere': want host:port",
        ),
        (
            {"members": (replace(members[0], peer_endpoint="h:65536"), *members[1:])},
            "member BR: peer_endpoint",
        ),
        (
            {"members": (replace(members[0], block_key=b"short"), *members[1:])},
            "member BR: block_key",
        ),
        (
            {"members": (replace(members[0], certificate_pem=b"pem"), *members[1:])},
            "member BR: certificate",
        ),
        (
            {"members": (replace(members[0], vote_key=members[1].log_key), *members[1:])},
            "member CN: log_key: same key",
        ),
    ]
    for fields, message in cases:
        document = encode_genesis(changed(founding, **fields))
        with pytest.raises(MalformedGenesis) as caught:
            parse_genesis(document)
        assert message in str(caught.value), fields


def test_unknown_missing_and_misspelt_fields_are_refused(founding: Founding) -> None:
    value = cbor.decode_record(founding.document)
    with pytest.raises(MalformedGenesis, match="unknown field 'extra'"):
        parse_genesis(cbor.encode({**value, "extra": 1}))
    with pytest.raises(MalformedGenesis, match="drill is missing"):
        parse_genesis(cbor.encode({name: item for name, item in value.items() if name != "drill"}))
    with pytest.raises(MalformedGenesis, match="genesis"):
        parse_genesis(founding.document + b"\x00")
    with pytest.raises(MalformedGenesis, match="at most"):
        parse_genesis(bytes(5 * 1024 * 1024))


def test_a_declaration_is_signed_by_its_own_block_key(founding: Founding) -> None:
    member, node = founding.genesis.members[1], founding.nodes[1]
    data = encode_declaration(member, node.block.sign(declaration_signed_bytes(member)))
    assert parse_declaration(data) == member
    forged = encode_declaration(
        member, founding.nodes[0].block.sign(declaration_signed_bytes(member))
    )
    with pytest.raises(MalformedGenesis, match="declaration of CN: not signed"):
        parse_declaration(forged)


@pytest.mark.measure("M09")
def test_the_founders_may_say_what_the_world_has() -> None:
    """The slow door of entry into force needs the world's capacity (MODEL 7); a document without it is what it was."""
    second = found(4, law_version=2)
    assert b"world" not in second.document
    said = {"capacity_mh": {"CN": 4_000, "US": 6_000}, "fab": {"US": 1}}
    genesis = changed(second, world=said)
    document = encode_genesis(genesis)
    assert parse_genesis(document) == genesis
    facts = facts_of(genesis, document)
    assert (facts.world_capacity_mh, facts.world_fab) == (said["capacity_mh"], said["fab"])
    for wrong, why in (
        ({"fab": {"US": -1}}, "world: fab=.*want a map of names to integers"),
        ({"fab": {"US": 1 << 53}}, "world: fab=.*want a map of names to integers"),
        ({"fabs": {"US": 1}}, "unknown field 'fabs'"),
        ({"fab": {}}, "leave it out"),
    ):
        with pytest.raises(MalformedGenesis, match=why):
            parse_genesis(encode_genesis(changed(second, world=wrong)))


def test_law_1_knows_no_world(founding: Founding) -> None:
    with pytest.raises(MalformedGenesis, match="world: from law 2 on"):
        parse_genesis(encode_genesis(changed(founding, world={"fab": {"US": 1}})))


def test_no_party_owns_itself() -> None:
    second = found(4, operators=2, law_version=2)
    one, other = second.genesis.parties
    owned = (replace(one, owners=(other.id,)), replace(other, owners=(one.id,)))
    with pytest.raises(MalformedGenesis, match="parties: they own themselves: op"):
        parse_genesis(encode_genesis(changed(second, parties=owned)))
    parse_genesis(encode_genesis(changed(second, parties=(owned[0], other))))
