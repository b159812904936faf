"""The commit rule where neither a published case nor a random history looks: its parts, and what must stop it (SPEC 6)."""

import pytest

from consensus.commit_rule import Forked, How, Status, decide, deciders, is_skipped, supported
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.types import Ref, Round, ValidatorIndex
from tests.unit.consensus.blocks import CHAIN, GENESIS_MS, MEMBERS, History, committee_of

FOUR = committee_of(4)


def fed(history: History) -> Dag:
    dag = Dag(history.committee)
    for made in history.blocks:
        dag.accept(made)
    return dag


@pytest.mark.parametrize(("going_on", "skipped"), [(0, False), (2, False), (3, True)])
def test_an_empty_slot_is_skipped_when_a_quorum_went_on(going_on: int, skipped: bool) -> None:
    """The pacemaker asks this before any block of the round after is here."""
    history = History(committee=FOUR)
    history.round(1, (0, 2, 3))
    history.round(2, range(4)[:going_on])
    assert is_skipped(fed(history), Round(1)) is skipped


def test_the_supported_block_is_the_one_with_a_quorum_of_voters() -> None:
    history = History(committee=FOUR)
    history.round(1)
    second = history.draw(1, 1, payload=(b"other",)).ref
    rest = [ref for ref in history.round_before(2) if ref.author != 1]
    for author in (0, 2):
        history.draw(author, 2, [*rest, second])
    assert supported(fed(history), Round(1)) is None
    history.draw(3, 2, [*rest, second])
    assert supported(fed(history), Round(1)) == second


def test_only_slots_two_below_the_highest_round_are_asked() -> None:
    for last in (0, 1, 2):
        history = History(committee=FOUR)
        history.rounds(1, last)
        assert decide(fed(history), Round(1)) == []
    history = History(committee=FOUR)
    history.rounds(1, 5)
    assert [decision.round for decision in decide(fed(history), Round(1))] == [1, 2, 3]
    assert [decision.round for decision in decide(fed(history), Round(3))] == [3]
    assert decide(fed(history), Round(4)) == []


def test_the_leader_is_the_committees_and_not_the_identity() -> None:
    order = tuple(map(ValidatorIndex, (2, 0, 3, 1)))
    committee = Committee.with_order(
        leaders=order, chain_id=CHAIN, members=MEMBERS, genesis_time_ms=GENESIS_MS
    )
    history = History(committee=committee)
    history.rounds(1, 6)
    decisions = decide(fed(history), Round(1))
    assert [decision.author for decision in decisions] == [0, 3, 1, 2]
    assert all(
        decision.leader is not None and decision.leader.author == decision.author
        for decision in decisions
    )


def test_undecided_has_neither_leader_nor_way() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    history.round(3, (0,))
    (decision,) = decide(fed(history), Round(1))
    assert (decision.status, decision.how, decision.leader) == (Status.UNDECIDED, None, None)


@pytest.mark.parametrize(("linked", "status"), [(False, Status.SKIP), (True, Status.COMMIT)])
def test_only_a_certificate_in_the_anchors_history_counts(*, linked: bool, status: Status) -> None:
    """SPEC 6.4: validator 2 alone certifies the leader of round 1. Whether the anchor, 0 in round 4, links that decides; not
    whether this member happens to know it, since others may not.
    """
    history = History(committee=FOUR)
    history.round(1)
    leader = history.blocks[1].ref
    voting = [history.draw(author, 2).ref for author in (0, 1, 2)]
    blaming = history.draw(3, 2, [ref for ref in history.round_before(2) if ref != leader]).ref
    for author in (0, 1, 3):
        history.draw(author, 3, [voting[0], voting[1], blaming])
    history.draw(2, 3, voting)
    links = [ref for ref in history.round_before(4) if linked or ref.author != 2]
    history.draw(0, 4, links)
    for author in (1, 2, 3):
        history.draw(author, 4)
    history.rounds(5, 6)
    dag = fed(history)
    decision, *_, anchor = decide(dag, Round(1))
    assert dag.certifiers(leader) == 0b0100
    assert (anchor.round, anchor.status, anchor.how) == (4, Status.COMMIT, How.DIRECT)
    assert (decision.status, decision.how) == (status, How.INDIRECT)
    assert decision.leader == (leader if linked else None)


def two_certified(votes: tuple[int, ...]) -> Dag:
    """Both blocks of the leader of round 1 get votes of these authors, who all equivocate, and certificates of everybody."""
    history = History(committee=FOUR)
    history.round(1)
    first = history.blocks[1].ref
    second = history.draw(1, 1, payload=(b"other",)).ref
    rest = [ref for ref in history.round_before(2) if ref.author != 1]
    layers: list[list[Ref]] = []
    for leader in (first, second):
        layers.append(
            [
                history.draw(author, 2, [*rest, leader], own=leader if author == 1 else None).ref
                for author in votes
            ]
        )
    for layer in layers:
        for author in votes:
            own = next(ref for ref in layer if ref.author == author)
            history.draw(author, 3, layer, own=own)
    return fed(history)


def test_two_certified_blocks_of_one_slot_stop_it() -> None:
    """SPEC 6.3: more than f are Byzantine; whatever is answered could be wrong."""
    with pytest.raises(Forked, match="leader slot 1/1"):
        decide(two_certified((0, 1, 2)), Round(1))


def test_a_certified_block_and_a_skip_pattern_stop_it() -> None:
    history = History(committee=FOUR)
    history.round(1)
    leader = history.blocks[1].ref
    links = history.round_before(2)
    voting = [history.draw(author, 2, links).ref for author in range(4)]
    for author in (0, 2, 3):
        history.draw(author, 2, [link for link in links if link != leader], payload=(b"again",))
    for author in range(4):
        history.draw(author, 3, voting, own=voting[author])
    with pytest.raises(Forked, match="1 blocks committed, skip pattern True"):
        decide(fed(history), Round(1))


def test_a_later_fork_does_not_hide_behind_an_earlier_decision() -> None:
    """Any forked slot that is looked at stops the answer as a whole."""
    dag = two_certified((0, 1, 2))
    with pytest.raises(Forked):
        decide(dag, Round(1))
    assert decide(dag, Round(2)) == []


def test_deciders_of_a_direct_commit_are_its_certificates() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 3)
    dag = fed(history)
    found = deciders(dag, decide(dag, Round(1)), 0)
    assert [(ref.round, ref.author) for ref in found] == [(3, 0), (3, 1), (3, 2)]


def test_deciders_of_a_direct_skip_are_those_who_went_on_without_it() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 3, (0, 2, 3))
    dag = fed(history)
    decisions = decide(dag, Round(1))
    assert (decisions[0].status, decisions[0].how) == (Status.SKIP, How.DIRECT)
    assert [(ref.round, ref.author) for ref in deciders(dag, decisions, 0)] == [
        (2, 0),
        (2, 2),
        (2, 3),
    ]


def test_an_undecided_slot_has_no_deciders() -> None:
    history = History(committee=FOUR)
    history.rounds(1, 2)
    history.round(3, (0,))
    dag = fed(history)
    with pytest.raises(AssertionError):
        deciders(dag, decide(dag, Round(1)), 0)
