"""The end of an epoch in the core: closing blocks, the last commit, what comes after, and the epoch that follows (SPEC 14)."""

import pytest

from consensus.codec import MalformedBlock, decode_commit_record, encode_commit_record
from consensus.committee import Committee
from consensus.core import Core
from consensus.epoch import AFTERMATH_BRISK_ROUNDS, ends_epoch
from consensus.events import (
    BlocksReceived,
    CommitDecided,
    EpochClosing,
    PeerConnected,
    Propose,
    SendFetch,
    SendNewest,
)
from consensus.types import (
    FLAG_EPOCH_CLOSE,
    CommitIndex,
    CommitRecord,
    Digest,
    Millis,
    Recovered,
    ValidatorIndex,
    VerifiedBlock,
)
from consensus.validity import Flaw, InvalidBlock, check_block
from tests.unit.consensus.blocks import History, committee_of
from tests.unit.consensus.member import (
    FOUR,
    OTHERS,
    PARAMETERS,
    START,
    Member,
    answer_to,
    only,
    run_rounds,
    stored,
)


def close(member: Member, history: History, rounds: range, closing: tuple[int, ...]) -> None:
    """Rounds in which these of the others close the epoch."""
    for _ in rounds:
        wanted = only(Propose, member.tick(PARAMETERS.min_round_delay_ms))
        assert len(wanted) == 1, f"the member makes a block of one of {rounds}"
        member.propose(wanted[0], payload=())
        history.blocks.append(answer_to(wanted[0], payload=()))
        for author in OTHERS:
            flags = FLAG_EPOCH_CLOSE if author in closing else 0
            member.receive(history.draw(author, wanted[0].round, flags=flags))


def records(member: Member) -> list[CommitRecord]:
    return [decided.record for decided in only(CommitDecided, member.history)]


def test_own_blocks_close_the_epoch_once_the_law_has() -> None:
    member = Member().ready()
    history = run_rounds(member, 4)
    before = only(Propose, member.history)
    assert all(wanted.flags == 0 for wanted in before)
    member.step(EpochClosing())
    close(member, history, range(5, 7), closing=())
    after = only(Propose, member.history)[len(before) :]
    assert [wanted.flags for wanted in after] == [FLAG_EPOCH_CLOSE] * 2


def test_a_quorum_of_closing_authors_ends_the_epoch_and_nothing_less() -> None:
    """Two of the others close at once, the third never: with ours that is three of four, a quorum."""
    member = Member().ready()
    history = run_rounds(member, 4)
    close(member, history, range(5, 12), closing=(1, 3))
    assert records(member)[-1].closed_by == (1, 3)
    assert not any(ends_epoch(record, FOUR) for record in records(member))
    member.step(EpochClosing())
    close(member, history, range(12, 20), closing=(1, 3))
    ending = [record for record in records(member) if ends_epoch(record, FOUR)]
    assert len(ending) == 1, "one commit is the last"
    assert ending[0] is records(member)[-1], "and none comes after it"
    assert ending[0].closed_by == (0, 1, 3)
    closing_blocks = {
        ref.author
        for record in records(member)
        for ref in record.commit.blocks
        if member.blocks[ref].header.flags & FLAG_EPOCH_CLOSE
    }
    assert closing_blocks == {0, 1, 3}
    before_last = {
        ref.author
        for record in records(member)[:-1]
        for ref in record.commit.blocks
        if member.blocks[ref].header.flags & FLAG_EPOCH_CLOSE
    }
    assert len(before_last) < FOUR.quorum, "the first commit that completes the quorum"


def test_two_closing_blocks_of_one_author_count_once() -> None:
    member = Member().ready()
    history = run_rounds(member, 4)
    close(member, history, range(5, 30), closing=(2,))
    assert records(member)[-1].closed_by == (2,)
    assert len(records(member)) > 15, "the epoch goes on"


def test_after_the_end_rounds_go_on_for_those_who_are_late() -> None:
    """Brisk at first, so that blocks name what decided the end; then as slowly as an idle network, payload or not."""
    member = Member().ready()
    history = run_rounds(member, 4)
    member.step(EpochClosing())
    close(member, history, range(5, 11), closing=OTHERS)
    last = records(member)[-1]
    assert ends_epoch(last, FOUR)
    made_at_end = only(Propose, member.history)[-1].round
    close(
        member,
        history,
        range(made_at_end + 1, last.commit.leader.round + AFTERMATH_BRISK_ROUNDS + 1),
        closing=OTHERS,
    )
    newest = only(Propose, member.history)[-1]
    assert newest.round == last.commit.leader.round + AFTERMATH_BRISK_ROUNDS
    named = {parent for made in history.blocks for parent in made.header.parents}
    assert last.commit.leader in named
    assert not only(Propose, member.tick(PARAMETERS.min_round_delay_ms)), "now it may wait"
    assert only(Propose, member.tick(PARAMETERS.idle_delay_ms)), "but not for ever"


@pytest.mark.parametrize("closing_rounds", [3, 8])
def test_a_restart_knows_who_has_closed_the_epoch(closing_rounds: int) -> None:
    member = Member().ready()
    history = run_rounds(member, 4)
    close(member, history, range(5, 5 + closing_rounds), closing=(1, 3))
    assert records(member)[-1].closed_by, "flags were committed before the restart"
    again = Member(stored(member), now=member.now)
    again.blocks |= member.blocks
    for question in only(SendNewest, again.connect()):
        again.newest(question, None)
    again.step(EpochClosing())
    close(again, history, range(5 + closing_rounds, 13 + closing_rounds), closing=(1, 3))
    assert records(again)[-1].closed_by == (0, 1, 3)
    assert ends_epoch(records(again)[-1], FOUR)
    # And a restart after the end decides nothing more.
    third = Member(stored_of(member, again), now=again.now)
    third.blocks |= again.blocks
    for question in only(SendNewest, third.connect()):
        third.newest(question, None)
    assert not records(third)


def stored_of(first: Member, second: Member) -> Recovered:
    second.history = [*first.history, *second.history]
    return stored(second)


def test_the_next_epoch_goes_on_from_the_last_commit() -> None:
    """Index, digest chain and time continue; genesis references, leaders and rounds are its own."""
    member = Member().ready()
    history = run_rounds(member, 4)
    member.step(EpochClosing())
    close(member, history, range(5, 11), closing=OTHERS)
    last = records(member)[-1].commit
    keys = [bytes((number,)) * 32 for number in range(5)]
    following = Committee.found(
        chain_id=FOUR.chain_id,
        block_keys=keys,
        genesis_time_ms=last.time_ms,
        epoch=1,
        previous_index=last.index,
        previous_commit=last.digest,
    )
    other_end = Committee.found(
        chain_id=FOUR.chain_id,
        block_keys=keys,
        genesis_time_ms=last.time_ms,
        epoch=1,
        previous_index=last.index,
        previous_commit=Digest(bytes(32)[:-1] + b"\x01"),
    )
    assert not set(following.genesis) & (set(FOUR.genesis) | set(other_end.genesis))
    observer = Core(committee=following, own=None, parameters=PARAMETERS, recovered=Recovered())
    observer.start(Millis(START))
    fresh = History(committee=following)
    fresh.rounds(1, 6)
    received = BlocksReceived(ValidatorIndex(1), tuple(map(VerifiedBlock, fresh.blocks)))
    decided = only(CommitDecided, observer.step(Millis(START), received))
    first = decided[0].record.commit
    assert (first.epoch, first.index, first.prev_digest) == (1, last.index + 1, last.digest)
    assert first.time_ms >= last.time_ms
    assert [each.record.commit.index for each in decided] == [
        last.index + 1 + offset for offset in range(len(decided))
    ]


def test_an_observer_follows_and_never_signs() -> None:
    """It has no seat: it asks for what it misses, commits what the members do, and makes no block however long it waits."""
    committee = committee_of(4)
    observer = Core(committee=committee, own=None, parameters=PARAMETERS, recovered=Recovered())
    effects = observer.start(Millis(START))
    effects += observer.step(Millis(START), PeerConnected(ValidatorIndex(2)))
    assert not only(SendNewest, effects), "it has no blocks that anybody could hold"
    history = History(committee=committee)
    history.rounds(1, 6)
    newest = BlocksReceived(ValidatorIndex(2), (VerifiedBlock(history.blocks[-1]),))
    assert only(SendFetch, observer.step(Millis(START + 1), newest))
    everything = BlocksReceived(ValidatorIndex(2), tuple(map(VerifiedBlock, history.blocks)))
    effects = observer.step(Millis(START + 2), everything)
    assert [each.record.commit.index for each in only(CommitDecided, effects)] == [1, 2, 3, 4]
    effects = observer.step(Millis(START + 600_000), EpochClosing())
    assert not only(Propose, effects)


def test_a_block_of_another_epoch_is_no_block_of_this_one() -> None:
    """Replay: the very bytes that were valid in epoch 0 break the first rule in epoch 1, whatever else they are."""
    history = History(committee=committee_of(4))
    history.rounds(1, 2)
    for made in history.blocks:
        check_block(made, committee_of(4))
        with pytest.raises(InvalidBlock) as refused:
            check_block(made, committee_of(4, epoch=1))
        assert refused.value.flaw is Flaw.WRONG_CHAIN


def test_the_record_tells_who_has_closed_the_epoch() -> None:
    member = Member().ready()
    run_rounds(member, 4)
    record = records(member)[0]
    plain = encode_commit_record(record)
    closed = CommitRecord(
        commit=record.commit,
        deciders=record.deciders,
        closed_by=(ValidatorIndex(0), ValidatorIndex(258)),
    )
    data = encode_commit_record(closed)
    assert data == plain + bytes((0, 2, 0, 0, 1, 2))
    assert decode_commit_record(data) == closed
    for tail in (
        b"\x00",
        b"\x00\x00",
        b"\x00\x01",
        b"\x00\x02\x00\x01\x00\x01",
        b"\x00\x01\x00\x01\x00",
    ):
        with pytest.raises(MalformedBlock):
            decode_commit_record(plain + tail)
    assert CommitIndex(1) == record.commit.index


def test_after_the_end_no_block_takes_payload_even_if_the_law_here_is_late() -> None:
    """The three others closed the epoch; our law has not come so far when the order ends. What we put in a block now is void."""
    member = Member().ready()
    history = run_rounds(member, 4)
    close(member, history, range(5, 12), closing=OTHERS)
    assert ends_epoch(records(member)[-1], FOUR)
    assert only(Propose, member.history)[-1].flags == FLAG_EPOCH_CLOSE
