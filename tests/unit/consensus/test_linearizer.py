"""From leaders to commits: what each brings, in which order, at what time, above which floor (SPEC 8)."""

import itertools

import pytest

from consensus.codec import commit_digest
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.linearizer import Linearizer
from consensus.ordering import GC_DEPTH_MIN
from consensus.types import GC_DEPTH, ZERO_DIGEST, Commit, Ref, Round
from tests.unit.consensus.blocks import GENESIS_MS, History, block, committee_of
from tests.unit.consensus.member import Member

FOUR = committee_of(4)


def fed(history: History) -> Dag:
    dag = Dag(history.committee)
    for made in history.blocks:
        dag.accept(made)
    return dag


def leader_of(history: History, round_: int) -> Ref:
    author = history.committee.leader(Round(round_))
    return next(m.ref for m in history.blocks if m.ref.round == round_ and m.ref.author == author)


def run(history: History, *rounds: int, gc_depth: int = 0) -> tuple[Linearizer, list[Commit]]:
    linearizer = Linearizer(history.committee, gc_depth=gc_depth)
    dag = fed(history)
    return linearizer, [linearizer.order(dag, leader_of(history, round_)) for round_ in rounds]


def full(last: int, committee: Committee = FOUR) -> History:
    history = History(committee=committee)
    history.rounds(1, last)
    return history


def test_a_commit_brings_what_is_new_in_order_of_round_author_digest() -> None:
    history = full(3)
    _, (first, second, third) = run(history, 1, 2, 3)
    assert [(ref.round, ref.author) for ref in first.blocks] == [(1, 1)]
    assert [(r.round, r.author) for r in second.blocks] == [(1, 0), (1, 2), (1, 3), (2, 2)]
    assert [(r.round, r.author) for r in third.blocks] == [(2, 0), (2, 1), (2, 3), (3, 3)]
    assert all(list(commit.blocks) == sorted(commit.blocks) for commit in (first, second, third))
    assert all(commit.leader in commit.blocks for commit in (first, second, third))


def test_both_blocks_of_a_slot_are_ordered_by_digest() -> None:
    history = History(committee=FOUR)
    history.round(1)
    second = history.draw(0, 1, payload=(b"other",))
    first = history.blocks[0]
    rest = [ref for ref in history.round_before(2) if ref.author != 0]
    history.draw(0, 2, rest)
    history.draw(1, 2, [*rest, second.ref])
    history.draw(2, 2, [*rest, first.ref])
    history.round(3, authors=(0, 1, 2))
    three = history.draw(3, 3)
    dag = fed(history)
    commit = Linearizer(FOUR, gc_depth=0).order(dag, three.ref)
    of_slot = [ref for ref in commit.blocks if ref.round == 1 and ref.author == 0]
    assert of_slot == sorted((first.ref, second.ref))


def test_a_lower_block_is_committed_though_a_higher_one_of_its_author_was() -> None:
    """SPEC D5: the per-author watermark would lose it for ever."""
    history = History(committee=FOUR)
    history.round(1, authors=(0, 1, 2))
    straggler = history.draw(3, 1)
    links = [ref for ref in history.round_before(2) if ref.author != 3]
    for author in (0, 1, 2):
        history.draw(author, 2, links)
    # 3 makes a block of round 3 upon its genesis block; only later is its block of round 1 linked.
    history.draw(3, 3, own=FOUR.genesis[3])
    history.round(3, authors=(0, 1, 2))
    history.round(4, authors=(1, 2, 3))
    history.draw(0, 4)
    rest = [ref for ref in history.round_before(5) if ref.author != 3]
    tip = history.draw(1, 5, [*rest, straggler.ref])
    linearizer = Linearizer(FOUR, gc_depth=0)
    dag = fed(history)
    before = linearizer.order(dag, leader_of(history, 4))
    assert {ref.round for ref in before.blocks if ref.author == 3} >= {3}
    assert straggler.ref not in before.blocks
    assert straggler.ref in linearizer.order(dag, tip.ref).blocks


def test_nothing_is_ordered_twice() -> None:
    history = full(12)
    _, commits = run(history, 1, 4, 5, 9, 12, gc_depth=4)
    brought = [ref for commit in commits for ref in commit.blocks]
    assert len(brought) == len(set(brought))


def test_commits_chain_and_their_digest_is_of_their_fields() -> None:
    _, commits = run(full(4), 1, 2, 4)
    assert [commit.index for commit in commits] == [1, 2, 3]
    assert commits[0].prev_digest == ZERO_DIGEST
    for before, commit in itertools.pairwise(commits):
        assert commit.prev_digest == before.digest
    for commit in commits:
        assert commit.committee_hash == FOUR.committee_hash
        assert commit.digest == commit_digest(
            epoch=0,
            index=commit.index,
            prev_digest=commit.prev_digest,
            leader=commit.leader,
            blocks=commit.blocks,
            time_ms=commit.time_ms,
            committee_hash=FOUR.committee_hash,
        )


# --- time ----------------------------------------------------------------------------------------


def leader_over(times: list[int], committee: Committee, *, own_ms: int) -> Commit:
    """The commit of a leader of round 2 whose parents of round 1 have these times."""
    history = History(committee=committee)
    for author, time_ms in enumerate(times):
        history.draw(author, 1, time_ms=GENESIS_MS + time_ms)
    history.draw(2, 2, time_ms=own_ms)
    return Linearizer(committee, gc_depth=0).order(fed(history), history.blocks[-1].ref)


@pytest.mark.parametrize(
    ("times", "median"),
    [
        ([10, 20, 30], 20),
        ([30, 10, 20], 20),
        ([10, 20, 30, 40], 30),  # the first whose running count exceeds half
        ([40, 10, 30, 20], 30),
        ([0, 0, 0, 9], 0),
        ([5, 5, 9, 9], 9),
    ],
)
def test_time_is_the_median_of_the_parents_of_the_round_before(
    times: list[int], median: int
) -> None:
    assert leader_over(times, FOUR, own_ms=0).time_ms == GENESIS_MS + median
    assert leader_over(times, FOUR, own_ms=2**63).time_ms == GENESIS_MS + median


def test_older_parents_do_not_count_for_time() -> None:
    history = History(committee=FOUR)
    for author in range(4):
        history.draw(author, 1, time_ms=GENESIS_MS + 1)
    for author in (0, 1, 2):
        history.draw(author, 2, time_ms=GENESIS_MS + 100 * (author + 1))
    tip = history.draw(3, 3)  # own parent of round 1
    assert tip.header.parents[0].round == 1
    commit = Linearizer(FOUR, gc_depth=0).order(fed(history), tip.ref)
    assert commit.time_ms == GENESIS_MS + 200


def test_time_never_runs_backwards_and_begins_at_genesis() -> None:
    history = History(committee=FOUR)
    for round_, time_ms in ((1, 500), (2, 900), (3, 200), (4, 1_000), (5, 1_100)):
        for author in range(4):
            history.draw(author, round_, time_ms=GENESIS_MS + time_ms)
    _, commits = run(history, 1, 2, 3, 4, 5)
    times = [commit.time_ms - GENESIS_MS for commit in commits]
    assert times == [0, 500, 900, 900, 1_000]


@pytest.mark.parametrize("lie", [0, 2**64 - 1])
def test_f_lying_clocks_do_not_leave_the_honest_ones(lie: int) -> None:
    seven = committee_of(7)
    history = History(committee=seven)
    for author in range(7):
        time_ms = lie if author in (2, 5) else GENESIS_MS + 10 + author
        history.draw(author, 1, time_ms=time_ms)
    tip = history.draw(2, 2, history.round_before(2)[:5])
    commit = Linearizer(seven, gc_depth=0).order(fed(history), tip.ref)
    assert GENESIS_MS + 10 <= commit.time_ms <= GENESIS_MS + 16


# --- the floor -----------------------------------------------------------------------------------


def straggling(last: int) -> tuple[History, Ref]:
    """Validator 3's block of round 1 is known to all and linked by nobody but 3's own block of round `last`."""
    history = History(committee=FOUR)
    history.round(1)
    straggler = history.blocks[3].ref
    history.round(2, authors=(0, 1, 2), without=(straggler,))
    history.rounds(3, last - 1, authors=(0, 1, 2))
    history.draw(3, last)
    return history, straggler


@pytest.mark.parametrize(("before", "brought"), [(4, True), (5, False)])
def test_the_floor_of_a_commit_comes_from_the_commit_before(before: int, brought: bool) -> None:
    """Depth 4, straggler at round 1: a commit of round 4 leaves the floor at 0, one of round 5 moves it to 1."""
    history, straggler = straggling(11)
    linearizer = Linearizer(FOUR, gc_depth=4)
    dag = fed(history)
    linearizer.order(dag, leader_of(history, before))
    assert linearizer.floor == before - 4
    commit = linearizer.order(dag, history.blocks[-1].ref)
    # Its own leader is at round 11: a floor of its own would be 7, and would shut out the straggler in both cases.
    assert (straggler in commit.blocks) is brought
    assert linearizer.floor == 7


def test_the_floor_bounds_the_walk_and_voids_what_lies_below() -> None:
    history, straggler = straggling(11)
    linearizer = Linearizer(FOUR, gc_depth=4)
    dag = fed(history)
    linearizer.order(dag, leader_of(history, 9))
    dag.raise_floor(linearizer.floor)
    commit = linearizer.order(dag, history.blocks[-1].ref)
    assert straggler not in commit.blocks
    assert min(ref.round for ref in commit.blocks) > 5


def test_no_depth_no_floor() -> None:
    linearizer, _ = run(full(12), 4, 8, 12)
    assert linearizer.floor == 0


def test_the_protocols_depth_is_the_default() -> None:
    history = full(GC_DEPTH + 3)
    linearizer = Linearizer(FOUR)
    linearizer.order(fed(history), leader_of(history, GC_DEPTH + 3))
    assert linearizer.floor == 3


def test_what_is_committed_above_the_floor_is_remembered_and_no_more() -> None:
    history = full(12)
    linearizer, commits = run(history, 4, 12, gc_depth=4)
    brought = {ref for commit in commits for ref in commit.blocks}
    assert linearizer.floor == 8
    for made in history.blocks:
        above = made.ref.round > 8
        assert linearizer.is_committed(made.ref) is (above and made.ref in brought)


# --- going on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_restored_linearizer_goes_on_alike(cut: int) -> None:
    """From the newest commits, back to the first whose leader is at or below the floor."""
    history = full(16)
    leaders = (2, 5, 6, 9, 13, 16)
    _, whole = run(history, *leaders, gc_depth=4)
    done = whole[:cut]
    floor = max(0, done[-1].leader.round - 4)
    start = max((i for i, c in enumerate(done) if c.leader.round <= floor), default=0)
    again = Linearizer(FOUR, gc_depth=4)
    again.restore(done[start:])
    assert again.floor == floor
    dag = fed(history)
    assert [again.order(dag, commit.leader) for commit in whole[cut:]] == whole[cut:]


def test_restoring_a_broken_chain_is_our_own_mistake() -> None:
    _, commits = run(full(8), 1, 2, 3)
    with pytest.raises(AssertionError, match="commit 3 after 1"):
        Linearizer(FOUR).restore([commits[0], commits[2]])


def test_leaders_come_in_ascending_rounds() -> None:
    history = full(4)
    linearizer, _ = run(history, 3)
    with pytest.raises(AssertionError, match="out of order"):
        linearizer.order(fed(history), leader_of(history, 2))
    with pytest.raises(AssertionError, match="out of order"):
        linearizer.order(fed(history), leader_of(history, 3))


def test_a_depth_that_would_forget_the_last_wave_is_refused() -> None:
    """Of a validator: its DAG is cut by the floor. The order alone is defined for any depth."""
    Member(gc_depth=GC_DEPTH_MIN)
    with pytest.raises(AssertionError, match="gc_depth="):
        Member(gc_depth=GC_DEPTH_MIN - 1)
    Linearizer(FOUR, gc_depth=1)
    with pytest.raises(AssertionError, match="gc_depth="):
        Linearizer(FOUR, gc_depth=-1)


def test_a_leader_without_parents_one_round_below_moves_no_clock() -> None:
    """No valid block is such a leader; a published order may hold one, and still has one answer."""
    history = full(2)
    dag, linearizer = fed(history), Linearizer(FOUR, gc_depth=0)
    first = linearizer.order(dag, leader_of(history, 2))
    lonely = block(FOUR, 1, 5, [first.leader], time_ms=first.time_ms + 9_999)
    dag.accept(lonely)
    assert linearizer.order(dag, lonely.ref).time_ms == first.time_ms
