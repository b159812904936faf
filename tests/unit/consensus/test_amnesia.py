"""Which rounds a validator without its sign state may sign, and that none of them can be one it signed before (SPEC 10)."""

import itertools
from dataclasses import replace

import pytest

from consensus.amnesia import Amnesia, answers_needed
from consensus.dag import Dag
from consensus.events import (
    Event,
    LossConfirmed,
    PayloadPending,
    Propose,
    Reject,
    SendNewest,
    Trouble,
)
from consensus.types import GC_DEPTH, Block, Millis, ValidatorIndex
from tests.unit.consensus.blocks import History, block, committee_of, ref
from tests.unit.consensus.member import (
    FOUR,
    OTHERS,
    OWN,
    PARAMETERS,
    Member,
    T,
    newest_own,
    only,
    run_rounds,
    stored,
    troubles,
)

PATIENCE = 4 * PARAMETERS.delta_ms


def amnesia_over(history: History) -> Amnesia:
    dag = Dag(history.committee)
    for made in history.blocks:
        dag.accept(made)
    return Amnesia(dag, OWN, Millis(1_000))


def drawn(last: int, size: int = 4) -> History:
    history = History(committee=committee_of(size))
    history.rounds(1, last)
    return history


def at(history: History, author: int, round_: int) -> Block:
    return next(made for made in history.blocks if made.ref[:2] == (round_, author))


# --- the proof -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 5, 6, 7])
def test_whoever_built_our_lost_block_and_whoever_answers_the_two_share_an_honest_one(
    size: int,
) -> None:
    """Every choice of parents, liars and answers: the argument at the top of the module, counted out."""
    committee = committee_of(size)
    others = range(1, size)
    for liars in itertools.combinations(others, committee.faults):
        for parents in itertools.combinations(others, committee.quorum - 1):
            for answers in itertools.combinations(others, answers_needed(committee)):
                honest = set(parents) & set(answers) - set(liars)
                assert honest, (liars, parents, answers)


def test_one_answer_less_may_miss_it_where_n_is_3f_plus_1_and_only_there() -> None:
    """Why an operator must confirm: at n = 4, parents 1 and 2, liar 2, answers of 2 and 3."""
    missed = []
    for size in range(4, 11):
        committee = committee_of(size)
        honest_parents = committee.quorum - 1 - committee.faults
        honest_answers = committee.quorum - 1 - committee.faults
        if honest_parents + honest_answers <= size - 1 - committee.faults:
            missed.append(size)
    assert missed == [4, 7, 10]


@pytest.mark.parametrize(("size", "needed"), [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (200, 134)])
def test_answers_needed(size: int, needed: int) -> None:
    assert answers_needed(committee_of(size)) == needed


# --- counting answers ----------------------------------------------------------------------------


def answer(amnesia: Amnesia, *newest: Block) -> None:
    for made in newest:
        amnesia.answered(made.ref.author, made.ref)


def test_the_highest_of_a_quorum_of_answers_plus_one_is_the_last_unsafe_round() -> None:
    history = drawn(7)
    amnesia = amnesia_over(history)
    answer(amnesia, at(history, 1, 5), at(history, 2, 7))
    assert amnesia.last_unsafe_round(Millis(0)) is None
    answer(amnesia, at(history, 3, 6))
    assert amnesia.last_unsafe_round(Millis(0)) == 8


def test_answers_below_what_is_here_already_pull_nothing_down() -> None:
    history = drawn(7)
    amnesia = amnesia_over(history)
    for author in OTHERS:
        amnesia.answered(ValidatorIndex(author), None)
    assert amnesia.last_unsafe_round(Millis(0)) == 8


def test_who_never_made_a_block_answers_too() -> None:
    history = drawn(1)
    amnesia = amnesia_over(history)
    answer(amnesia, at(history, 1, 1), at(history, 2, 1))
    amnesia.answered(ValidatorIndex(3), None)
    assert amnesia.last_unsafe_round(Millis(0)) == 2


def test_a_round_that_nobody_else_knows_of_counts_only_once_it_is_accepted() -> None:
    """Else one liar could name the last round there is, and this validator would never sign again."""
    history = drawn(9)
    amnesia = amnesia_over(history)
    answer(amnesia, at(history, 1, 5), at(history, 2, 7))
    amnesia.answered(ValidatorIndex(3), ref(2**32 - 1, 3))
    assert amnesia.last_unsafe_round(Millis(0)) is None
    answer(amnesia, at(history, 3, 9))
    assert amnesia.last_unsafe_round(Millis(0)) == 10


def test_the_same_member_twice_is_one_answer() -> None:
    history = drawn(9)
    amnesia = amnesia_over(history)
    answer(amnesia, at(history, 1, 5), at(history, 1, 6), at(history, 2, 7), at(history, 2, 8))
    assert amnesia.last_unsafe_round(Millis(0)) is None


def test_an_operators_word_takes_the_place_of_one_answer_and_only_after_a_while() -> None:
    history = drawn(7)
    amnesia = amnesia_over(history)
    answer(amnesia, at(history, 1, 5))
    amnesia.confirm()
    assert amnesia.last_unsafe_round(Millis(1_000)) is None
    answer(amnesia, at(history, 2, 7))
    assert amnesia.last_unsafe_round(Millis(999)) is None
    assert amnesia.last_unsafe_round(Millis(1_000)) == 8


def test_of_our_own_blocks_the_newest_that_is_here_is_built_upon_and_few_are_kept() -> None:
    history = drawn(4)
    amnesia = amnesia_over(history)
    assert amnesia.newest_of_ours() is None
    for round_ in (2, 3):
        amnesia.shown(at(history, OWN, round_))
    amnesia.shown(block(FOUR, OWN, 9, [ref(8, author) for author in range(4)]))
    assert amnesia.newest_of_ours() == at(history, OWN, 3)
    for round_ in range(10, 10 + 2 * GC_DEPTH):
        amnesia.shown(block(FOUR, OWN, round_, [ref(round_ - 1, author) for author in range(4)]))
    assert len(amnesia._ours) == GC_DEPTH


# --- in the core ---------------------------------------------------------------------------------


def lost(last: int = 5) -> tuple[Member, History, Member]:
    """A member that signed `last` rounds; what all had; and the same member again with its store alone."""
    before = Member().ready()
    history = run_rounds(before, last)
    again = Member(replace(stored(before), own=None), now=before.now)
    again.step(PayloadPending(pending=True))
    return before, history, again


def test_with_the_store_kept_it_signs_again_two_rounds_above_what_all_others_show() -> None:
    _, history, again = lost()
    assert troubles(again.first) == [Trouble.SIGN_STATE_LOST]
    questions = only(SendNewest, again.connect())
    assert [(each.peer, each.author) for each in questions] == [(1, 1), (2, 2), (3, 3)]
    for question in questions:
        assert not only(Propose, again.newest(question, at(history, question.peer, 5)))
    assert again.core.is_ready
    assert not only(Propose, again.tick(100 * T))
    # R = 5: round 6 may be signed already. The others make theirs, and 7 is the first of ours.
    for author in OTHERS:
        assert not only(Propose, again.receive(history.draw(author, 6)))
    (wanted,) = only(Propose, again.tick(PARAMETERS.min_round_delay_ms))
    assert wanted.round == 7
    assert wanted.parents[0] == at(history, OWN, 5).ref


def test_with_nothing_left_it_asks_for_ours_first_and_then_for_theirs() -> None:
    before, history, _ = lost()
    again = Member(now=before.now)
    again.step(PayloadPending(pending=True))
    for question in only(SendNewest, again.connect()):
        assert question.author == OWN
        again.newest(question, newest_own(before).block if question.peer == 2 else None)
    assert troubles(again.history) == [Trouble.SIGN_STATE_LOST]
    assert not again.core.is_ready
    again.receive(*history.blocks, sender=1)
    asked = {int(each.peer): each for each in only(SendNewest, again.history) if each.author != OWN}
    assert sorted(asked) == [1, 2, 3]
    for peer in (1, 3):
        again.newest(asked[peer], at(history, peer, 5))
    assert not again.core.is_ready
    assert not only(Propose, again.tick(T))
    again.newest(asked[2], at(history, 2, 4))
    rest = [history.draw(author, 6) for author in OTHERS]
    again.receive(*rest, sender=1)
    (wanted,) = only(Propose, again.tick(PARAMETERS.min_round_delay_ms))
    assert (wanted.round, wanted.parents[0]) == (7, newest_own(before).block.ref)
    assert troubles(again.history) == [Trouble.SIGN_STATE_LOST]


def answers_of_two(again: Member, history: History) -> None:
    for question in only(SendNewest, again.connect((1, 2))):
        again.newest(question, at(history, question.peer, 5))


@pytest.mark.parametrize("confirmed", [False, True])
def test_with_one_silent_of_four_only_an_operators_word_lets_it_sign(confirmed: bool) -> None:
    _, history, again = lost()
    answers_of_two(again, history)
    for author in OTHERS:
        again.receive(history.draw(author, 6))
    word: list[Event] = [LossConfirmed()] if confirmed else []
    for event in word:
        assert not only(Propose, again.step(event))
    assert not only(Propose, again.tick(PATIENCE - 1))
    effects = again.tick(1) + again.tick(T)
    # All of round 6 is here by then, so R is 6 and not the 5 of the two answers.
    assert only(Propose, effects) == []
    assert again.core.is_ready == confirmed
    for author in OTHERS:
        again.receive(history.draw(author, 7))
    proposed = only(Propose, again.tick(PARAMETERS.min_round_delay_ms))
    assert [each.round for each in proposed] == ([8] if confirmed else [])


def test_an_operators_word_where_nothing_is_lost_means_nothing() -> None:
    member = Member()
    member.step(LossConfirmed())
    member.ready()
    assert [each.round for each in only(Propose, member.tick(T))] == [1]


def test_an_answer_with_a_block_of_another_is_rejected_and_counts_for_nothing() -> None:
    _, history, again = lost()
    questions = only(SendNewest, again.connect())
    for question in questions[:2]:
        again.newest(question, at(history, question.peer, 5))
    effects = again.newest(questions[2], at(history, 1, 5))
    assert [each.peer for each in only(Reject, effects)] == [questions[2].peer]
    assert not again.core.is_ready


def test_two_blocks_of_ours_for_one_round_end_it_also_then() -> None:
    _, _, again = lost()
    other = block(FOUR, OWN, 3, [ref(2, author) for author in range(4)], payload=(b"elsewhere",))
    assert troubles(again.receive(other, sender=2)) == [Trouble.OWN_SLOT_TWICE]
    assert not only(Propose, again.tick(100 * T))


def test_once_settled_a_block_of_ours_from_a_round_we_may_sign_is_somebody_elses() -> None:
    _, history, again = lost()
    for question in only(SendNewest, again.connect()):
        again.newest(question, at(history, question.peer, 5))
    old = block(FOUR, OWN, 6, [ref(5, author) for author in range(4)])
    assert troubles(again.receive(old, sender=2)) == []  # R + 1: we may have signed it
    new = block(FOUR, OWN, 7, [ref(6, author) for author in range(4)])
    assert troubles(again.receive(new, sender=2)) == [Trouble.OWN_SLOT_TWICE]
