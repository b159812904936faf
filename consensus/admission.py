"""A block's way into the DAG: limits, waiting for parents, acceptance (SPEC 4 and 13; PACEMAKER P1 to P3).

Every block that comes in is signed by its author and valid. What may still be wrong is that there is too much of it: rounds
invented far ahead, parents that do not exist, many blocks for one slot. The limits:

    far ahead      a pushed block more than 2 * gc_depth rounds above all accepted is dropped: range sync brings it in time
    variants       from its author itself, the first block of a slot only; from others, as many as there are validators. Never
                   refused: one that a block of another author needs, one with a certificate that its author has not given here
                   yet, one served as a decider
    the accused    (SPEC 12) what an author with a proof against it pushes itself is taken in on demand alone: needed as above,
                   asked for, its block as a leader, or while its round has no quorum, no settled vote or too few certificates
    waiting        see waiting.py

Commit votes and the highest round an author signed are noted before any limit, or a validator that was long away would
never learn how far the others are (P3).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from consensus.dag import Dag
from consensus.evidence import Evidence
from consensus.pacemaker import has_votes
from consensus.types import (
    GENESIS_ROUND,
    Block,
    EquivocationProof,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)
from consensus.waiting import WaitingRoom


@dataclass(slots=True)
class Admitted:
    """What taking in some blocks led to. Emptied by whoever acts on it."""

    blocks: list[tuple[Block, ValidatorIndex | None]] = field(default_factory=list)  # with sender
    missing: list[tuple[Ref, ValidatorIndex]] = field(default_factory=list)  # with who has it
    proofs: list[EquivocationProof] = field(default_factory=list)


class Admission:
    """Takes blocks in; the DAG and the waiting room grow by nothing else."""

    def __init__(self, dag: Dag, room: WaitingRoom, evidence: Evidence, gc_depth: int) -> None:
        self.shown = [GENESIS_ROUND] * dag.committee.size  # highest round each author signed
        self.admitted = Admitted()
        self._dag = dag
        self._room = room
        self._evidence = evidence
        self._gc_depth = gc_depth

    def is_new(self, ref: Ref) -> bool:
        """True of a block that is neither here nor void."""
        return not self._dag.has(ref) and ref not in self._room

    def take(
        self,
        blocks: Iterable[VerifiedBlock],
        sender: ValidatorIndex | None,
        *,
        asked_for: bool = False,
        deciders: bool = False,
    ) -> None:
        """Take in blocks that came together; they are judged as a whole (P6).

        asked_for   we asked for them: no round is too far ahead
        deciders    they are what decided a peer's commits: no variant is refused (P1)
        """
        ascending = sorted(blocks, key=lambda verified: verified.block.ref)
        needed = self._needed_within(ascending)
        for verified in ascending:
            ref = verified.block.ref
            self.shown[ref.author] = max(self.shown[ref.author], ref.round)
            if not self.is_new(ref):
                continue
            if not asked_for and ref.round > self._dag.highest_round + 2 * self._gc_depth:
                continue
            pushed = sender == ref.author and not asked_for
            if deciders or ref in needed or self._is_allowed(verified.block, sender, pushed=pushed):
                self._admit(verified, sender)

    def note(self, blocks: Iterable[VerifiedBlock]) -> None:
        """Blocks that are not taken in now show all the same how far their authors are."""
        for verified in blocks:
            ref = verified.block.ref
            self.shown[ref.author] = max(self.shown[ref.author], ref.round)

    def certify(self, verified: VerifiedBlock) -> None:
        """Into the DAG because a quorum committed it: its parents are here, no limit applies, and every peer can have it."""
        self._accuse_if_second(verified.block)
        self._dag.accept(verified.block)
        for waiting, holder in self._room.accepted(verified.block.ref):
            self._accept(waiting, holder)

    def _needed_within(self, ascending: Sequence[VerifiedBlock]) -> set[Ref]:
        """What blocks that came together need of one another, by another author (P2, P6). Asked for membership only.

        Only those of them speak that may come in themselves: of one slot no more than there are validators, or which are needed.
        Else f colluders could have any number of variants admitted, each named by one that is not.
        """
        if len(ascending) == 1:
            return set()  # none but itself could need it
        needed: set[Ref] = set()
        speakers: dict[tuple[Round, ValidatorIndex], int] = {}
        # Children first; of one slot in the order in which `take` lets them in.
        for verified in sorted(ascending, key=lambda one: -one.block.ref.round):
            ref = verified.block.ref
            if not self.is_new(ref):
                continue  # what it needs is here, or missed by the room
            slot = (ref.round, ref.author)
            if slot not in speakers:
                speakers[slot] = len(self._dag.slot(*slot)) + self._room.variants(*slot)
            if speakers[slot] >= self._dag.committee.size and ref not in needed:
                continue
            speakers[slot] += 1
            # A needed block needs its author's own chain too (decision 0016).
            whole = ref in needed
            needed.update(
                parent
                for parent in verified.block.header.parents
                if whole or parent.author != ref.author
            )
        return needed

    def _is_allowed(self, block: Block, sender: ValidatorIndex | None, *, pushed: bool) -> bool:
        ref = block.ref
        variants = len(self._dag.slot(ref.round, ref.author))
        variants += self._room.variants(ref.round, ref.author)
        if self._room.needed_by_another(ref):
            return True
        if variants:
            certified = self._certified_by(block)
            # Certificates are counted by author, so one for each leader is all that a variant can add (P1). To refuse none
            # would let its author fill the DAG with copies that differ in their payload.
            if certified is not None and not self._dag.certifiers(certified) >> ref.author & 1:
                return True
            return sender != ref.author and variants < self._dag.committee.size
        if not pushed or not self._evidence.is_accused(ref.author):
            return True
        return self._is_wanted(ref, self._certified_by(block))

    def _is_wanted(self, ref: Ref, certified: Ref | None) -> bool:
        """True of an accused author's block without which things might not go on here. It certifies `certified`."""
        dag = self._dag
        quorum = dag.committee.quorum
        if ref.author == dag.committee.leader(ref.round):
            return True  # L1 waits for it
        if certified is not None and dag.certifiers(certified).bit_count() < quorum:
            return True
        others = dag.authors(ref.round) & ~self._evidence.accused
        return others.bit_count() < quorum or not has_votes(dag, Round(ref.round + 1))

    def _certified_by(self, block: Block) -> Ref | None:
        """The leader's block that it certifies by its parents, as far as they are here."""
        support: dict[Ref, int] = {}
        for parent in block.header.parents:
            node = self._dag.node(parent) if parent.round == block.ref.round - 1 else None
            if node is not None and node.vote is not None:
                support[node.vote] = support.get(node.vote, 0) + 1
        quorum = self._dag.committee.quorum
        return next((leader for leader, count in support.items() if count >= quorum), None)

    def _admit(self, verified: VerifiedBlock, sender: ValidatorIndex | None) -> None:
        block = verified.block
        lacking = self._dag.lacking(block.header.parents)
        if not lacking:
            self._accept(verified, sender)
            return
        holder = block.ref.author if sender is None else sender
        self._room.hold(verified, holder)
        if block.ref not in self._room:
            return  # over a bound
        for parent in lacking:
            if self._room.is_missing(parent):
                self.admitted.missing.append((parent, holder))

    def _accept(self, verified: VerifiedBlock, sender: ValidatorIndex | None) -> None:
        """Into the DAG, and after it everything that waited for it and lacks nothing more."""
        ready: list[tuple[VerifiedBlock, ValidatorIndex | None]] = [(verified, sender)]
        while ready:
            following: list[tuple[VerifiedBlock, ValidatorIndex | None]] = []
            for complete, giver in ready:
                block = complete.block
                self._accuse_if_second(block)
                self._dag.accept(block)
                self.admitted.blocks.append((block, giver))
                following += self._room.accepted(block.ref)
            ready = following

    def floor_raised(self) -> None:
        """The DAG's floor rose: what waited for blocks that are void or committed now goes in."""
        for verified, holder in self._room.floor_raised():
            self._accept(verified, holder)

    def _accuse_if_second(self, block: Block) -> None:
        """Keep one proof per author: two signed blocks in one slot."""
        ref = block.ref
        first = next(iter(self._dag.slot(ref.round, ref.author)), None)
        if first is None or self._evidence.is_accused(ref.author):
            return
        node = self._dag.node(first)
        assert node is not None, f"listed but not held: {first}"
        halves = sorted(((first.digest, node.signature), (ref.digest, block.signature)))
        (digest1, signature1), (digest2, signature2) = halves
        proof = EquivocationProof(
            epoch=self._dag.committee.epoch,
            round=ref.round,
            author=ref.author,
            digest1=digest1,
            signature1=signature1,
            digest2=digest2,
            signature2=signature2,
        )
        self._evidence.take(proof)
        self.admitted.proofs.append(proof)
