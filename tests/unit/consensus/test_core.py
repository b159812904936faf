"""The core by its effects: in what order, what it asks for, when it wakes and is woken (SPEC 2 to 8, PACEMAKER.md).

One core, validator 0 of four, and a script of what the three others say. How many cores fare together is the simulator's matter.
"""

from dataclasses import replace

import pytest

from consensus.events import (
    BelowAnswered,
    CommitDecided,
    Event,
    Fault,
    FetchAnswered,
    NewestAnswered,
    NextDue,
    PayloadPending,
    PeerDisconnected,
    PersistOwnBlock,
    Propose,
    RangeAnswered,
    Reject,
    RequestFailed,
    SendBlocks,
    SendFetch,
    SendNewest,
    SendRange,
    SendWake,
    SetTimer,
    StoreBlocks,
    TimerFired,
    WakeReceived,
)
from consensus.types import (
    Block,
    CommitIndex,
    CommitVote,
    Millis,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)
from tests.unit.consensus.blocks import History, block, ref
from tests.unit.consensus.member import (
    FOUR,
    OTHERS,
    OWN,
    PARAMETERS,
    START,
    Member,
    T,
    answer_to,
    only,
    run_rounds,
    stored,
)

# --- starting ------------------------------------------------------------------------------------


def test_nothing_is_signed_before_f_plus_1_told_what_they_hold_of_ours() -> None:
    """SPEC 10: always, not only when the store is empty."""
    member = Member()
    member.step(PayloadPending(pending=True))
    questions = only(SendNewest, member.connect())
    assert sorted(question.peer for question in questions) == [1, 2, 3]
    assert all(question.author == OWN for question in questions)
    assert not only(Propose, member.tick(T // 2))
    assert not only(Propose, member.newest(questions[2], None))
    assert not only(Propose, member.tick(T // 2))
    # f+1 of them: one is honest. Without a sign state the third has 4 delta more to say what the two do not hold.
    assert not only(Propose, member.newest(questions[0], None) + member.tick(2 * T - 1))
    assert [wanted.round for wanted in only(Propose, member.tick(1))] == [1]


def test_with_an_intact_sign_state_f_plus_1_answers_will_do() -> None:
    before = Member().ready()
    run_rounds(before, 2)
    member = Member(stored(before), now=before.now)
    member.step(PayloadPending(pending=True))
    questions = only(SendNewest, member.connect())
    assert not only(Propose, member.newest(questions[2], None) + member.tick(T))
    effects = member.newest(questions[0], None) + member.tick(T)
    assert [wanted.round for wanted in only(Propose, effects)] == [3]


def test_after_a_restart_with_a_clock_set_back_an_own_block_is_not_dated_before_the_last() -> None:
    before = Member().ready()
    run_rounds(before, 2)
    newest = max(made.header.time_ms for made in before.blocks.values() if made.ref.author == OWN)
    member = Member(stored(before), now=START - 3_600_000)
    member.step(PayloadPending(pending=True))
    for question in only(SendNewest, member.connect()):
        member.newest(question, None)
    (wanted,) = only(Propose, member.tick(T))
    assert member.now < newest
    assert (wanted.round, wanted.time_ms) == (3, newest)


def test_the_first_propose_refers_to_genesis() -> None:
    member = Member().ready()
    (wanted,) = only(Propose, member.tick(T))
    assert wanted.parents == FOUR.genesis
    assert (wanted.flags, wanted.commit_votes, wanted.evidence) == (0, (), ())
    assert wanted.time_ms == member.now


def test_an_unanswered_question_is_put_again() -> None:
    member = Member()
    first = only(SendNewest, member.connect((1,)))[0]
    member.step(RequestFailed(peer=first.peer, request=first.request))
    again = only(SendNewest, member.tick(PARAMETERS.request_timeout_ms))
    assert [question.peer for question in again] == [1]
    assert again[0].request != first.request


def test_starting_twice_and_a_clock_that_runs_backwards_are_our_own_mistakes() -> None:
    member = Member()
    with pytest.raises(AssertionError, match="started twice"):
        member.core.start(Millis(START))
    with pytest.raises(AssertionError, match="ran backwards"):
        member.step(TimerFired(), after_ms=-1)


# --- one round -----------------------------------------------------------------------------------


def test_an_own_block_is_persisted_before_it_is_sent() -> None:
    member = Member().ready()
    (wanted,) = only(Propose, member.tick(T))
    effects = member.propose(wanted)
    made = answer_to(wanted)
    kinds = [type(effect) for effect in effects]
    assert effects[0] == PersistOwnBlock(made)
    assert kinds.count(PersistOwnBlock) == 1
    sent = only(SendBlocks, effects)
    assert sorted(push.peer for push in sent) == [1, 2, 3]
    assert all(push.blocks == (made.ref,) for push in sent)
    assert kinds.index(PersistOwnBlock) < kinds.index(SendBlocks)


def test_what_others_sent_is_stored_before_an_own_block_refers_to_it() -> None:
    member = Member().ready()
    run_rounds(member, 6)
    stored: set[Ref] = set()
    for effect in member.history:
        match effect:
            case StoreBlocks():
                assert list(effect.blocks) == sorted(effect.blocks, key=lambda made: made.ref)
                assert not stored & {made.ref for made in effect.blocks}
                stored |= {made.ref for made in effect.blocks}
            case PersistOwnBlock():
                assert stored >= {p for p in effect.block.header.parents if p.round > 0}
                stored.add(effect.block.ref)
            case CommitDecided():
                assert stored >= {made.ref for made in effect.blocks}
            case Propose():
                assert stored >= {parent for parent in effect.parents if parent.round > 0}
            case _:
                pass


def test_what_one_bundle_brings_is_stored_before_the_commits_that_it_leads_to() -> None:
    history = History(committee=FOUR)
    for round_ in range(1, 7):
        for author in OTHERS:
            history.draw(author, round_)
    effects = Member().ready().receive(*history.blocks, sender=1)
    kinds = [type(effect) for effect in effects]
    assert kinds.count(CommitDecided) > 1
    assert kinds.index(StoreBlocks) < kinds.index(CommitDecided)
    stored = [made.ref for effect in only(StoreBlocks, effects) for made in effect.blocks]
    assert stored == sorted(made.ref for made in history.blocks)


def test_at_most_one_propose_is_outstanding() -> None:
    member = Member().ready()
    assert only(Propose, member.tick(T))
    history = History(committee=FOUR)
    for author in OTHERS:
        assert not only(Propose, member.receive(history.draw(author, 1)))
    assert not only(Propose, member.tick(100 * T))


def test_another_round_or_author_than_asked_for_is_our_own_mistake() -> None:
    member = Member().ready()
    (wanted,) = only(Propose, member.tick(T))
    with pytest.raises(AssertionError, match="asked for round 1"):
        member.propose(replace(wanted, round=Round(2)))


def test_commits_come_contiguous_with_their_blocks_and_are_voted_for() -> None:
    member = Member().ready()
    history = run_rounds(member, 8)
    decided = only(CommitDecided, member.history)
    commits = [each.record.commit for each in decided]
    assert [commit.index for commit in commits] == list(range(1, len(commits) + 1))
    assert [commit.leader.round for commit in commits] == [1, 2, 3, 4, 5, 6]
    for each in decided:
        assert tuple(made.ref for made in each.blocks) == each.record.commit.blocks
        assert len(each.record.deciders) >= FOUR.quorum
    by_ref = {made.ref: made for made in history.blocks}
    assert all(made == by_ref[made.ref] for each in decided for made in each.blocks)
    votes = [
        vote
        for made in history.blocks
        if made.ref.author == OWN
        for vote in made.header.commit_votes
    ]
    expected = [CommitVote(index=commit.index, digest=commit.digest) for commit in commits]
    assert votes == expected[: len(votes)]
    assert len(votes) >= len(commits) - 2


def test_equal_calls_give_equal_effects() -> None:
    one, other = Member().ready(), Member().ready()
    run_rounds(one, 6)
    run_rounds(other, 6)
    assert [repr(effect) for effect in one.history] == [repr(effect) for effect in other.history]


def test_a_block_that_comes_twice_has_no_effect() -> None:
    member = Member().ready()
    history = run_rounds(member, 3)
    effects = member.receive(*[made for made in history.blocks if made.ref.author != OWN], sender=2)
    assert {type(effect) for effect in effects} <= {SetTimer}


# --- what is missing -----------------------------------------------------------------------------


def behind() -> tuple[Member, History, Block]:
    """The member lacks 3's block of round 3; 1's of round 4 refers to it."""
    member = Member().ready()
    history = run_rounds(member, 2)
    (wanted,) = only(Propose, member.tick(PARAMETERS.min_round_delay_ms))
    member.propose(wanted)
    history.blocks.append(answer_to(wanted))
    one, two, three = (history.draw(author, 3) for author in OTHERS)
    member.receive(one)
    member.receive(two)
    return member, history, three


def test_a_missing_parent_is_fetched_from_the_sender() -> None:
    member, history, three = behind()
    child = history.draw(1, 4)
    (fetch,) = only(SendFetch, member.receive(child))
    assert (fetch.peer, fetch.refs) == (1, (three.ref,))
    effects = member.step(
        FetchAnswered(
            peer=fetch.peer,
            request=fetch.request,
            blocks=(VerifiedBlock(three),),
            floor=Round(0),
        )
    )
    stored = [made.ref for effect in only(StoreBlocks, effects) for made in effect.blocks]
    assert stored == [three.ref, child.ref]
    assert not only(Reject, effects)


def test_what_was_not_asked_for_is_rejected_and_the_rest_taken() -> None:
    member, history, three = behind()
    child = history.draw(1, 4)
    (fetch,) = only(SendFetch, member.receive(child))
    extra = history.draw(2, 4, payload=(b"unasked",))
    effects = member.step(
        FetchAnswered(
            peer=fetch.peer,
            request=fetch.request,
            blocks=(VerifiedBlock(three), VerifiedBlock(extra)),
            floor=Round(0),
        )
    )
    assert [(r.peer, r.fault) for r in only(Reject, effects)] == [(1, Fault.UNREQUESTED)]
    stored = {made.ref for effect in only(StoreBlocks, effects) for made in effect.blocks}
    assert three.ref in stored
    assert extra.ref not in stored


def test_below_a_floor_that_is_not_so_is_rejected() -> None:
    member, history, three = behind()
    (fetch,) = only(SendFetch, member.receive(history.draw(1, 4)))
    effects = member.step(
        FetchAnswered(
            peer=fetch.peer,
            request=fetch.request,
            blocks=(),
            floor=Round(2),
            below=(three.ref,),
        )
    )
    assert [r.fault for r in only(Reject, effects)] == [Fault.BAD_RANGE]


@pytest.mark.parametrize(("peer", "number"), [(2, 0), (1, 1_000)])
def test_an_answer_that_nobody_asked_for_is_dropped(peer: int, number: int) -> None:
    member, history, three = behind()
    (fetch,) = only(SendFetch, member.receive(history.draw(1, 4)))
    effects = member.step(
        FetchAnswered(
            peer=ValidatorIndex(peer),
            request=fetch.request + number,
            blocks=(VerifiedBlock(three),),
            floor=Round(0),
        )
    )
    assert not only(StoreBlocks, effects)


def test_answers_of_every_kind_without_a_question_do_nothing() -> None:
    member = Member().ready()
    stray = VerifiedBlock(History(committee=FOUR).draw(1, 1))
    peer = ValidatorIndex(1)
    for event in (
        RangeAnswered(
            peer=peer,
            request=77,
            blocks=(stray,),
            complete_through=Round(5),
            highest_round=Round(9),
        ),
        BelowAnswered(
            peer=peer, request=77, floor=Round(9), blocks=(stray,), last_commit=CommitIndex(9)
        ),
        NewestAnswered(peer=peer, request=77, block=stray),
        RequestFailed(peer=peer, request=77),
    ):
        assert {type(effect) for effect in member.step(event)} <= {SetTimer}


def far_ahead() -> tuple[Member, History, SendRange]:
    """f+1 others show round 30; the member knows nothing (PACEMAKER P3)."""
    member = Member().ready()
    history = History(committee=FOUR)
    history.rounds(1, 30, OTHERS)
    member.receive(history.blocks[-3])
    (question,) = only(SendRange, member.receive(history.blocks[-2]))
    return member, history, question


def test_p3_who_is_far_behind_asks_for_ranges_and_signs_nothing_until_the_head() -> None:
    member, history, question = far_ahead()
    assert question.first == 1
    assert not only(Propose, member.tick(PARAMETERS.request_timeout_ms - 1))
    inside = [made for made in history.blocks if made.ref.round <= 30]
    effects = member.step(
        RangeAnswered(
            peer=question.peer,
            request=question.request,
            blocks=tuple(map(VerifiedBlock, inside)),
            complete_through=Round(30),
            highest_round=Round(30),
        )
    )
    assert len(only(CommitDecided, effects)) > 15
    effects += member.tick(10 * T)
    newest = only(CommitDecided, member.history)[-1].record.commit.leader.round
    assert [wanted.round for wanted in only(Propose, effects)] == [newest + 1]


def test_a_range_with_rounds_outside_it_is_rejected_and_another_asked() -> None:
    member, _, question = far_ahead()
    outside = block(FOUR, 1, question.last + 5, [ref(question.last + 4, a) for a in (1, 2, 3)])
    effects = member.step(
        RangeAnswered(
            peer=question.peer,
            request=question.request,
            blocks=(VerifiedBlock(outside),),
            complete_through=Round(5),
            highest_round=Round(99),
        )
    )
    assert [(r.peer, r.fault) for r in only(Reject, effects)] == [(question.peer, Fault.BAD_RANGE)]
    effects += member.tick(PARAMETERS.half_delta_ms)
    (again,) = only(SendRange, effects)
    assert again.peer != question.peer


def test_a_range_said_to_be_complete_past_its_end_is_rejected() -> None:
    member, _, question = far_ahead()
    effects = member.step(
        RangeAnswered(
            peer=question.peer,
            request=question.request,
            blocks=(),
            complete_through=Round(question.last + 1),
            highest_round=Round(99),
        )
    )
    assert [r.fault for r in only(Reject, effects)] == [Fault.BAD_RANGE]


# --- waking, idling, re-sending ------------------------------------------------------------------


def idle() -> Member:
    """Ready, with nothing to order."""
    member = Member()
    for question in only(SendNewest, member.connect()):
        member.newest(question, None)
    return member


def test_with_nothing_to_order_no_block_is_made_until_the_idle_delay() -> None:
    member = idle()
    assert not only(Propose, member.tick(29_000))
    assert only(Propose, member.tick(1_000))


@pytest.mark.parametrize(
    "event",
    [
        PayloadPending(pending=True),
        WakeReceived(peer=ValidatorIndex(2), round=Round(1)),
        NextDue(Millis(START + 5_000)),
    ],
)
def test_what_there_is_to_order_lifts_the_idle_delay(event: Event) -> None:
    member = idle()
    assert not only(Propose, member.tick(10_000))
    effects = member.step(event) + member.tick(PARAMETERS.min_round_delay_ms)
    assert [wanted.round for wanted in only(Propose, effects)] == [1]


def test_a_wake_that_comes_before_its_round_is_kept_for_it() -> None:
    """PACEMAKER P4: who has it to send sends it once, and is a round ahead of us."""
    member = idle()
    member.step(WakeReceived(peer=ValidatorIndex(2), round=Round(2)))
    (wanted,) = only(Propose, member.tick(PARAMETERS.idle_delay_ms))
    assert wanted.round == 1, "this round has waited"
    member.propose(wanted, ())
    history = History(committee=FOUR, blocks=[answer_to(wanted, ())])
    for author in OTHERS:
        member.receive(history.draw(author, 1))
    made = only(Propose, member.tick(PARAMETERS.min_round_delay_ms))
    assert [each.round for each in made] == [2], "that one does not"


def test_nothing_due_is_nothing_to_order() -> None:
    member = idle()
    member.step(NextDue(Millis(START + 20_000)))
    assert not only(Propose, member.tick(19_000))
    member.step(NextDue(None))
    assert not only(Propose, member.tick(2_000))


def test_p4_who_has_something_to_order_wakes_the_others() -> None:
    member = Member().ready()
    (wanted,) = only(Propose, member.tick(T))
    assert not only(SendWake, member.propose(wanted))
    effects = member.tick(PARAMETERS.half_delta_ms)
    assert sorted((wake.peer, wake.round) for wake in only(SendWake, effects)) == [
        (1, 1),
        (2, 1),
        (3, 1),
    ]
    assert only(SendWake, member.tick(T))  # again every T: it may have been lost


def test_the_newest_block_is_sent_again_while_the_round_stands_still() -> None:
    member = Member().ready()
    (wanted,) = only(Propose, member.tick(T))
    member.propose(wanted)
    made = answer_to(wanted)
    effects = member.tick(T)
    assert sorted(push.peer for push in only(SendBlocks, effects)) == [1, 2, 3]
    assert all(push.blocks == (made.ref,) for push in only(SendBlocks, effects))


def test_who_connects_again_gets_the_newest_block_and_who_is_gone_gets_nothing() -> None:
    member = Member().ready()
    (wanted,) = only(Propose, member.tick(T))
    member.propose(wanted)
    member.step(PeerDisconnected(ValidatorIndex(2)))
    assert sorted(push.peer for push in only(SendBlocks, member.tick(T))) == [1, 3]
    effects = member.connect((2,))
    assert [(push.peer, push.blocks) for push in only(SendBlocks, effects)] == [
        (2, (answer_to(wanted).ref,))
    ]
