"""The DAG: what it counts, what it forgets (SPEC 4, 6.2, 8)."""

import pytest

from consensus.dag import Dag
from consensus.types import Block, Ref, Round, ValidatorIndex
from tests.unit.consensus.blocks import History, block, committee_of

FOUR = committee_of(4)


def fed(history: History) -> Dag:
    dag = Dag(history.committee)
    for made in history.blocks:
        dag.accept(made)
    return dag


def mask(*authors: int) -> int:
    return sum(1 << author for author in authors)


def full(last: int) -> tuple[History, Dag]:
    history = History(committee=FOUR)
    history.rounds(1, last)
    return history, fed(history)


def test_an_empty_dag_has_genesis_alone() -> None:
    dag = Dag(FOUR)
    assert (dag.highest_round, dag.floor, len(dag)) == (0, 0, 0)
    assert all(dag.has(genesis) for genesis in FOUR.genesis)
    assert dag.node(FOUR.genesis[0]) is None
    assert dag.authors(Round(0)) == mask(0, 1, 2, 3)
    assert dag.has_quorum(Round(0))
    assert dag.authors(Round(1)) == 0
    assert not dag.has_quorum(Round(1))
    assert dag.slot(Round(1), ValidatorIndex(0)) == ()


def test_a_block_is_there_with_its_payload() -> None:
    history = History(committee=FOUR)
    made = history.draw(2, 1, payload=(b"entry",))
    dag = fed(history)
    assert dag.has(made.ref)
    assert dag.block(made.ref) == made
    node = dag.node(made.ref)
    assert node is not None
    assert (node.ref, node.parents, node.time_ms) == (
        made.ref,
        made.header.parents,
        made.header.time_ms,
    )
    dag.release(made.ref)
    assert dag.block(made.ref) is None
    assert dag.has(made.ref)
    dag.release(made.ref)  # again: as at a restart


def test_a_missing_parent_and_a_second_acceptance_are_our_own_mistakes() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    dag = Dag(FOUR)
    with pytest.raises(AssertionError, match="is missing"):
        dag.accept(history.blocks[4])
    dag.accept(history.blocks[0])
    with pytest.raises(AssertionError, match="accepted twice"):
        dag.accept(history.blocks[0])


def test_a_failed_acceptance_leaves_nothing_behind() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    dag = Dag(FOUR)
    with pytest.raises(AssertionError):
        dag.accept(history.blocks[4])
    assert (len(dag), dag.highest_round, dag.authors(Round(2))) == (0, 0, 0)


def equivocation() -> tuple[Dag, Block, Block]:
    """Validator 1, leader of round 1, signs two blocks of it; 0 and 2 vote for the first, 3 for the second, 1 for both."""
    history = History(committee=FOUR)
    history.round(1)
    first = history.blocks[1]
    second = history.draw(1, 1, payload=(b"other",))
    rest = [history.blocks[0].ref, history.blocks[2].ref, history.blocks[3].ref]
    for author in (0, 2):
        history.draw(author, 2, [first.ref, *rest])
    history.draw(3, 2, [second.ref, *rest])
    history.draw(1, 2, rest, own=first.ref)
    history.draw(1, 2, rest, own=second.ref)
    return fed(history), first, second


def test_variants_stand_in_order_of_acceptance_and_count_once() -> None:
    dag, first, second = equivocation()
    assert dag.slot(Round(1), ValidatorIndex(1)) == (first.ref, second.ref)
    assert dag.authors(Round(1)) == mask(0, 1, 2, 3)
    assert len(dag.refs(Round(1))) == 5
    assert [ref.author for ref in dag.refs(Round(1))] == [0, 1, 1, 2, 3]
    again = Dag(FOUR)
    again.accept(second)
    again.accept(first)
    assert again.slot(Round(1), ValidatorIndex(1)) == (second.ref, first.ref)


def test_who_signs_two_blocks_counts_once_on_each_side() -> None:
    """SPEC 6.3: one author may be among the voters and among those who blame, never twice among either."""
    dag, first, second = equivocation()
    assert dag.voters(first.ref) == mask(0, 1, 2)
    assert dag.voters(second.ref) == mask(1, 3)
    assert dag.blamers(first.ref) == mask(1, 3)
    assert dag.blamers(second.ref) == mask(0, 1, 2)


def test_a_block_that_names_both_variants_votes_for_the_first_and_blames_neither() -> None:
    """No valid block does (SPEC 3.2). "Without L among its parents" (6.3) is not "votes for another" there."""
    history = History(committee=FOUR)
    history.round(1)
    first = history.blocks[1]
    second = history.draw(1, 1, payload=(b"other",))
    history.draw(0, 2, [first.ref, history.blocks[2].ref, history.blocks[3].ref])
    dag = fed(history)
    dag.accept(block(FOUR, 2, 2, [history.blocks[2].ref, first.ref, second.ref]))
    assert (dag.voters(first.ref), dag.voters(second.ref)) == (mask(0, 2), 0)
    assert (dag.blamers(first.ref), dag.blamers(second.ref)) == (0, mask(0))


def test_a_link_to_an_older_block_of_the_leader_is_no_vote() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    old = history.blocks[1].ref  # of validator 1, round 1
    leader = history.blocks[6].ref  # of validator 2, who leads round 2
    voter = history.draw(0, 3)
    stale = history.draw(
        3,
        3,
        [ref for ref in history.round_before(3) if ref != leader] + [history.blocks[2].ref],
    )
    dag = fed(history)
    assert old.author == 1
    assert dag.voters(leader) == mask(0)
    assert dag.blamers(leader) == mask(3)
    votes = {ref: dag.node(ref).vote for ref in (voter.ref, stale.ref)}  # type: ignore[union-attr]
    assert votes == {voter.ref: leader, stale.ref: None}


def test_a_certificate_needs_a_quorum_of_voting_parents() -> None:
    history = History(committee=FOUR)
    history.round(1)
    leader = history.blocks[1].ref
    history.round(2, authors=(0, 1, 2))  # votes
    history.round(3, authors=(0,))
    history.draw(3, 2, [ref for ref in history.round_before(2) if ref != leader])  # blames
    links = history.round_before(3)
    history.draw(1, 3, [ref for ref in links if ref.author != 0])  # two votes and the blame
    history.draw(2, 3, links)  # three votes and the blame
    dag = fed(history)
    assert dag.certifiers(leader) == mask(0, 2)


def test_blame_for_an_empty_slot_is_read_from_the_round_itself() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2, authors=(0, 2, 3))
    dag = fed(history)
    assert dag.slot(Round(1), ValidatorIndex(1)) == ()
    assert dag.votes(Round(2)) == {None: mask(0, 2, 3)}


def test_history_is_walked_down_to_the_lowest_round_wanted() -> None:
    history, dag = full(5)
    tip = history.blocks[-1].ref
    walked = [node.ref for node in dag.history(tip, Round(3))]
    assert len(walked) == len(set(walked)) == 1 + 4 + 4
    assert {ref.round for ref in walked} == {3, 4, 5}
    assert [node.ref for node in dag.history(tip, Round(9))] == [tip]


def test_a_raised_floor_forgets_and_counts_as_present() -> None:
    history, dag = full(6)
    gone = [made.ref for made in history.blocks if made.ref.round <= 3]
    dag.raise_floor(Round(3))
    assert len(dag) == 12
    assert all(dag.has(ref) and dag.node(ref) is None for ref in gone)
    assert all(dag.block(ref) is None for ref in gone)
    assert dag.authors(Round(3)) == 0
    assert dag.authors(Round(4)) == mask(0, 1, 2, 3)
    assert dag.highest_round == 6
    assert not dag.refs(Round(2))
    tip = history.blocks[-1].ref
    assert {node.ref.round for node in dag.history(tip, Round(1))} == {4, 5, 6}


def test_a_parent_at_or_below_the_floor_need_not_be_known() -> None:
    _, dag = full(6)
    dag.raise_floor(Round(3))
    parents = [
        Ref(Round(3), ValidatorIndex(author), dag.refs(Round(5))[0].digest) for author in range(4)
    ]
    made = block(FOUR, 0, 4, parents, payload=(b"late",))
    dag.accept(made)
    assert dag.has(made.ref)


def test_nothing_is_accepted_at_or_below_the_floor_and_it_never_falls() -> None:
    history, dag = full(6)
    dag.raise_floor(Round(3))
    with pytest.raises(AssertionError, match="below the floor"):
        dag.accept(history.blocks[0])
    with pytest.raises(AssertionError, match="ran backwards"):
        dag.raise_floor(Round(2))
    dag.raise_floor(Round(3))
    assert dag.floor == 3


def test_a_floor_far_above_all_blocks_is_cheap_and_right() -> None:
    """A member that was away a year raises its floor by millions of rounds at once."""
    _, dag = full(6)
    dag.raise_floor(Round(4_000_000_000))
    assert (len(dag), dag.highest_round) == (0, 6)


def test_votes_whose_leader_lies_below_the_floor_still_count() -> None:
    """The floor is at most three rounds under the newest commit: a slot's votes outlive the slot."""
    history, dag = full(4)
    leader = history.blocks[1].ref
    dag.raise_floor(Round(1))
    assert dag.voters(leader) == mask(0, 1, 2, 3)
    assert dag.certifiers(leader) == mask(0, 1, 2, 3)
