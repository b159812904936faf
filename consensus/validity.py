"""Is a block valid? A function of its bytes and the committee, never of anybody's DAG, clock or floor (SPEC 3).

Were it a function of more, two honest validators could judge one block differently, and the one that refused it would
refuse everything built on it. Signatures, the block's own and those in the proofs it carries, are judged in node/signing;
form and sizes by the codec.
"""

import itertools
from enum import Enum, unique

from consensus.committee import Committee
from consensus.types import GC_DEPTH, GENESIS_ROUND, PAYLOAD_BYTES_MAX, Block, Header, Ref


@unique
class Flaw(Enum):
    """The first rule of SPEC 3 that a block breaks."""

    WRONG_CHAIN = "wrong-chain"
    BAD_SLOT = "bad-slot"
    TOO_MANY_ANCESTORS = "too-many-ancestors"
    OWN_ANCESTOR_POSITION = "own-ancestor-position"
    ANCESTOR_ROUND = "ancestor-round"
    ANCESTOR_UNKNOWN = "ancestor-unknown"
    DUPLICATE_ANCESTOR_AUTHOR = "duplicate-ancestor-author"
    ANCESTOR_ORDER = "ancestor-order"
    PARENTS_BELOW_QUORUM = "parents-below-quorum"
    ANCESTOR_TOO_OLD = "ancestor-too-old"
    PAYLOAD_TOO_LARGE = "payload-too-large"
    COMMIT_VOTE_ORDER = "commit-vote-order"
    BAD_EVIDENCE = "bad-evidence"


class InvalidBlock(ValueError):
    """A well-formed block that breaks a rule. If its signature is good, its author is to blame (SPEC 3)."""

    def __init__(self, flaw: Flaw, detail: str) -> None:
        super().__init__(f"{flaw.value}: {detail}")
        self.flaw = flaw


def check_block(block: Block, committee: Committee, *, gc_depth: int = GC_DEPTH) -> None:
    """Raises InvalidBlock naming the first rule of SPEC 3 that the block breaks."""
    check_header(block.header, committee, gc_depth=gc_depth)


def check_header(header: Header, committee: Committee, *, gc_depth: int = GC_DEPTH) -> None:
    """As `check_block`: every rule is about the header.

    The header's size needs no rule of its own: n parents of 38 bytes and the caps of the codec stay below 80 n + 4096.
    """
    if header.chain_id != committee.chain_id or header.epoch != committee.epoch:
        raise InvalidBlock(
            Flaw.WRONG_CHAIN,
            f"chain_id={header.chain_id.hex()}, epoch={header.epoch}: "
            f"this is {committee.chain_id.hex()}, epoch {committee.epoch}",
        )
    if header.round <= GENESIS_ROUND or header.author >= committee.size:
        raise InvalidBlock(
            Flaw.BAD_SLOT,
            f"round={header.round}, author={header.author}: rounds start at 1, "
            f"authors end at {committee.size - 1}",
        )
    _check_parents(header, committee, gc_depth)
    if header.payload_len > PAYLOAD_BYTES_MAX:
        raise InvalidBlock(
            Flaw.PAYLOAD_TOO_LARGE, f"payload_len={header.payload_len}: at most {PAYLOAD_BYTES_MAX}"
        )
    indexes = [vote.index for vote in header.commit_votes]
    if any(later <= earlier for earlier, later in itertools.pairwise(indexes)):
        raise InvalidBlock(Flaw.COMMIT_VOTE_ORDER, f"commit_votes={indexes}: must ascend")
    _check_evidence(header, committee)


def _check_evidence(header: Header, committee: Committee) -> None:
    """Proofs speak of slots of this committee, each author once and ascending: one spelling (decision 0015)."""
    before = -1
    for position, proof in enumerate(header.evidence):
        where = f"evidence[{position}]={proof.epoch}/{proof.round}/{proof.author}"
        if proof.epoch != committee.epoch:
            raise InvalidBlock(Flaw.BAD_EVIDENCE, f"{where}: this is epoch {committee.epoch}")
        if proof.round <= GENESIS_ROUND or proof.author >= committee.size:
            raise InvalidBlock(Flaw.BAD_EVIDENCE, f"{where}: no such slot")
        if proof.author <= before:
            raise InvalidBlock(Flaw.BAD_EVIDENCE, f"{where}: after author {before}, must ascend")
        if proof.digest1 >= proof.digest2:
            raise InvalidBlock(Flaw.BAD_EVIDENCE, f"{where}: digest1 must be below digest2")
        before = proof.author


def _check_parents(header: Header, committee: Committee, gc_depth: int) -> None:
    parents, round_ = header.parents, header.round
    if not 1 <= len(parents) <= committee.size:
        raise InvalidBlock(
            Flaw.TOO_MANY_ANCESTORS, f"{len(parents)} parents: from 1 to {committee.size}"
        )
    if parents[0].author != header.author:
        raise InvalidBlock(
            Flaw.OWN_ANCESTOR_POSITION,
            f"parents[0].author={parents[0].author}: the author's own, {header.author}, comes first",
        )
    seen = before = 0  # authors, as a mask and as a count
    oldest = round_ - gc_depth
    size = committee.size
    after = -1  # the author before this one, own not counted
    for position, parent in enumerate(parents):
        # By place, not by name, and no text before there is a flaw: n blocks a round have n parents each.
        parent_round, author, _ = parent
        if parent_round >= round_:
            raise _bad_parent(
                Flaw.ANCESTOR_ROUND, position, parent, f"must be below round {round_}"
            )
        if author >= size or (
            parent_round == GENESIS_ROUND and parent != committee.genesis[author]
        ):
            raise _bad_parent(Flaw.ANCESTOR_UNKNOWN, position, parent, "no such block")
        bit = 1 << author
        if seen & bit:
            raise _bad_parent(
                Flaw.DUPLICATE_ANCESTOR_AUTHOR, position, parent, "the author's second"
            )
        seen |= bit
        if parent_round == round_ - 1:
            before += 1
        if not position:
            continue  # the own parent may be of any age: a validator that was long away rejoins with it
        if author < after:
            raise _bad_parent(Flaw.ANCESTOR_ORDER, position, parent, f"after author {after}")
        after = author
        if parent_round < oldest:
            raise _bad_parent(Flaw.ANCESTOR_TOO_OLD, position, parent, f"below round {oldest}")
    if before < committee.quorum:
        raise InvalidBlock(
            Flaw.PARENTS_BELOW_QUORUM,
            f"{before} parents of round {round_ - 1}: at least {committee.quorum}",
        )


def _bad_parent(flaw: Flaw, position: int, parent: Ref, why: str) -> InvalidBlock:
    return InvalidBlock(flaw, f"parents[{position}]={parent.round}/{parent.author}: {why}")
