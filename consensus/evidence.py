"""Who signed two blocks for one round, the proof of it, and what follows for us (SPEC 12).

A proof is two signatures over one slot: about 210 bytes, judged by anybody with the committee's keys alone. One is kept for each
author and epoch, the first that came. It goes into a block of ours until a commit brings it, from ours or anybody's: then it
stands in the order for ever, and the ledger makes of it what the treaty says.

What a proof does to the order is policy, never validity (a rule of validity would split those who have seen it from those who
have not): an accused author's blocks become parents only where a quorum needs them (`parents`), and what it pushes itself is
taken in only on demand (`admission`).

Bounds: one proof for each of n authors; EVIDENCE_MAX in a block.
"""

from collections.abc import Callable, Iterable

from consensus.committee import Committee
from consensus.types import EVIDENCE_MAX, EquivocationProof, Recovered, Ref, Round, ValidatorIndex


class Evidence:
    """At most one proof for each author. Whoever hands one in has seen both signatures verified."""

    def __init__(self, committee: Committee) -> None:
        self.accused = 0  # mask
        self._epoch = committee.epoch
        self._size = committee.size
        self._proofs: dict[ValidatorIndex, EquivocationProof] = {}
        self._committed = 0  # mask: a committed block carries a proof against them
        self._carried: dict[ValidatorIndex, Round] = {}  # in our block of this round

    @property
    def proofs(self) -> tuple[EquivocationProof, ...]:
        return tuple([self._proofs[author] for author in sorted(self._proofs)])

    def is_accused(self, author: ValidatorIndex) -> bool:
        return bool(self.accused >> author & 1)

    def take(self, proof: EquivocationProof) -> bool:
        """True if it is the first against its author."""
        if self.is_accused(proof.author):
            return False
        assert proof.epoch == self._epoch, f"proof of epoch {proof.epoch} in epoch {self._epoch}"
        assert proof.author < self._size, f"proof against {proof.author} of {self._size}"
        self.accused |= 1 << proof.author
        self._proofs[proof.author] = proof
        return True

    def restore(
        self,
        recovered: Recovered,
        own: ValidatorIndex,
        is_committed: Callable[[Ref], bool],
    ) -> list[EquivocationProof]:
        """Take up the proofs kept, and which blocks above the floor carry them. Returns those that were not kept yet."""
        for proof in recovered.evidence:
            self.take(proof)
        fresh: list[EquivocationProof] = []
        for verified in recovered.blocks:
            block = verified.block
            fresh += [proof for proof in block.header.evidence if self.take(proof)]
            if block.ref.author == own:
                self.carried(block.ref, block.header.evidence)
            if is_committed(block.ref):
                self.committed(block.header.evidence)
        return fresh

    def for_next_block(self) -> tuple[EquivocationProof, ...]:
        """Those that no committed block and no block of ours carries yet, ascending by author."""
        waiting = [
            self._proofs[author]
            for author in sorted(self._proofs)
            if author not in self._carried and not self._committed >> author & 1
        ]
        return tuple(waiting[:EVIDENCE_MAX])

    def carried(self, ours: Ref, proofs: Iterable[EquivocationProof]) -> None:
        """A block of ours carries these."""
        for proof in proofs:
            self._carried[proof.author] = ours.round

    def raise_floor(self, floor: Round) -> None:
        """Blocks of ours at or below it are committed or void: what a void one carried goes into another."""
        for author in [author for author, round_ in self._carried.items() if round_ <= floor]:
            del self._carried[author]

    def committed(self, proofs: Iterable[EquivocationProof]) -> None:
        """A commit brought a block that carries these."""
        for proof in proofs:
            self._committed |= 1 << proof.author
