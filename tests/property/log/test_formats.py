"""Parsers of strangers' bytes: a value or their one error, and writing a value gives the bytes that were read.

Inputs are mutated valid ones, for pure noise never gets past the first check.
"""

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.log import cbor, cose, dsse, merkle, note, policy, proof, tiles, witness
from node.log.checkpoint import Checkpoint, parse_checkpoint
from node.log.errors import MalformedInput, MalformedProof
from node.signing import acknowledgement, statements
from node.signing.keys import Role
from tests.unit.log import world

FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CHECKPOINT = world.checkpoint(9)
HASHES = world.tree(40)
AUTHOR = world.key(Role.AUTHOR, "US")
ENTRY = statements.sign_entry(
    AUTHOR, author="US", kind="run", subject="r", content=b"c" * 300, seq=1, prev=bytes(32)
)
ENDORSEMENT = statements.sign_endorsement(
    AUTHOR, endorser="US", kind="run", subject="r", content=b"c"
)
RECEIPT_HEADER = cose.encode_receipt_header(AUTHOR.kid, "ledger", "run/r")
RECEIPT = cose.encode_inclusion_receipt(
    RECEIPT_HEADER, 40, 7, merkle.inclusion_proof(7, 40, HASHES.read), bytes(64)
)
CONSISTENCY = cose.encode_consistency_receipt(
    RECEIPT_HEADER, 9, 40, merkle.consistency_proof(9, 40, HASHES.read), bytes(32), bytes(64)
)
TRANSPARENT = cose.encode_transparent(ENTRY, (RECEIPT,))
ACKNOWLEDGEMENT = acknowledgement.sign_acknowledgement(
    world.LOG_KEYS["AA"],
    acknowledgement.Acknowledgement(
        chain_id=bytes(32), entry_hash=bytes(32), node="AA", inclusion_by_ms=5
    ),
)
NOTE = world.note(CHECKPOINT, ("AA", "BB"))
PROOF = bytes(
    proof.ProofFile(
        index=7,
        hashes=tuple(merkle.inclusion_proof(7, 40, HASHES.read)),
        note=world.note(world.checkpoint(40)),
        extra=b"extra",
    )
)
REQUEST = b"old 0\n\n" + NOTE
RECORD = cbor.encode({"type": "decision", "yes": 3, "inputs": [bytes(32)] * 3, "final": True})
ENVELOPE = b'{"payload":"AAAA","payloadType":"text/plain","signatures":[{"keyid":"","sig":"AAAA"}]}'


def statement_again(data: bytes) -> bytes:
    parsed = cose.parse_statement(data)
    assert cose.encode_header(parsed.header) == parsed.protected
    return cose.encode_statement(parsed.protected, parsed.payload, parsed.signature)


def detached_again(data: bytes) -> bytes:
    parsed = cose.parse_endorsement(data)
    return cose.encode_statement(parsed.protected, None, parsed.signature)


def only_reads(parse: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        parse(data)

    return read


READERS: dict[str, tuple[bytes, Callable[[bytes], bytes | None]]] = {
    "entry": (ENTRY, statement_again),
    "endorsement": (ENDORSEMENT, detached_again),
    "inclusion receipt": (RECEIPT, only_reads(cose.parse_inclusion_receipt)),
    "consistency receipt": (CONSISTENCY, only_reads(cose.parse_consistency_receipt)),
    "transparent statement": (
        TRANSPARENT,
        only_reads(cose.parse_transparent),
    ),
    "acknowledgement": (ACKNOWLEDGEMENT, only_reads(acknowledgement.parse_acknowledgement)),
    "note": (NOTE, lambda data: bytes(note.parse_note(data))),
    "note for a witness": (NOTE, only_reads(note.parse_note_for_witness)),
    "checkpoint": (CHECKPOINT.text(), lambda data: parse_checkpoint(data).text()),
    "proof file": (PROOF, lambda data: bytes(proof.parse_proof(data))),
    "request": (REQUEST, only_reads(witness.parse_request)),
    "policy": (world.POLICY, only_reads(policy.parse_policy)),
    "record": (RECORD, lambda data: cbor.encode(cbor.decode_record(data))),
    "bundle": (
        tiles.encode_bundle([b"one", b"", b"three"]),
        lambda data: tiles.encode_bundle(tiles.decode_bundle(data)),
    ),
    "envelope": (ENVELOPE, only_reads(dsse.parse_envelope)),
    "vkey": (
        str(world.LOG_VKEYS["AA"]).encode(),
        lambda data: str(note.parse_vkey(data.decode("latin-1"))).encode("latin-1"),
    ),
    "tile path": (
        b"tile/0/x001/234.p/7",
        lambda data: str(tiles.parse_path(data.decode("latin-1"))).encode("latin-1"),
    ),
}


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """A valid input after up to four edits: bytes changed, removed, doubled, inserted, or the end cut off."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from((0, 1, 1, 2, 8, 33)))
        fresh = draw(
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from(
                    (b"\n", b" ", b"=", b"+", b"\xa0", b"\xf6", b"\x58\x40", b"\xd2\x84")
                ),
                st.just(bytes(data[at : at + length]) * 2),
            )
        )
        data[at : at + length] = fresh
        if draw(st.integers(0, 15)) == 0:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("name", READERS)
@FAST
@given(data=st.data())
def test_mutated_input_gives_a_value_or_the_rooms_error(name: str, data: st.DataObject) -> None:
    valid, read = READERS[name]
    candidate = data.draw(mutated(valid))
    why = ""
    again: bytes | None = None
    try:
        again = read(candidate)
    except MalformedInput as err:
        why = str(err)
        again = candidate
    assert again is None or again == candidate, "what is hashed has one spelling"
    assert len(why) < 1_000, "an error does not repeat what a stranger sent"


@pytest.mark.parametrize("name", READERS)
def test_the_valid_input_is_read(name: str) -> None:
    valid, read = READERS[name]
    again = read(valid)
    assert again is None or again == valid


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-(2**64), 2**64 - 1), inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=9), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@FAST
@given(value=VALUES)
def test_deterministic_cbor_round_trips(value: Any) -> None:
    data = cbor.encode(value)
    assert cbor.decode(data, depth_max=16) == value
    if isinstance(value, dict):
        backwards = dict(reversed(value.items()))
        assert cbor.encode(backwards) == data, "the order in memory decides nothing"


@FAST
@given(
    origin=st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1),
    size=st.integers(0, 2**64 - 1),
    root=st.binary(min_size=32, max_size=32),
)
def test_checkpoints_round_trip(origin: str, size: int, root: bytes) -> None:
    value = Checkpoint(origin=origin, size=size, root=root)
    assert parse_checkpoint(value.text()) == value


@FAST
@given(index=st.integers(0, 2**64 - 1), level=st.integers(0, 63), width=st.integers(1, 256))
def test_tile_paths_round_trip(index: int, level: int, width: int) -> None:
    for value in (
        tiles.TilePath(level=level, index=index, width=width),
        tiles.TilePath(level=None, index=index, width=width),
    ):
        assert tiles.parse_path(str(value)) == value


@FAST
@given(
    cuts=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    old=st.integers(0, 40),
    index=st.integers(0, 39),
)
def test_batches_of_any_cut_make_the_same_tree(cuts: list[int], old: int, index: int) -> None:
    leaves = [HASHES.read(0, place) for place in range(40)]
    tree = merkle.EMPTY_TREE
    places = sorted({0, 40, *cuts})
    for start, end in itertools.pairwise(places):
        tree = merkle.append(tree, leaves[start:end]).tree
    assert tree == HASHES.tree
    path = merkle.consistency_proof(old, 40, HASHES.read)
    assert merkle.verify_consistency(old, 40, HASHES.root_at(old), tree.root(), path)
    path = merkle.inclusion_proof(index, 40, HASHES.read)
    assert merkle.verify_inclusion(leaves[index], index, 40, path, tree.root())


@FAST
@given(
    index=st.integers(-1, 2**65),
    size=st.integers(-1, 2**65),
    path=st.lists(st.binary(min_size=31, max_size=33), max_size=70),
)
def test_folding_any_proof_gives_a_root_or_the_error(
    index: int, size: int, path: list[bytes]
) -> None:
    with contextlib.suppress(MalformedProof):
        assert len(merkle.fold_inclusion(bytes(32), index, size, path)) == 32
    with contextlib.suppress(MalformedProof):
        assert len(merkle.fold_consistency(index, size, bytes(32), path)) == 32
