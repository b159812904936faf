"""`decode_block` on anything: a value that prints back to the same bytes, or MalformedBlock; nothing else."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from consensus.codec import (
    MalformedBlock,
    assemble_block,
    decode_block,
    decode_commit_record,
    encode_block,
    encode_commit_record,
    payload_root,
    peek_ref,
)
from consensus.types import (
    COMMIT_VOTES_MAX,
    EVIDENCE_MAX,
    Block,
    CommitIndex,
    CommitVote,
    Digest,
    EquivocationProof,
    Header,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
)
from tests.unit.consensus.blocks import History, committee_of

U16 = st.integers(0, 2**16 - 1)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
SIGNATURES = st.binary(min_size=64, max_size=64)
REFS = st.builds(Ref, U32.map(Round), U16.map(ValidatorIndex), DIGESTS)
VOTES = st.builds(CommitVote, index=U64.map(CommitIndex), digest=DIGESTS)


@st.composite
def proofs(draw: st.DrawFn) -> EquivocationProof:
    low, high = sorted(draw(st.lists(DIGESTS, min_size=2, max_size=2, unique=True)))
    return EquivocationProof(
        epoch=draw(U32),
        round=Round(draw(U32)),
        author=ValidatorIndex(draw(U16)),
        digest1=low,
        signature1=draw(SIGNATURES),
        digest2=high,
        signature2=draw(SIGNATURES),
    )


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Any well-formed block, valid or not."""
    payload = tuple(draw(st.lists(st.binary(min_size=1, max_size=40), max_size=5)))
    header = Header(
        chain_id=draw(DIGESTS),
        epoch=draw(U32),
        round=Round(draw(U32)),
        author=ValidatorIndex(draw(U16)),
        time_ms=Millis(draw(U64)),
        flags=draw(st.sampled_from((0, 1))),
        parents=tuple(draw(st.lists(REFS, max_size=6))),
        payload_root=payload_root(payload),
        payload_len=sum(map(len, payload)),
        commit_votes=tuple(draw(st.lists(VOTES, max_size=COMMIT_VOTES_MAX))),
        evidence=tuple(draw(st.lists(proofs(), max_size=EVIDENCE_MAX))),
    )
    return assemble_block(header, payload, draw(SIGNATURES))


def read(data: bytes) -> Block | None:
    """The block; None if refused. Whatever else is raised fails the test."""
    try:
        return decode_block(data)
    except MalformedBlock:
        return None


@given(blocks())
def test_any_well_formed_block_comes_back(made: Block) -> None:
    data = encode_block(made)
    assert decode_block(data) == made
    assert peek_ref(data) == made.ref


@given(st.binary(max_size=400))
@example(b"")
@example(bytes(51 + 2 + 36 + 2 + 2 + 4 + 64))
def test_any_bytes_are_one_spelling_or_none(data: bytes) -> None:
    made = read(data)
    if made is not None:
        assert encode_block(made) == data


@settings(max_examples=400)
@given(blocks(), st.data())
def test_a_mutated_block_is_another_block_or_none(made: Block, data: st.DataObject) -> None:
    """Bytes replaced, removed or inserted anywhere: never the same block under other bytes, its signature apart."""
    whole = encode_block(made)
    at = data.draw(st.integers(0, len(whole)), label="at")
    gone = data.draw(st.integers(0, min(8, len(whole) - at)), label="gone")
    new = data.draw(st.binary(max_size=8), label="new")
    mutated = whole[:at] + new + whole[at + gone :]
    other = read(mutated)
    if other is None or mutated == whole:
        return
    assert encode_block(other) == mutated
    if mutated[:-64] != whole[:-64]:
        assert other.ref != made.ref
    else:
        assert (other.ref, other.payload) == (made.ref, made.payload)


@given(st.binary(max_size=300))
def test_any_bytes_are_one_commit_record_or_none(data: bytes) -> None:
    try:
        record = decode_commit_record(data)
    except MalformedBlock:
        return
    assert encode_commit_record(record) == data


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=6))
def test_a_real_block_with_bytes_written_over_it(at: int, new: bytes) -> None:
    drawn = History(committee=committee_of(7))
    drawn.rounds(1, 2)
    whole = encode_block(drawn.draw(3, 3, payload=(b"entry", b"another")))
    at %= len(whole)
    mutated = (whole[:at] + new + whole[at + len(new) :])[: len(whole)]
    other = read(mutated)
    if other is not None:
        assert encode_block(other) == mutated
