"""SPEC 3, one rule after the other: the nearest block that keeps it, and the nearest that breaks it."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from consensus.codec import encode_header
from consensus.types import (
    COMMIT_VOTES_MAX,
    EVIDENCE_MAX,
    GC_DEPTH,
    PAYLOAD_BYTES_MAX,
    Block,
    Ref,
)
from consensus.validity import Flaw, InvalidBlock, check_block
from tests.unit.consensus.blocks import (
    block,
    commit_vote,
    committee_of,
    proof,
    ref,
    with_header,
)

FOUR = committee_of(4)
# Round 10 of validator 2 among four: own parent first, then a quorum in all, one of an older round.
PARENTS = (ref(9, 2), ref(9, 0), ref(9, 1), ref(7, 3))


def made(*parents: Ref, author: int = 2, round_: int = 10, **rest: Any) -> Block:
    return block(FOUR, author, round_, parents or PARENTS, **rest)


def flaw_of(one: Block) -> Flaw:
    with pytest.raises(InvalidBlock) as caught:
        check_block(one, FOUR)
    assert str(caught.value).startswith(caught.value.flaw.value)
    return caught.value.flaw


def test_a_valid_block_and_a_first_one() -> None:
    check_block(made(), FOUR)
    check_block(block(FOUR, 0, 1, FOUR.genesis), FOUR)


# 1. Chain, epoch, round, author.


def test_another_chain_or_epoch_is_refused() -> None:
    elsewhere = sha256(b"another ledger").digest()
    assert flaw_of(with_header(made(), chain_id=elsewhere)) is Flaw.WRONG_CHAIN
    assert flaw_of(with_header(made(), epoch=1)) is Flaw.WRONG_CHAIN


def test_round_0_has_no_blocks() -> None:
    assert flaw_of(with_header(made(), round=0)) is Flaw.BAD_SLOT


def test_an_author_outside_the_committee_is_refused() -> None:
    outside = made(ref(9, 4), ref(9, 0), ref(9, 1), ref(9, 2), author=4)
    assert flaw_of(outside) is Flaw.BAD_SLOT


# 2. Parents: how many, whose, in which order.


def test_without_parents() -> None:
    assert flaw_of(with_header(made(), parents=())) is Flaw.TOO_MANY_ANCESTORS


def test_more_parents_than_members() -> None:
    five = made(*PARENTS, ref(9, 4))
    assert flaw_of(five) is Flaw.TOO_MANY_ANCESTORS


@pytest.mark.parametrize(
    "parents",
    [
        (ref(9, 0), ref(9, 1), ref(9, 3)),  # not there
        (ref(9, 0), ref(9, 2), ref(9, 1), ref(9, 3)),  # there, but not first
    ],
)
def test_the_own_parent_comes_first(parents: tuple[Ref, ...]) -> None:
    assert flaw_of(made(*parents)) is Flaw.OWN_ANCESTOR_POSITION


@pytest.mark.parametrize(
    "parents",
    [
        (ref(9, 2), ref(9, 0), ref(9, 1), ref(8, 2)),  # the own again
        (ref(9, 2), ref(9, 0), ref(8, 0), ref(9, 1)),  # another's again
        (ref(9, 2), ref(9, 0, "a"), ref(9, 0, "b"), ref(9, 1)),  # two of one slot
    ],
)
def test_at_most_one_parent_of_an_author(parents: tuple[Ref, ...]) -> None:
    assert flaw_of(made(*parents)) is Flaw.DUPLICATE_ANCESTOR_AUTHOR


def test_the_other_parents_ascend_by_author() -> None:
    assert flaw_of(made(ref(9, 2), ref(9, 1), ref(9, 0), ref(7, 3))) is Flaw.ANCESTOR_ORDER
    assert flaw_of(made(ref(9, 2), ref(9, 0), ref(9, 3), ref(9, 1))) is Flaw.ANCESTOR_ORDER


# 3. Their rounds; genesis.


@pytest.mark.parametrize("round_", [10, 11, 2**32 - 1])
def test_a_parent_is_of_an_earlier_round(round_: int) -> None:
    assert flaw_of(made(ref(9, 2), ref(9, 0), ref(9, 1), ref(round_, 3))) is Flaw.ANCESTOR_ROUND
    assert flaw_of(made(ref(round_, 2), *PARENTS[1:])) is Flaw.ANCESTOR_ROUND


def test_a_genesis_parent_is_the_known_one() -> None:
    own, *others = FOUR.genesis
    check_block(block(FOUR, 0, 1, (own, *others)), FOUR)
    for forged in (ref(0, 3), others[0]._replace(author=others[2].author)):
        wrong = block(FOUR, 0, 1, (own, *others[:2], forged))
        assert flaw_of(wrong) is Flaw.ANCESTOR_UNKNOWN
    assert flaw_of(block(FOUR, 0, 1, (ref(0, 0), *others))) is Flaw.ANCESTOR_UNKNOWN


def test_the_genesis_of_another_ledger_is_no_parent() -> None:
    other = committee_of(4, epoch=1)
    assert flaw_of(block(FOUR, 0, 1, other.genesis)) is Flaw.ANCESTOR_UNKNOWN


def test_a_parent_outside_the_committee_is_refused() -> None:
    assert flaw_of(made(ref(9, 2), ref(9, 0), ref(9, 1), ref(9, 4))) is Flaw.ANCESTOR_UNKNOWN


# 4. A quorum of the round before.


def test_a_quorum_of_parents_of_the_round_before() -> None:
    check_block(made(ref(9, 2), ref(9, 0), ref(9, 1)), FOUR)
    assert flaw_of(made(ref(9, 2), ref(9, 0), ref(8, 1), ref(8, 3))) is Flaw.PARENTS_BELOW_QUORUM


def test_the_own_parent_counts_and_only_if_it_is_of_the_round_before() -> None:
    check_block(made(ref(3, 2), ref(9, 0), ref(9, 1), ref(9, 3)), FOUR)
    assert flaw_of(made(ref(8, 2), ref(9, 0), ref(9, 1))) is Flaw.PARENTS_BELOW_QUORUM


@pytest.mark.parametrize(("size", "quorum"), [(5, 4), (6, 5), (7, 5), (10, 7)])
def test_the_quorum_is_that_of_the_committee(size: int, quorum: int) -> None:
    committee = committee_of(size)
    parents = [ref(9, author) for author in range(quorum)]
    check_block(block(committee, 0, 10, parents), committee)
    with pytest.raises(InvalidBlock) as caught:
        check_block(block(committee, 0, 10, parents[:-1]), committee)
    assert caught.value.flaw is Flaw.PARENTS_BELOW_QUORUM


# 5. The gap to parents.


def test_an_old_parent_is_refused_but_the_own_may_be_of_any_age() -> None:
    round_ = GC_DEPTH + 50
    recent = [ref(round_ - 1, author) for author in (0, 1, 3)]
    check_block(made(ref(1, 2), *recent, round_=round_), FOUR)
    check_block(made(FOUR.genesis[2], *recent, round_=round_), FOUR)
    own = ref(round_ - 1, 2)
    edge = made(own, *recent[:2], ref(round_ - GC_DEPTH, 3), round_=round_)
    check_block(edge, FOUR)
    beyond = made(own, *recent[:2], ref(round_ - GC_DEPTH - 1, 3), round_=round_)
    assert flaw_of(beyond) is Flaw.ANCESTOR_TOO_OLD


# 6 and 7. Sizes, votes. What no bytes can say (more votes, longer transactions) the codec refuses.


def test_a_payload_over_its_cap_is_refused() -> None:
    whole = tuple([bytes(32_768)] * (PAYLOAD_BYTES_MAX // 32_768))
    check_block(made(payload=whole), FOUR)
    assert flaw_of(made(payload=(*whole, b"x"))) is Flaw.PAYLOAD_TOO_LARGE


@pytest.mark.parametrize("indexes", [(2, 1), (1, 1), (1, 2, 2), (1, 3, 2)])
def test_commit_votes_ascend_strictly(indexes: tuple[int, ...]) -> None:
    check_block(made(commit_votes=tuple(map(commit_vote, sorted(set(indexes))))), FOUR)
    votes = tuple(map(commit_vote, indexes))
    assert flaw_of(made(commit_votes=votes)) is Flaw.COMMIT_VOTE_ORDER


def test_two_digests_for_one_commit_are_refused() -> None:
    other = commit_vote(1, digest=commit_vote(2).digest)
    assert flaw_of(made(commit_votes=(commit_vote(1), other))) is Flaw.COMMIT_VOTE_ORDER


@pytest.mark.parametrize("size", [1, 2, 4, 200, 1024])
def test_no_header_within_the_other_caps_is_over_its_own(size: int) -> None:
    """SPEC 3.6's 80 n + 4096 bytes need no check: this is the largest header that the other rules leave."""
    committee = committee_of(size)
    widest = block(
        committee,
        0,
        9,
        [ref(8, author) for author in range(size)],
        commit_votes=tuple(map(commit_vote, range(1, COMMIT_VOTES_MAX + 1))),
        evidence=tuple(map(proof, range(min(size, EVIDENCE_MAX)))),
    )
    check_block(widest, committee)
    assert len(encode_header(widest.header)) <= 80 * size + 4096


# 8. Evidence: its place and its one spelling; its signatures are node/signing's.


def test_proofs_against_several_authors_ascend() -> None:
    check_block(made(evidence=(proof(1), proof(3))), FOUR)
    check_block(made(evidence=(proof(2),)), FOUR)  # against its own author: harmless
    assert flaw_of(made(evidence=(proof(3), proof(1)))) is Flaw.BAD_EVIDENCE
    assert flaw_of(made(evidence=(proof(1, 3), proof(1, 4)))) is Flaw.BAD_EVIDENCE


def test_a_proof_is_of_a_slot_of_this_committee_and_epoch() -> None:
    assert flaw_of(made(evidence=(proof(4),))) is Flaw.BAD_EVIDENCE
    assert flaw_of(made(evidence=(proof(1, 0),))) is Flaw.BAD_EVIDENCE
    assert flaw_of(made(evidence=(proof(epoch=1),))) is Flaw.BAD_EVIDENCE
    check_block(made(evidence=(proof(1, 2**32 - 1),)), FOUR)  # of any round: it was signed


def test_a_proof_names_two_blocks_the_lower_first() -> None:
    good = proof()
    turned = replace(good, digest1=good.digest2, digest2=good.digest1)
    assert flaw_of(made(evidence=(turned,))) is Flaw.BAD_EVIDENCE
    assert flaw_of(made(evidence=(replace(good, digest2=good.digest1),))) is Flaw.BAD_EVIDENCE


# And what validity must not be about.


@pytest.mark.parametrize("time_ms", [0, 2**64 - 1])
def test_no_time_makes_a_block_invalid(time_ms: int) -> None:
    """SPEC D6: a slow or a lying clock is the median's business."""
    check_block(made(time_ms=time_ms), FOUR)


def test_the_signature_is_judged_elsewhere() -> None:
    check_block(replace(made(), signature=bytes(64)), FOUR)
