"""Peer messages: every reader gives a value or its one error; what was written reads back."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.types import (
    BELOW_COMMITS_MAX,
    COMMITS_ANSWERED_MAX,
    COMMITS_MAX,
    FETCH_REFS_MAX,
    RANGE_ROUNDS_MAX,
    CommitIndex,
    Digest,
    Ref,
    Round,
    ValidatorIndex,
)
from node.network import wire
from node.network.wire import MalformedMessage

READERS: list[Callable[[bytes], Any]] = [
    wire.read_frame,
    wire.read_subscribe,
    wire.read_fetch,
    wire.read_range,
    wire.read_below,
    wire.read_newest,
    wire.read_cosignatures,
    wire.read_fetched,
    wire.read_ranged,
    wire.read_below_answer,
    wire.read_commits,
    wire.read_listed,
    wire.read_commits_answer,
    wire.read_listed_answer,
    wire.read_newest_answer,
    wire.read_lines,
]

u32 = st.integers(0, 2**32 - 1)
rounds = u32.map(Round)
digests = st.binary(min_size=32, max_size=32)
chains = st.builds(wire.Chain, digests, u32)
refs = st.builds(Ref, rounds, st.integers(0, 0xFFFF).map(ValidatorIndex), digests.map(Digest))
indexes = st.integers(0, 2**64 - 1).map(CommitIndex)
some_refs = st.lists(refs, min_size=1, max_size=FETCH_REFS_MAX).map(tuple)
blobs = st.lists(st.binary(max_size=200), max_size=20).map(tuple)


@pytest.mark.parametrize("read", READERS)
@given(data=st.binary(max_size=300))
def test_any_bytes_give_a_value_or_the_one_error(read: Callable[[bytes], Any], data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        read(data)


@given(chain=chains, after=rounds)
def test_subscribe_reads_back(chain: wire.Chain, after: Round) -> None:
    request = wire.Subscribe(chain, after)
    assert wire.read_subscribe(wire.write_subscribe(request)) == request


@given(request=st.builds(wire.Fetch, chains, some_refs, rounds))
def test_fetch_reads_back(request: wire.Fetch) -> None:
    assert wire.read_fetch(wire.write_fetch(request)) == request


@given(chain=chains, first=st.integers(0, 2**32 - 60), more=st.integers(-1, RANGE_ROUNDS_MAX + 1))
def test_a_range_reads_back_or_is_out_of_bounds(chain: wire.Chain, first: int, more: int) -> None:
    request = wire.FetchRange(chain, Round(first), Round(max(0, first + more)))
    data = wire.write_range(request)
    if first >= 1 and 0 <= more < RANGE_ROUNDS_MAX:
        assert wire.read_range(data) == request
    else:
        with pytest.raises(MalformedMessage, match="rounds"):
            wire.read_range(data)


@given(chain=chains, index=indexes, author=st.integers(0, 2**32 - 1))
def test_the_other_requests_read_back(chain: wire.Chain, index: CommitIndex, author: int) -> None:
    below = wire.FetchBelow(chain, index)
    assert wire.read_below(wire.write_below(below)) == below
    lines = wire.GetCosignatures(chain, index)
    assert wire.read_cosignatures(wire.write_cosignatures(lines)) == lines
    newest = wire.GetNewest(chain, ValidatorIndex(author))
    data = wire.write_newest(newest)
    if author <= wire.AUTHOR_MAX:
        assert wire.read_newest(data) == newest
    else:
        with pytest.raises(MalformedMessage, match="author"):
            wire.read_newest(data)


@given(fetched=st.builds(wire.Fetched, blobs, rounds, some_refs))
def test_fetched_reads_back(fetched: wire.Fetched) -> None:
    assert wire.read_fetched(wire.write_fetched(fetched)) == fetched


@given(ranged=st.builds(wire.Ranged, blobs, rounds, rounds))
def test_ranged_reads_back(ranged: wire.Ranged) -> None:
    assert wire.read_ranged(wire.write_ranged(ranged)) == ranged


@given(
    below=st.builds(wire.Below, rounds, st.lists(st.tuples(indexes, blobs), max_size=8).map(tuple))
)
def test_below_reads_back(below: wire.Below) -> None:
    assert wire.read_below_answer(wire.write_below_answer(below)) == below


@given(chain=chains, first=st.integers(0, 2**64 - 60), more=st.integers(-1, COMMITS_MAX + 1))
def test_commits_read_back_or_are_out_of_bounds(chain: wire.Chain, first: int, more: int) -> None:
    request = wire.FetchCommits(chain, CommitIndex(first), CommitIndex(max(0, first + more)))
    data = wire.write_commits(request)
    if first >= 1 and 0 <= more < COMMITS_MAX:
        assert wire.read_commits(data) == request
    else:
        with pytest.raises(MalformedMessage, match="commits"):
            wire.read_commits(data)


@given(chain=chains, listed=some_refs, blocks=blobs)
def test_listed_read_back(
    chain: wire.Chain, listed: tuple[Ref, ...], blocks: tuple[bytes, ...]
) -> None:
    request = wire.FetchListed(chain, listed)
    assert wire.read_listed(wire.write_listed(request)) == request
    assert wire.read_listed_answer(wire.write_listed_answer(blocks)) == blocks


certificates = st.builds(
    wire.Certificate,
    leaf_index=indexes,
    leaf=st.binary(min_size=1, max_size=100),
    proof=st.lists(digests, max_size=4).map(tuple),
    lines=blobs,
)


@given(
    commits=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5).map(tuple),
    made=certificates,
)
def test_commits_answered_read_back_with_their_certificate_and_not_without(
    commits: tuple[bytes, ...], made: wire.Certificate
) -> None:
    for answer in (wire.Commits(commits, made), wire.Commits((), None)):
        assert wire.read_commits_answer(wire.write_commits_answer(answer)) == answer
    for half in (wire.Commits(commits, None), wire.Commits((), made)):
        with pytest.raises(MalformedMessage, match="certificate"):
            wire.read_commits_answer(wire.write_commits_answer(half))


FINE = wire.Certificate(leaf_index=1, leaf=b"leaf", proof=(bytes(32),), lines=())


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (wire.Commits((b"c",) * (COMMITS_ANSWERED_MAX + 1), FINE), "commits"),
        (wire.Commits((b"c",), replace(FINE, leaf=b"")), "leaf"),
        (wire.Commits((b"c",), replace(FINE, leaf=bytes(65_536))), "leaf"),
        (wire.Commits((b"c",), replace(FINE, proof=(bytes(32),) * 64)), "proof"),
        (wire.Commits((b"c",), replace(FINE, proof=(bytes(31),))), "proof"),
        (wire.Commits((b"c",), replace(FINE, lines=(bytes(4_097),))), "lines"),
    ],
)
def test_answers_of_commits_beyond_their_bounds_are_refused(
    answer: wire.Commits, named: str
) -> None:
    with pytest.raises(MalformedMessage, match=named):
        wire.read_commits_answer(wire.write_commits_answer(answer))


@given(blocks=blobs, round_=rounds)
def test_frames_read_back(blocks: tuple[bytes, ...], round_: Round) -> None:
    assert wire.read_frame(wire.bundle_frame(blocks)) == wire.Bundle(blocks)
    assert wire.read_frame(wire.cosigned_frame(blocks)) == wire.Cosigned(blocks)
    assert wire.read_frame(wire.wake_frame(round_)) == wire.Wake(round_)
    assert wire.read_lines(wire.write_lines(blocks)) == blocks


def test_more_commits_than_one_answer_may_have_are_refused() -> None:
    commits = tuple((CommitIndex(index), ()) for index in range(BELOW_COMMITS_MAX + 1))
    with pytest.raises(MalformedMessage, match="commits"):
        wire.read_below_answer(wire.write_below_answer(wire.Below(Round(1), commits)))


def test_no_newest_block_and_an_empty_one_are_the_same() -> None:
    assert wire.read_newest_answer(wire.write_newest_answer(None)) is None
    assert wire.read_newest_answer(wire.write_newest_answer(b"block")) == b"block"
