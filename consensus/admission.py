"""A block's way into the DAG: limits, waiting for parents, acceptance (SPEC 4 and 13; PACEMAKER P1 to P3).

Every block that comes in is signed by its author and valid. What may still be wrong is that there is too much of it: rounds
invented far ahead, parents that do not exist, many blocks for one slot. The limits:

    far ahead      a pushed block more than 2 * gc_depth rounds above all accepted is dropped: range sync brings it in time
    variants       from its author itself, the first block of a slot only; from others, as many as there are validators. Never
                   refused: one that a block of another author needs, one that certifies a leader, one served as a decider
    waiting        see waiting.py

Commit votes and the highest round an author signed are noted before any limit, or a validator that was long away would
never learn how far the others are (P3).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from consensus.dag import Dag
from consensus.types import (
    GENESIS_ROUND,
    Block,
    EquivocationProof,
    Ref,
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

    def __init__(self, dag: Dag, room: WaitingRoom, own: ValidatorIndex, gc_depth: int) -> None:
        self.shown = [GENESIS_ROUND] * dag.committee.size  # highest round each author signed
        self.admitted = Admitted()
        self._dag = dag
        self._room = room
        self._own = own
        self._gc_depth = gc_depth
        self._accused = 0  # mask

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
        needed = {
            parent
            for verified in ascending
            for parent in verified.block.header.parents
            if parent.author != verified.block.ref.author
        }
        for verified in ascending:
            ref = verified.block.ref
            self.shown[ref.author] = max(self.shown[ref.author], ref.round)
            if not self.is_new(ref):
                continue
            if not asked_for and ref.round > self._dag.highest_round + 2 * self._gc_depth:
                continue
            if deciders or ref in needed or self._is_allowed(verified.block, sender):
                self._admit(verified, sender)

    def _is_allowed(self, block: Block, sender: ValidatorIndex | None) -> bool:
        ref = block.ref
        variants = len(self._dag.slot(ref.round, ref.author))
        variants += self._room.variants(ref.round, ref.author)
        if variants == 0 or self._room.needed_by_another(ref) or self._certifies(block):
            return True
        return sender != ref.author and variants < self._dag.committee.size

    def _certifies(self, block: Block) -> bool:
        """True if by its parents, as far as they are here, it certifies a leader."""
        support: dict[Ref, int] = {}
        for parent in block.header.parents:
            node = self._dag.node(parent) if parent.round == block.ref.round - 1 else None
            if node is not None and node.vote is not None:
                support[node.vote] = support.get(node.vote, 0) + 1
        return max(support.values(), default=0) >= self._dag.committee.quorum

    def _admit(self, verified: VerifiedBlock, sender: ValidatorIndex | None) -> None:
        block = verified.block
        lacking = [parent for parent in block.header.parents if not self._dag.has(parent)]
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
        if first is None or self._accused >> ref.author & 1:
            return
        self._accused |= 1 << ref.author
        node = self._dag.node(first)
        assert node is not None, f"listed but not held: {first}"
        halves = sorted(((first.digest, node.signature), (ref.digest, block.signature)))
        (digest1, signature1), (digest2, signature2) = halves
        self.admitted.proofs.append(
            EquivocationProof(
                epoch=self._dag.committee.epoch,
                round=ref.round,
                author=ref.author,
                digest1=digest1,
                signature1=signature1,
                digest2=digest2,
                signature2=signature2,
            )
        )
