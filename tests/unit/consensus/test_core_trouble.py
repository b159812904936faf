"""The core when something is wrong: Accuse, Alarm, a fork, and going on after a restart (SPEC 9 to 12)."""

import itertools
from dataclasses import replace

import pytest

from consensus.events import (
    Accuse,
    CommitDecided,
    Fault,
    PayloadPending,
    PersistOwnBlock,
    Propose,
    Reject,
    SendNewest,
    StoreBlocks,
    Trouble,
)
from consensus.own_slot import WATCH_DELTAS
from consensus.serving import recover
from consensus.types import Block, CommitVote, Digest, Ref, VerifiedBlock
from tests.unit.consensus.blocks import History, block, commit_vote, ref
from tests.unit.consensus.member import (
    FOUR,
    OTHERS,
    OWN,
    Member,
    StoreOf,
    T,
    newest_own,
    only,
    run_rounds,
    stored,
    troubles,
)

WATCH = WATCH_DELTAS * T // 2  # T is two delta

# --- accusations and alarms ----------------------------------------------------------------------


def test_an_equivocator_is_accused_once() -> None:
    member = Member().ready()
    history = History(committee=FOUR)
    member.receive(history.draw(1, 1))
    other = history.draw(1, 1, payload=(b"other",))
    effects = member.receive(other, sender=2)
    (accusation,) = only(Accuse, effects)
    assert (accusation.proof.round, accusation.proof.author) == (1, 1)
    assert not only(Accuse, member.receive(history.draw(1, 1, payload=(b"third",)), sender=2))


def own(round_: int, payload: bytes) -> Block:
    parents = FOUR.genesis if round_ == 1 else [ref(round_ - 1, a) for a in range(4)]
    return block(FOUR, OWN, round_, parents, payload=(payload,))


def test_another_block_in_our_own_slot_ends_proposing_but_not_the_node() -> None:
    """SPEC 4: our key is used elsewhere. No crash: peers could stop us at will."""
    member = Member().ready()
    history = run_rounds(member, 1)
    forged = block(FOUR, OWN, 1, FOUR.genesis, payload=(b"forged",))
    effects = member.receive(forged, sender=2)
    assert troubles(effects) == [Trouble.OWN_SLOT_TWICE]
    assert not only(Propose, member.tick(100 * T))
    assert troubles(member.receive(own(1, b"and again"), sender=3)) == []  # said once
    rest = history.draw(1, 2)
    assert [made.ref for e in only(StoreBlocks, member.receive(rest)) for made in e.blocks] == [
        rest.ref
    ]


def test_a_newer_own_block_after_we_began_to_sign_is_the_same_trouble() -> None:
    member = Member().ready()
    run_rounds(member, 1)
    assert troubles(member.receive(own(7, b"elsewhere"), sender=2)) == [Trouble.OWN_SLOT_TWICE]
    assert not only(Propose, member.tick(100 * T))


def rolled_back() -> tuple[Member, History, Block]:
    """A member put back to its block of round 3, its history, and the newest block that it ever signed, of round 5."""
    member = Member().ready()
    history = run_rounds(member, 5)
    newest = newest_own(member).block
    older = next(made for made in history.blocks if made.ref.author == OWN and made.ref.round == 3)
    kept = stored(member)
    back = Member(
        replace(
            kept,
            own=VerifiedBlock(older),
            blocks=tuple(
                b
                for b in kept.blocks
                if b.block.ref.round < 4 and (b.block.ref.author != OWN or b.block.ref.round <= 3)
            ),
            records=(),
        ),
        now=member.now,
    )
    back.step(PayloadPending(pending=True))
    return back, history, newest


def test_a_rolled_back_sign_state_adopts_what_a_peer_shows_and_waits_a_little() -> None:
    back, history, newest = rolled_back()
    questions = only(SendNewest, back.connect())
    effects = back.newest(questions[0], newest)
    assert troubles(effects) == [Trouble.ROLLED_BACK]
    rest = [made for made in history.blocks if made.ref.round >= 4]
    effects = back.receive(*rest, sender=1)
    effects += back.newest(questions[1], newest)
    effects += back.tick(WATCH - 1)
    assert troubles(effects) == []
    assert only(Propose, effects) == []
    (wanted,) = only(Propose, back.tick(1))
    assert wanted.round == 6
    assert wanted.parents[0] == newest.ref


def test_whoever_is_shown_newer_blocks_of_its_own_again_and_again_is_a_copy_and_halts() -> None:
    """Decision 0139: the original goes on signing; nothing may be signed beside it."""
    back, history, newest = rolled_back()
    questions = only(SendNewest, back.connect())
    said = troubles(back.newest(questions[0], newest))
    back.newest(questions[1], newest)
    back.receive(*(made for made in history.blocks if made.ref.round >= 4), sender=1)
    effects = []
    for round_ in (
        6,
        7,
        8,
        9,
    ):  # as many adoptions as there are members, each just before the wait is over
        effects += back.tick(WATCH - 1)
        effects += back.receive(own(round_, b"original"), sender=2)
    assert said + troubles(effects) == 5 * [Trouble.ROLLED_BACK]
    effects += back.tick(WATCH - 1)
    assert troubles(back.receive(own(10, b"original"), sender=2)) == [Trouble.OWN_SLOT_TWICE]
    effects += back.tick(100 * T)
    assert only(Propose, effects) == []


def test_what_comes_in_pieces_of_one_past_is_no_second_user_of_the_key() -> None:
    """A peer may push the rounds that we forgot before it answers which is our newest: more of them than there are members."""
    back, _, newest = rolled_back()
    forgotten = [own(round_, b"ours") for round_ in range(6, 16)]
    questions = only(SendNewest, back.connect())
    effects = back.receive(*forgotten[:5], sender=questions[0].peer)
    assert troubles(effects) == [Trouble.ROLLED_BACK]  # one bundle, one thing told
    for made in forgotten[5:9]:
        effects = back.receive(made, sender=questions[0].peer)
        assert troubles(effects) == [Trouble.ROLLED_BACK]
    effects = back.newest(questions[0], forgotten[9])
    effects += back.newest(questions[1], newest)
    assert troubles(effects) == [Trouble.ROLLED_BACK]


def test_a_lost_sign_state_observes_only() -> None:
    member = Member()
    member.step(PayloadPending(pending=True))
    questions = only(SendNewest, member.connect())
    assert troubles(member.newest(questions[0], own(4, b"before the loss"))) == [
        Trouble.SIGN_STATE_LOST
    ]
    for question in questions[1:]:
        member.newest(question, None)
    assert not only(Propose, member.tick(100 * T))


def test_a_newest_answer_with_another_authors_block_is_rejected_and_counts_for_nothing() -> None:
    member = Member()
    member.step(PayloadPending(pending=True))
    questions = only(SendNewest, member.connect())
    member.newest(questions[0], None)
    effects = member.newest(questions[1], History(committee=FOUR).draw(2, 1))
    assert [(r.peer, r.fault) for r in only(Reject, effects)] == [
        (questions[1].peer, Fault.UNREQUESTED)
    ]
    assert not member.core.is_ready


def voting(history: History, author: int, round_: int, *votes: CommitVote) -> Block:
    return history.draw(author, round_, commit_votes=votes)


def test_one_contradicting_vote_is_an_alarm_and_f_plus_1_are_a_fork() -> None:
    """SPEC 9: a vote for another digest at a known index."""
    member = Member().ready()
    history = run_rounds(member, 6)
    assert only(CommitDecided, member.history)
    forged = commit_vote(1, digest=Digest(bytes(32)))
    effects = member.receive(voting(history, 1, 7, forged))
    assert troubles(effects) == [Trouble.VOTE_CONTRADICTS]
    assert only(Propose, member.tick(T))  # one liar stops nobody
    effects = member.receive(voting(history, 2, 7, forged))
    assert troubles(effects) == [Trouble.VOTE_CONTRADICTS, Trouble.FORK]


def test_after_a_fork_nothing_is_committed_or_proposed() -> None:
    member = Member().ready()
    history = run_rounds(member, 6)
    forged = commit_vote(1, digest=Digest(bytes(32)))
    member.receive(voting(history, 1, 7, forged))
    member.receive(voting(history, 2, 7, forged))
    mark = len(member.history)
    history.draw(3, 7)
    history.rounds(8, 12, OTHERS)
    member.receive(*[made for made in history.blocks if made.ref.round >= 7], sender=3)
    member.tick(100 * T)
    later = member.history[mark:]
    assert not only(CommitDecided, later)
    assert not only(Propose, later)
    assert troubles(later) == []
    assert only(StoreBlocks, later)


def test_two_certified_leaders_are_a_fork_not_a_crash() -> None:
    """SPEC 17.9: correct to stop, wrong to crash-loop."""
    member = Member().ready()
    history = History(committee=FOUR)
    history.round(1, OTHERS)
    first = history.blocks[0].ref
    history.blocks.append(own(1, b"ours"))
    second = history.draw(1, 1, payload=(b"other",)).ref
    rest = [made.ref for made in history.blocks if made.ref.author in (2, 3)]
    layers: list[list[Ref]] = []
    for leader in (first, second):
        layers.append(
            [history.draw(1, 2, rest, own=leader).ref]
            + [history.draw(author, 2, [*rest, leader]).ref for author in (2, 3)]
        )
    for layer in layers:
        for author in OTHERS:
            mine = next(name for name in layer if name.author == author)
            history.draw(author, 3, layer, own=mine)
    given = [made for made in history.blocks if made.ref.author != OWN]
    effects = member.receive(*given, sender=2)
    assert troubles(effects) == [Trouble.FORK]
    assert not only(CommitDecided, effects)
    assert len(only(Accuse, member.history)) == 3
    assert not only(Propose, member.tick(100 * T))


# --- restarting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [1, 2, 4, 9, 14])
def test_a_restarted_core_goes_on_where_it_stopped(last: int) -> None:
    """Equal commits to those of a core that never stopped, contiguous with those before; no round signed twice."""
    depth = 4
    steady, member = Member(gc_depth=depth).ready(), Member(gc_depth=depth).ready()
    run_rounds(member, last)
    before = only(CommitDecided, member.history)
    again = Member(
        recover(StoreOf(member), newest_own(member), gc_depth=depth), now=member.now, gc_depth=depth
    )
    again.blocks = dict(member.blocks)
    assert not only(CommitDecided, again.first)
    again.ready()
    run_rounds(again, last + 8, first=last + 1)
    run_rounds(steady, last + 8)
    signed = [e.block.ref.round for e in only(PersistOwnBlock, member.history + again.history)]
    assert signed == list(range(1, last + 9))
    resumed = [each.record.commit for each in before + only(CommitDecided, again.history)]
    whole = [each.record.commit for each in only(CommitDecided, steady.history)]
    assert [c.index for c in resumed] == list(range(1, len(resumed) + 1))
    assert len(resumed) == len(whole)
    assert [c.leader.round for c in resumed] == [c.leader.round for c in whole]
    for earlier, later in itertools.pairwise(resumed):
        assert later.prev_digest == earlier.digest
    brought = [name for commit in resumed for name in commit.blocks]
    assert len(brought) == len(set(brought))


def test_an_own_block_that_the_store_lost_is_put_back_and_not_made_again() -> None:
    member = Member().ready()
    run_rounds(member, 3)
    newest = newest_own(member)
    kept = stored(member)
    cut = replace(kept, blocks=tuple(b for b in kept.blocks if b.block.ref != newest.block.ref))
    again = Member(cut, now=member.now)
    assert only(PersistOwnBlock, again.first) == [PersistOwnBlock(newest.block)]
    again.ready()
    wanted = only(Propose, again.tick(T))
    assert [each.round for each in wanted] == [4]
    assert wanted[0].parents[0] == newest.block.ref


def test_a_store_with_own_blocks_and_no_sign_state_signs_nothing() -> None:
    member = Member().ready()
    run_rounds(member, 3)
    again = Member(replace(stored(member), own=None), now=member.now)
    assert troubles(again.first) == [Trouble.SIGN_STATE_LOST]
    again.ready()
    assert not only(Propose, again.tick(100 * T))
