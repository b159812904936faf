"""Bytes from outside and from disk: every parser gives a value or its one error, and values read back."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.ledger import records
from node.ledger.cosigned import Cosigned, encode_cosigned, parse_cosigned
from node.ledger.errors import MalformedGenesis, MalformedRecord
from node.ledger.genesis import (
    encode_genesis,
    parse_declaration,
    parse_genesis,
    parse_unsigned_genesis,
)
from node.ledger.plan import facts_from_row, facts_row
from node.ledger.reader import Malformed, ReadEntry, read_entry
from node.ledger.view import leaf_view
from node.log import cbor
from node.signing.statements import entry_hash
from node.storage.errors import StoreDamaged
from node.storage.sign_state import (
    BlockSigned,
    CosignSigned,
    encode_block,
    encode_cosign,
    parse_block,
    parse_cosign,
)
from node.treaty.entries import EntryFacts
from tests.unit.ledger.founding import Founding, found

hashes = st.binary(min_size=32, max_size=32)
u63 = st.integers(0, 2**63 - 1)
u53 = st.integers(0, 2**53 - 1)
texts = st.text(max_size=40)


@cache
def founding() -> Founding:
    return found(4, 1)


@cache
def entry() -> bytes:
    return founding().author(0).facility("dc1", founding().agencies[0])


def mutated(data: bytes, position: int, value: int, cut: int) -> bytes:
    """One byte changed, and some bytes cut off or repeated at the end."""
    position %= len(data)
    spoiled = data[:position] + bytes([value]) + data[position + 1 :]
    return spoiled[: len(spoiled) - cut] if cut >= 0 else spoiled + data[cut:]


mutations = st.tuples(st.integers(0, 10**6), st.integers(0, 255), st.integers(-3, 3))


# A changed serial number may be none that RFC 5280 allows; the library still reads it, and warns.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(mutation=mutations)
def test_a_changed_genesis_is_never_taken_for_signed(mutation: tuple[int, int, int]) -> None:
    document = founding().document
    spoiled = mutated(document, *mutation)
    try:
        genesis = parse_genesis(spoiled)
    except MalformedGenesis:
        assert spoiled != document
    else:
        assert spoiled == document == encode_genesis(genesis)


@given(mutation=mutations)
def test_an_unsigned_genesis_reads_back_or_is_refused(mutation: tuple[int, int, int]) -> None:
    spoiled = mutated(encode_genesis(replace(founding().genesis, signatures={})), *mutation)
    try:
        genesis = parse_unsigned_genesis(spoiled)
    except MalformedGenesis:
        return
    assert encode_genesis(genesis) == spoiled


def cbor_values() -> st.SearchStrategy[cbor.Value]:
    leaf = st.one_of(
        st.integers(-5, 2**64 - 1), st.binary(max_size=40), texts, st.booleans(), st.none()
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)
        ),
        max_leaves=10,
    )


GENESIS_FIELDS = sorted(cbor.decode_record(encode_genesis(found(4, 1).genesis)))


@given(name=st.sampled_from(GENESIS_FIELDS), value=cbor_values())
def test_any_value_in_any_genesis_field_is_handled(name: str, value: cbor.Value) -> None:
    fields = cbor.decode_record(founding().document)
    document = cbor.encode({**fields, name: value})
    try:
        genesis = parse_unsigned_genesis(document)
    except MalformedGenesis:
        return
    assert encode_genesis(genesis) == document


@given(
    name=st.sampled_from(sorted(cbor.decode_record(founding().document)["members"][0])),
    value=cbor_values(),
)
def test_any_value_in_any_member_field_is_handled(name: str, value: cbor.Value) -> None:
    fields = cbor.decode_record(founding().document)
    fields["members"][0][name] = value
    try:
        parse_unsigned_genesis(cbor.encode(fields))
    except MalformedGenesis:
        return


@given(data=st.binary(max_size=200))
def test_noise_is_no_declaration(data: bytes) -> None:
    try:
        parse_declaration(data)
    except MalformedGenesis:
        return
    raise AssertionError("noise was taken for a signed declaration")


@given(
    epoch=st.integers(0, 2**32 - 1),
    round_=st.integers(0, 2**32 - 1),
    digest=hashes,
    block=st.binary(max_size=300),
)
def test_block_sign_state_reads_back(epoch: int, round_: int, digest: bytes, block: bytes) -> None:
    signed = BlockSigned(epoch=epoch, round=round_, digest=digest, block=block)
    assert parse_block(encode_block(signed)) == signed


@given(size=u63, root=hashes, timestamp=u63, half=hashes)
def test_cosignatures_read_back(size: int, root: bytes, timestamp: int, half: bytes) -> None:
    signed = CosignSigned(size=size, root=root, timestamp=timestamp, signature=half * 2)
    assert parse_cosign(encode_cosign(signed)) == signed
    line = Cosigned(member=3, size=size, root=root, timestamp=timestamp, signature=half * 2)
    assert parse_cosigned(encode_cosigned(line)) == line


@given(
    data=st.binary(max_size=400),
    magic=st.sampled_from([b"", b"foedus/block/1\n", b"foedus/cosign/1\n"]),
)
def test_noise_is_no_sign_state(data: bytes, magic: bytes) -> None:
    for parse in (parse_block, parse_cosign):
        try:
            parse(magic + data)
        except StoreDamaged:
            continue
        raise AssertionError("noise has no checksum")


@given(data=st.binary(max_size=130))
def test_noise_is_a_line_or_refused(data: bytes) -> None:
    try:
        line = parse_cosigned(data)
    except MalformedRecord:
        return
    assert encode_cosigned(line) == data


@given(
    author=texts, kind=texts, topic=texts, code=texts, leaf=u53, seq=u53, time_s=u53, content=hashes
)
def test_facts_read_back(
    author: str, kind: str, topic: str, code: str, leaf: int, seq: int, time_s: int, content: bytes
) -> None:
    facts = EntryFacts(bytes(32), leaf, author, seq, kind, topic, code, content, time_s)
    row = facts_row(facts)
    assert facts_from_row(bytes(32), row) == facts


@given(row=st.binary(max_size=120))
def test_noise_is_facts_or_refused(row: bytes) -> None:
    try:
        facts = facts_from_row(bytes(32), row)
    except MalformedRecord:
        return
    assert facts_row(facts) == row


@given(mutation=mutations)
@settings(max_examples=300)
def test_a_changed_entry_is_read_or_named_as_malformed(mutation: tuple[int, int, int]) -> None:
    raw = mutated(entry(), *mutation)
    result = read_entry(raw, entry_hash(raw))
    if isinstance(result, Malformed):
        assert result.field
        assert result.why
    else:
        assert isinstance(result, ReadEntry)
        assert leaf_view(0, raw)["hash"] == result.entry_hash.hex()


@given(
    fields=st.dictionaries(texts, cbor_values(), max_size=5),
    kind=st.sampled_from(sorted(records.TYPES)),
)
def test_any_record_map_is_shown_or_refused(fields: dict[str, cbor.Value], kind: str) -> None:
    leaf = cbor.encode({**fields, "type": kind})
    assert leaf_view(0, leaf)["form"] == "record"
    assert records.is_record(leaf)


@given(data=st.binary(max_size=80))
def test_noise_is_a_leaf_or_refused(data: bytes) -> None:
    try:
        view = leaf_view(0, data)
    except MalformedRecord:
        return
    assert view["form"] in {"record", "entry"}
