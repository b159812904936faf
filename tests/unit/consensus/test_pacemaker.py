"""The Push rules by name: A1, A2, L1, L2, C1, C2, C3, the timer, quiescence (SPEC 5, PACEMAKER.md, RULINGS R30 and R32)."""

import pytest

from consensus.dag import Dag
from consensus.pacemaker import Pacemaker, Rule, has_leader, has_votes
from consensus.types import Millis, Parameters, Ref, Round, ValidatorIndex
from tests.unit.consensus.blocks import History, committee_of

FOUR = committee_of(4)
PARAMETERS = Parameters(delta_ms=500, timeout_deltas=2, timeout_cap_ms=60_000)
START = Millis(1_000_000)
T = 1_000  # two deltas
NO_COMMIT = Round(0)


def at(after_ms: int) -> Millis:
    return Millis(START + after_ms)


def fed(history: History) -> Dag:
    dag = Dag(history.committee)
    for made in history.blocks:
        dag.accept(made)
    return dag


def full(last: int, authors: tuple[int, ...] = (0, 1, 2, 3)) -> History:
    history = History(committee=FOUR)
    history.rounds(1, last, authors)
    return history


def in_round(round_: int, *, signed: int | None = None) -> Pacemaker:
    """Entered `round_` at START, all own blocks before it signed."""
    pacemaker = Pacemaker(FOUR, PARAMETERS, [Round(round_)] * FOUR.size)
    pacemaker.last_signed = Round(round_ - 1 if signed is None else signed)
    pacemaker.enter(Round(round_), START)
    return pacemaker


def rule(
    pacemaker: Pacemaker, history: History, after_ms: int, *, may_idle: bool = False
) -> Rule | None:
    return pacemaker.rule(fed(history), at(after_ms), may_idle=may_idle)


# --- A1, A2 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("authors", "enters"), [((0, 1), False), ((0, 1, 2), True)])
def test_a1_a_round_is_left_with_a_quorum_of_it(authors: tuple[int, ...], enters: bool) -> None:
    history = full(2)
    history.round(3, authors)
    pacemaker = in_round(3, signed=3)
    assert pacemaker.advance(fed(history), NO_COMMIT, at(5)) is enters
    assert pacemaker.round == (4 if enters else 3)


def test_a1_counts_authors_not_blocks() -> None:
    history = full(2)
    history.round(3, (0, 1))
    history.draw(1, 3, payload=(b"again",))
    history.draw(1, 3, payload=(b"and again",))
    assert not in_round(3, signed=3).advance(fed(history), NO_COMMIT, at(5))


def test_a2_a_round_is_not_left_without_an_own_block_of_it() -> None:
    """The rule that the production clock lacks: it can be led past its own blocks for ever."""
    pacemaker = in_round(3)
    assert not pacemaker.advance(fed(full(9)), NO_COMMIT, at(5))
    assert pacemaker.round == 3


def test_several_rounds_are_left_at_once_where_own_blocks_are() -> None:
    """As after a restart: own blocks and a quorum of each round are in the store."""
    pacemaker = in_round(3, signed=5)
    assert pacemaker.advance(fed(full(5)), NO_COMMIT, at(5))
    assert pacemaker.round == 6


@pytest.mark.parametrize(
    ("signed", "committed", "round_"),
    [
        (2, 7, 8),  # the gap ends behind the committed leader
        (2, 2, 3),  # a commit below the present round waives nothing
        (2, 3, 4),
    ],
)
def test_a2_is_waived_for_rounds_that_a_commit_decided(
    signed: int, committed: int, round_: int
) -> None:
    """R30: my blocks there would be useless."""
    pacemaker = in_round(3, signed=signed)
    pacemaker.advance(fed(full(9)), Round(committed), at(5))
    assert pacemaker.round == round_


def test_a2_waived_never_goes_back_below_what_was_signed() -> None:
    pacemaker = in_round(3, signed=9)
    pacemaker.advance(fed(full(2)), Round(5), at(5))
    assert pacemaker.round == 10


# --- L1, L2 --------------------------------------------------------------------------------------


def test_l1_a_block_of_the_leader_of_the_round_before() -> None:
    assert has_leader(fed(full(2)), Round(3))
    history = full(1)
    history.round(2, (0, 1, 3))  # 2 leads round 2
    assert not has_leader(fed(history), Round(3))
    assert has_leader(fed(history), Round(2))


def test_l1_and_l2_ask_nothing_of_rounds_before_the_first() -> None:
    empty = Dag(FOUR)
    assert has_leader(empty, Round(1))
    assert has_votes(empty, Round(1))
    assert has_votes(empty, Round(2))
    assert not has_leader(empty, Round(2))
    assert not has_votes(empty, Round(3))


def votes_on_round_1(voting: int, blaming: int) -> Dag:
    """As many blocks of round 2 with and without the leader of round 1, 1."""
    history = full(1)
    leader = history.blocks[1].ref
    for author in range(voting):
        history.draw(author, 2)
    for author in range(voting, voting + blaming):
        history.draw(author, 2, [ref for ref in history.round_before(2) if ref != leader])
    return fed(history)


@pytest.mark.parametrize(
    ("voting", "blaming", "settled"),
    [
        (3, 0, True),  # it can be certified
        (2, 0, False),
        (2, 2, False),  # split: neither
        (0, 0, False),
    ],
)
def test_l2_a_quorum_of_votes_for_the_leader_two_rounds_before(
    voting: int, blaming: int, settled: bool
) -> None:
    assert has_votes(votes_on_round_1(voting, blaming), Round(3)) is settled


def skip_pattern() -> Dag:
    """0, 2 and 3 go on without the block of 1, which leads round 1."""
    history = full(1)
    leader = history.blocks[1].ref
    for author in (0, 2, 3):
        history.draw(author, 2, [ref for ref in history.round_before(2) if ref != leader])
    return fed(history)


def test_l2_or_the_skip_pattern() -> None:
    assert has_votes(skip_pattern(), Round(3))
    without = History(committee=FOUR)
    without.rounds(1, 2, (0, 2, 3))
    assert has_votes(fed(without), Round(3))


def test_l2_split_between_two_proposals_waits_for_each_to_be_blamed() -> None:
    """Per proposal, as the commit rule has it (SPEC D4): two votes each leave both open at n=4, three blame one only."""
    history = full(1)
    first: Ref = history.blocks[1].ref
    second = history.draw(1, 1, payload=(b"other",)).ref
    rest = [ref for ref in history.round_before(2) if ref.author != 1]
    history.draw(0, 2, [*rest, first])
    history.draw(2, 2, [*rest, second])
    assert not has_votes(fed(history), Round(3))
    history.draw(3, 2, rest)
    assert not has_votes(fed(history), Round(3))  # each is blamed by two
    history.draw(1, 2, rest, own=first)
    assert not has_votes(fed(history), Round(3))  # second by three, first by two


# --- C1, C2, C3 ----------------------------------------------------------------------------------


def test_c1_leaders_votes_and_the_least_delay() -> None:
    pacemaker = in_round(3)
    assert rule(pacemaker, full(2), 249) is None
    assert rule(pacemaker, full(2), 250) is Rule.C1


def test_c1_waits_for_the_leader() -> None:
    history = full(1)
    history.round(2, (0, 1, 3))
    assert rule(in_round(3), history, 999) is None


def test_c1_waits_for_the_votes() -> None:
    history = full(2)
    leader = history.blocks[6].ref  # of 2, in round 2
    history.round(3, (0, 3))
    history.draw(2, 3, [ref for ref in history.round_before(3) if ref != leader])
    # 3 leads round 3 and is here; for 2's block of round 2 there are three votes, 2's own among them.
    assert rule(in_round(4), history, 999) is Rule.C1
    other = full(2)
    other.round(3, (0, 3))
    other.draw(1, 3, [ref for ref in other.round_before(3) if ref != leader])
    assert rule(in_round(4), other, 999) is None


def test_c2_the_leader_timeout() -> None:
    history = full(1)
    history.round(2, (0, 1, 3))
    assert rule(in_round(3), history, T - 1) is None
    assert rule(in_round(3), history, T) is Rule.C2


def test_c3_a_quorum_is_already_here_and_no_delay_holds_it() -> None:
    history = full(2)
    history.round(3, (1, 2))
    assert rule(in_round(3), history, 0) is None
    history.round(3, (3,))
    assert rule(in_round(3), history, 0) is Rule.C3


def test_nothing_is_made_twice_or_without_a_quorum_of_the_round_before() -> None:
    assert rule(in_round(3, signed=3), full(9), 10 * T) is None
    history = full(1)
    history.round(2, (0, 1))
    assert rule(in_round(3), history, 10 * T) is None


# --- the timer -----------------------------------------------------------------------------------


def test_the_timer_runs_from_every_entry() -> None:
    history = full(1)
    history.round(2, (0, 1, 3))
    pacemaker = in_round(2, signed=2)
    dag = fed(history)
    assert pacemaker.advance(dag, NO_COMMIT, at(700))
    assert pacemaker.rule(dag, at(700 + T - 1), may_idle=False) is None
    assert pacemaker.rule(dag, at(700 + T), may_idle=False) is Rule.C2


@pytest.mark.parametrize(
    ("rounds", "expect"), [(0, T), (3, T), (4, 2 * T), (8, 4 * T), (23, 32 * T), (24, 60_000)]
)
def test_the_timeout_doubles_after_n_rounds_without_a_commit(rounds: int, expect: int) -> None:
    pacemaker = in_round(5)
    pacemaker.committed()
    pacemaker.enter(Round(5 + rounds), START)
    assert pacemaker.timeout_ms == expect
    pacemaker.committed()
    assert pacemaker.timeout_ms == T


def test_the_timeout_has_a_cap_after_any_number_of_rounds() -> None:
    pacemaker = in_round(1)
    pacemaker.enter(Round(2**32 - 1), START)
    assert pacemaker.timeout_ms == PARAMETERS.timeout_cap_ms


def test_deadlines_are_when_the_rule_may_change_by_itself() -> None:
    pacemaker = in_round(3)
    assert set(pacemaker.deadlines()) == {at(250), at(T), at(30_000)}
    assert in_round(3, signed=3).deadlines() == ()


# --- quiescence ----------------------------------------------------------------------------------


def test_with_nothing_to_order_a_round_waits_for_the_idle_delay() -> None:
    pacemaker = in_round(3)
    assert rule(pacemaker, full(2), T, may_idle=True) is None
    assert rule(pacemaker, full(2), 29_999, may_idle=True) is None
    # T is over as well by then, and an expired T stays expired through idling.
    assert rule(pacemaker, full(2), 30_000, may_idle=True) is Rule.C2


def test_idling_ends_when_f_plus_1_have_gone_on() -> None:
    history = full(2)
    history.round(3, (1,))
    assert rule(in_round(3), history, 250, may_idle=True) is None
    history.round(3, (2,))
    assert rule(in_round(3), history, 250, may_idle=True) is Rule.C1


def test_idling_does_not_hold_c3() -> None:
    history = full(2)
    history.round(3, (1, 2, 3))
    assert rule(in_round(3), history, 0, may_idle=True) is Rule.C3


def test_a_wake_lifts_the_idle_delay_of_its_round_alone() -> None:
    peer, other = ValidatorIndex(1), ValidatorIndex(2)
    pacemaker = in_round(3)
    pacemaker.woken(peer, Round(2))
    assert rule(pacemaker, full(2), 250, may_idle=True) is None
    pacemaker.woken(other, Round(3))
    assert rule(pacemaker, full(2), 250, may_idle=True) is Rule.C1


def test_a_wake_for_a_round_not_entered_yet_is_kept() -> None:
    """PACEMAKER P4."""
    pacemaker = in_round(3, signed=3)
    pacemaker.woken(ValidatorIndex(1), Round(4))
    dag = fed(full(3))
    assert pacemaker.advance(dag, NO_COMMIT, at(10))
    assert pacemaker.rule(dag, at(260), may_idle=True) is Rule.C1


def test_a_wake_lifts_no_other_wait() -> None:
    history = full(1)
    history.round(2, (0, 1, 3))
    pacemaker = in_round(3)
    pacemaker.woken(ValidatorIndex(1), Round(3))
    assert rule(pacemaker, history, 999, may_idle=True) is None
