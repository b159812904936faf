"""Answers to peers from the store, and what a restart finds there (SPEC 4, 10, 13; PACEMAKER P1, P3, P6; RULINGS R31, R73)."""

from collections.abc import Iterable

import pytest

from consensus.codec import (
    MalformedBlock,
    commit_digest,
    decode_block,
    decode_commit_record,
    encode_block,
    encode_commit_record,
)
from consensus.dag import Dag
from consensus.linearizer import Linearizer
from consensus.serving import (
    BadQuestion,
    floor_of,
    recover,
    serve_below,
    serve_commits,
    serve_fetch,
    serve_listed,
    serve_newest,
    serve_range,
)
from consensus.types import (
    BELOW_COMMITS_MAX,
    COMMITS_MAX,
    FETCH_LEVELS_MAX,
    FETCH_REFS_MAX,
    LISTED_REFS_MAX,
    RANGE_ROUNDS_MAX,
    Block,
    CommitIndex,
    CommitRecord,
    Ref,
    Round,
    VerifiedBlock,
)
from tests.unit.consensus.blocks import History, committee_of, ref

FOUR = committee_of(4)
PLENTY = 1 << 30


class Store:
    """A BlockReader over a history, as node.storage keeps one; every leader of `committed` rounds is a commit."""

    def __init__(self, history: History, *, committed: int = 0, gc_depth: int = 4) -> None:
        self.blocks = {made.ref: encode_block(made) for made in history.blocks}
        self.records: list[bytes] = []
        dag = Dag(history.committee)
        for made in history.blocks:
            dag.accept(made)
        linearizer = Linearizer(history.committee, gc_depth=gc_depth)
        for round_ in range(1, committed + 1):
            (leader,) = dag.slot(Round(round_), history.committee.leader(Round(round_)))
            commit = linearizer.order(dag, leader)
            deciders = tuple(dag.refs(Round(round_ + 2))[:3])
            self.records.append(
                encode_commit_record(CommitRecord(commit=commit, deciders=deciders))
            )

    def block(self, name: Ref, /) -> bytes | None:
        return self.blocks.get(name)

    def blocks_in_rounds(
        self, first: int, last: int, limit_bytes: int, /
    ) -> list[tuple[Ref, bytes]]:
        found: list[tuple[Ref, bytes]] = []
        for name in sorted(self.blocks):
            if first <= name.round <= last:
                size = sum(len(data) for _, data in found) + len(self.blocks[name])
                if found and size > limit_bytes:
                    break
                found.append((name, self.blocks[name]))
        return found

    def newest_block_of(self, author: int, /) -> tuple[Ref, bytes] | None:
        names = [name for name in self.blocks if name.author == author]
        return (max(names), self.blocks[max(names)]) if names else None

    def commit_record(self, index: int, /) -> bytes | None:
        return self.records[index - 1] if 1 <= index <= len(self.records) else None

    def last_commit_index(self) -> int:
        return len(self.records)


def full(last: int) -> History:
    history = History(committee=FOUR)
    history.rounds(1, last)
    return history


def names(blocks: tuple[bytes, ...]) -> list[Ref]:
    return [decode_block(data).ref for data in blocks]


def at(history: History, round_: int, author: int = 0) -> Block:
    return history.blocks[4 * (round_ - 1) + author]


# --- fetch ---------------------------------------------------------------------------------------


def test_the_blocks_asked_for_and_their_ancestors_down_to_what_is_known() -> None:
    history = full(5)
    served = serve_fetch(Store(history), [at(history, 5).ref], 3)
    assert names(served.blocks) == sorted(
        [*(at(history, 4, author).ref for author in range(4)), at(history, 5).ref]
    )
    assert (served.floor, served.below) == (0, ())


def test_no_ancestors_where_the_parents_are_known() -> None:
    history = full(5)
    served = serve_fetch(Store(history), [at(history, 5).ref, at(history, 5, 1).ref], 4)
    assert names(served.blocks) == sorted((at(history, 5).ref, at(history, 5, 1).ref))


def test_the_nearest_levels_first_within_the_bytes() -> None:
    history = full(9)
    wanted = at(history, 9)
    size = len(encode_block(wanted))
    served = serve_fetch(Store(history), [wanted.ref], 0, bytes_max=6 * size)
    assert wanted.ref in names(served.blocks)
    assert len(served.blocks) <= 6
    assert {name.round for name in names(served.blocks)} <= {9, 8, 7}
    one = serve_fetch(Store(history), [wanted.ref], 0, bytes_max=1)
    assert names(one.blocks) == [wanted.ref]  # or who asks would never get on


def test_at_most_64_levels() -> None:
    history = full(FETCH_LEVELS_MAX + 10)
    served = serve_fetch(
        Store(history), [at(history, FETCH_LEVELS_MAX + 10).ref], 0, bytes_max=PLENTY
    )
    assert min(name.round for name in names(served.blocks)) == 11


def test_unknown_names_are_left_out_and_below_the_floor_said_so() -> None:
    history = full(12)
    store = Store(history, committed=10)
    lost, invented = ref(3, 2, "never seen"), ref(11, 2, "invented")
    served = serve_fetch(store, [lost, invented, at(history, 12).ref], 11, gc_depth=4)
    assert served.floor == floor_of(store, 4) == 6
    assert served.below == (lost,)
    assert names(served.blocks) == [at(history, 12).ref]


def test_old_blocks_that_are_still_here_are_served() -> None:
    """R31: all blocks are kept, so that the order can be audited."""
    history = full(12)
    served = serve_fetch(Store(history, committed=10), [at(history, 1).ref], 0, gc_depth=4)
    assert names(served.blocks) == [at(history, 1).ref]
    assert served.below == ()


@pytest.mark.parametrize("count", [0, FETCH_REFS_MAX + 1])
def test_a_question_of_no_or_too_many_names_is_bad(count: int) -> None:
    with pytest.raises(BadQuestion, match=f"refs={count}"):
        serve_fetch(Store(full(1)), [ref(1, 0, f"{i}") for i in range(count)], 0)


# --- ranges --------------------------------------------------------------------------------------


def test_a_range_is_whole_rounds_ascending() -> None:
    history = full(9)
    served = serve_range(Store(history), 3, 5, validators=4)
    assert names(served.blocks) == sorted(m.ref for m in history.blocks if 3 <= m.ref.round <= 5)
    assert (served.complete_through, served.highest_round) == (5, 9)


def test_a_range_past_the_end_ends_there() -> None:
    served = serve_range(Store(full(9)), 8, 30, validators=4)
    assert len(served.blocks) == 8
    assert (served.complete_through, served.highest_round) == (9, 9)
    beyond = serve_range(Store(full(9)), 12, 30, validators=4)
    assert (beyond.blocks, beyond.complete_through, beyond.highest_round) == ((), 11, 9)
    empty = serve_range(Store(History(committee=FOUR)), 1, 30, validators=4)
    assert (empty.blocks, empty.complete_through, empty.highest_round) == ((), 0, 0)


def test_a_range_is_cut_between_rounds() -> None:
    history = full(9)
    size = len(encode_block(at(history, 5)))
    served = serve_range(Store(history), 3, 9, validators=4, bytes_max=10 * size)
    assert served.complete_through == 4
    assert len(served.blocks) == 8
    # One round at least is served, whatever it weighs.
    tight = serve_range(Store(history), 3, 9, validators=4, bytes_max=1)
    assert tight.complete_through == 3
    assert tight.blocks


@pytest.mark.parametrize(("first", "last"), [(0, 5), (5, 4), (1, RANGE_ROUNDS_MAX + 1), (-3, 2)])
def test_a_bad_range_is_refused(first: int, last: int) -> None:
    with pytest.raises(BadQuestion, match="rounds"):
        serve_range(Store(full(2)), first, last, validators=4)


def test_the_widest_range_is_served() -> None:
    served = serve_range(Store(full(2)), 1, RANGE_ROUNDS_MAX, validators=4)
    assert served.complete_through == 2


# --- what decided commits ------------------------------------------------------------------------


def test_p1_each_commit_after_the_last_one_with_its_deciders() -> None:
    history = full(12)
    served = serve_below(Store(history, committed=10), 7, gc_depth=4)
    assert [index for index, _ in served.commits] == [8, 9, 10]
    assert [{name.round for name in names(blocks)} for _, blocks in served.commits] == [
        {10},
        {11},
        {12},
    ]
    assert all(len(blocks) == FOUR.quorum for _, blocks in served.commits)
    assert served.floor == 6


def test_r73_at_most_64_commits_and_never_none_for_bytes() -> None:
    history = full(80)
    store = Store(history, committed=78)
    assert len(serve_below(store, 2).commits) == BELOW_COMMITS_MAX
    assert [index for index, _ in serve_below(store, 2, bytes_max=1).commits] == [3]


@pytest.mark.parametrize("after", [10, 11, 2**64 - 1])
def test_nothing_after_the_last_commit(after: int) -> None:
    assert serve_below(Store(full(12), committed=10), after).commits == ()


# --- certified commits ---------------------------------------------------------------------------


class Certifying:
    """A Certifier that can prove just these commits."""

    def __init__(self, *indexes: int) -> None:
        self.indexes = indexes

    def last_certified(self, first: int, last: int, /) -> CommitIndex | None:
        found = [index for index in self.indexes if first <= index <= last]
        return CommitIndex(max(found)) if found else None

    def next_certified(self, after: int, /) -> CommitIndex | None:
        found = [index for index in self.indexes if index > after]
        return CommitIndex(min(found)) if found else None


def indexes(served: list[bytes]) -> list[int]:
    records = [decode_commit_record(data) for data in served]
    assert all(record.deciders == () for record in records)
    return [record.commit.index for record in records]


@pytest.mark.parametrize(
    ("first", "last", "certified", "served"),
    [
        (1, 50, (7, 20, 60), range(1, 21)),  # trimmed to the last that can be certified
        (1, 50, (60,), range(1, 61)),  # none inside: on to the next one
        (8, 20, (7, 20, 60), range(8, 21)),
        (21, 30, (7, 20), ()),  # nothing to end with
        (61, 70, (7, 20, 60), ()),
        (70, 90, (78, 90), range(70, 79)),  # certified beyond what is stored
    ],
)
def test_commits_end_with_one_that_can_be_certified(
    first: int, last: int, certified: tuple[int, ...], served: Iterable[int]
) -> None:
    store = Store(full(80), committed=78)
    found = serve_commits(store, first, last, Certifying(*certified))
    assert indexes(found) == list(served)


def test_commits_are_cut_to_the_bytes_of_one_answer_and_still_end_with_a_certified_one() -> None:
    store = Store(full(80), committed=78)
    size = len(serve_commits(store, 1, 1, Certifying(1))[0])
    few = serve_commits(store, 2, 50, Certifying(4, 50), bytes_max=8 * size)
    assert indexes(few) == [2, 3, 4]
    assert serve_commits(store, 2, 50, Certifying(50), bytes_max=8 * size) == []


def test_commits_too_far_from_a_certificate_are_not_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consensus.serving.COMMITS_ANSWERED_MAX", 60)
    store = Store(full(80), committed=78)
    assert len(serve_commits(store, 1, 50, Certifying(60))) == 60
    assert serve_commits(store, 1, 50, Certifying(61)) == []


@pytest.mark.parametrize(("first", "last"), [(0, 5), (5, 4), (1, COMMITS_MAX + 1)])
def test_a_question_for_commits_has_bounds(first: int, last: int) -> None:
    with pytest.raises(BadQuestion, match="commits"):
        serve_commits(Store(full(4)), first, last, Certifying())


def test_listed_blocks_are_served_by_name_alone_as_far_as_the_bytes_go() -> None:
    history = full(6)
    store = Store(history)
    refs = [made.ref for made in history.blocks[8:14]]
    data = [encode_block(made) for made in history.blocks[8:14]]
    assert serve_listed(store, refs) == data
    assert serve_listed(store, [ref(9, 1), *refs]) == data  # what is not held is left out
    assert serve_listed(store, refs, bytes_max=len(data[0]) + len(data[1])) == data[:2]
    assert serve_listed(store, refs, bytes_max=1) == data[:1]
    for wrong in ([], [refs[0]] * (LISTED_REFS_MAX + 1)):
        with pytest.raises(BadQuestion, match="refs"):
            serve_listed(store, wrong)


def test_the_newest_block_of_an_author() -> None:
    history = full(3)
    history.round(4, (1, 2, 3))
    store = Store(history)
    assert serve_newest(store, 0) == encode_block(at(history, 3))
    assert serve_newest(store, 1) == encode_block(history.blocks[12])
    assert serve_newest(store, 77) is None


# --- recovering ----------------------------------------------------------------------------------


def test_an_empty_store_recovers_to_nothing() -> None:
    recovered = recover(Store(History(committee=FOUR)), None)
    assert (recovered.blocks, recovered.records, recovered.own) == ((), (), None)


def test_recovered_are_the_blocks_above_the_floor_and_the_commits_that_reach_down_to_it() -> None:
    history = full(14)
    own = VerifiedBlock(at(history, 14))
    recovered = recover(Store(history, committed=12), own, gc_depth=4)
    floor = 8
    assert [b.block.ref for b in recovered.blocks] == sorted(
        m.ref for m in history.blocks if m.ref.round > floor
    )
    commits = [record.commit for record in recovered.records]
    assert [commit.index for commit in commits] == [8, 9, 10, 11, 12]
    assert commits[0].leader.round <= floor < commits[1].leader.round
    assert recovered.own == own
    for commit in commits:
        assert commit.digest == commit_digest(
            epoch=commit.epoch,
            index=commit.index,
            prev_digest=commit.prev_digest,
            leader=commit.leader,
            blocks=commit.blocks,
            time_ms=commit.time_ms,
            committee_hash=commit.committee_hash,
        )


def test_a_young_store_recovers_whole() -> None:
    history = full(5)
    recovered = recover(Store(history, committed=3), None)
    assert len(recovered.blocks) == 20
    assert [record.commit.index for record in recovered.records] == [1, 2, 3]


def test_a_hole_among_the_commits_is_damage() -> None:
    store = Store(full(14), committed=12)
    reader = store.commit_record
    store.commit_record = lambda index, /: None if index == 10 else reader(index)  # type: ignore[method-assign]
    with pytest.raises(MalformedBlock, match="commit 10"):
        recover(store, None, gc_depth=4)
