"""Proofs collected, passed on and acted on: one a member, two a block, until a commit brings them (SPEC 12)."""

from dataclasses import replace

from consensus.events import Accuse, CommitDecided, Propose, Trouble
from consensus.evidence import Evidence
from consensus.serving import recover
from consensus.types import EVIDENCE_MAX, EquivocationProof, Round, ValidatorIndex
from tests.unit.consensus.blocks import History, committee_of, proof, ref
from tests.unit.consensus.member import (
    FOUR,
    PARAMETERS,
    Member,
    StoreOf,
    T,
    answer_to,
    newest_own,
    only,
    run_rounds,
    troubles,
)

SEVEN = committee_of(7)


def carried(wanted: list[Propose]) -> list[tuple[EquivocationProof, ...]]:
    return [each.evidence for each in wanted]


def test_the_first_proof_against_an_author_is_kept() -> None:
    evidence = Evidence(SEVEN)
    assert evidence.take(proof(3, 5))
    assert not evidence.take(proof(3, 6))
    assert evidence.proofs == (proof(3, 5),)
    assert (evidence.is_accused(ValidatorIndex(3)), evidence.accused) == (True, 1 << 3)


def test_two_in_a_block_the_rest_in_the_next_and_none_twice() -> None:
    evidence = Evidence(SEVEN)
    for author in (5, 1, 3):
        evidence.take(proof(author))
    first = evidence.for_next_block()
    assert first == (proof(1), proof(3))
    assert len(first) == EVIDENCE_MAX
    evidence.carried(ref(9, 0), first)
    second = evidence.for_next_block()
    assert second == (proof(5),)
    evidence.carried(ref(10, 0), second)
    assert evidence.for_next_block() == ()


def test_what_a_void_block_carried_goes_into_another_unless_a_commit_brought_it() -> None:
    evidence = Evidence(SEVEN)
    evidence.take(proof(1))
    evidence.take(proof(2))
    evidence.carried(ref(9, 0), evidence.for_next_block())
    evidence.committed((proof(2),))
    evidence.raise_floor(Round(8))
    assert evidence.for_next_block() == ()
    evidence.raise_floor(Round(9))
    assert evidence.for_next_block() == (proof(1),)


def test_what_anybody_brought_into_a_commit_needs_no_repeating() -> None:
    evidence = Evidence(SEVEN)
    evidence.take(proof(4, 7))
    evidence.committed((proof(4, 2),))  # another proof against the same author serves as well
    assert evidence.for_next_block() == ()


# --- in the core ---------------------------------------------------------------------------------


def test_a_proof_in_somebodys_block_is_believed_once_and_carried_in_our_next() -> None:
    member = Member().ready()
    history = run_rounds(member, 2)
    given = proof(3, 1)
    (accusation,) = only(Accuse, member.receive(history.draw(1, 3, evidence=(given,))))
    assert accusation.proof == given
    assert not only(Accuse, member.receive(history.draw(2, 3, evidence=(proof(3, 2),))))
    wanted = only(Propose, member.tick(PARAMETERS.min_round_delay_ms))
    assert carried(wanted) == [(given,)]


def test_what_we_saw_ourselves_goes_the_same_way() -> None:
    member = Member().ready()
    history = History(committee=FOUR)
    member.receive(history.draw(1, 1))
    member.receive(history.draw(1, 1, payload=(b"other",)), sender=2)
    (accusation,) = only(Accuse, member.history)
    wanted = only(Propose, member.tick(PARAMETERS.min_round_delay_ms))
    assert carried(wanted) == [(accusation.proof,)]


def test_each_proof_is_in_one_block_of_ours_and_survives_a_restart_as_known() -> None:
    depth = 4
    member = Member(gc_depth=depth).ready()
    history = run_rounds(member, 2)
    given = proof(3, 1)
    member.receive(history.draw(1, 3, evidence=(given,)))
    asked: list[Propose] = []
    for round_ in range(3, 14):  # without the accused: its turns as a leader time out
        (wanted,) = only(Propose, member.tick(T))
        asked.append(wanted)
        member.propose(wanted)
        history.blocks.append(answer_to(wanted))
        for author in (1, 2):
            if (author, round_) != (1, 3):
                member.receive(history.draw(author, wanted.round))
    assert [each.round for each in asked if each.evidence] == [3]
    assert max(e.record.commit.leader.round for e in only(CommitDecided, member.history)) > 8
    # The block that carried it is below the floor now: only what was kept knows of it.
    kept = recover(StoreOf(member), newest_own(member), evidence=(given,), gc_depth=depth)
    again = Member(kept, now=member.now, gc_depth=depth)
    again.ready()
    assert again.core.evidence.is_accused(ValidatorIndex(3))
    assert not only(Accuse, again.history)
    forgetful = Member(replace(kept, evidence=()), now=member.now, gc_depth=depth)
    assert not forgetful.core.evidence.is_accused(ValidatorIndex(3))


def test_after_a_restart_what_our_blocks_above_the_floor_carry_is_not_carried_again() -> None:
    member = Member().ready()
    history = run_rounds(member, 2)
    member.receive(history.draw(1, 3, evidence=(proof(3, 1),)))
    (wanted,) = only(Propose, member.tick(PARAMETERS.min_round_delay_ms))
    assert wanted.evidence
    member.propose(wanted)
    again = Member(recover(StoreOf(member), newest_own(member)), now=member.now)
    assert [each.proof for each in only(Accuse, again.first)] == [proof(3, 1)]
    again.ready()
    history.blocks.append(answer_to(wanted))
    for author in (2, 3):
        again.receive(history.draw(author, 3))
    wanted_again = only(Propose, again.tick(PARAMETERS.min_round_delay_ms))
    assert [(each.round, each.evidence) for each in wanted_again] == [(4, ())]


def test_a_proof_against_our_own_key_ends_our_signing() -> None:
    member = Member().ready()
    history = run_rounds(member, 2)
    effects = member.receive(history.draw(1, 3, evidence=(proof(0, 1),)))
    assert len(only(Accuse, effects)) == 1
    assert troubles(effects) == [Trouble.OWN_SLOT_TWICE]
    assert not only(Propose, member.tick(100 * T))


def test_the_accused_are_no_parents_while_a_quorum_does_without_them() -> None:
    member = Member().ready()
    history = run_rounds(member, 3)
    (own,) = only(Propose, member.tick(PARAMETERS.min_round_delay_ms))
    member.propose(own)
    history.blocks.append(answer_to(own))
    member.receive(history.draw(1, 4, evidence=(proof(3, 1),)))
    member.receive(history.draw(3, 4), sender=2)
    member.receive(history.draw(2, 4))
    (following,) = only(Propose, member.tick(PARAMETERS.min_round_delay_ms))
    assert (4, 3) in [(made.round, made.author) for made in member.blocks]
    assert [(p.round, p.author) for p in following.parents] == [(4, 0), (4, 1), (4, 2)]


def test_with_one_more_silent_the_accused_is_needed_and_the_round_goes_on() -> None:
    """Three of four: the accused pushes by itself, and is taken in, because there is no quorum without it."""
    member = Member().ready()
    history = run_rounds(member, 3)
    member.receive(history.draw(1, 4, evidence=(proof(3, 1),)))
    (own,) = only(Propose, member.tick(PARAMETERS.min_round_delay_ms))
    member.propose(own)
    history.blocks.append(answer_to(own))
    member.receive(history.draw(3, 4))
    (following,) = only(Propose, member.tick(T))
    assert following.round == 5
    assert [(p.round, p.author) for p in following.parents] == [(4, 0), (4, 1), (4, 3)]
