"""Blocks from peers: what they show is noted, whatever becomes of them, and they go to admission (SPEC 4 (d), PACEMAKER P3).

What every block shows, one that is dropped as well: which blocks peers hold of ours (`own_slot`), what its author committed
(`votes`), who signed twice (`evidence`), and how far its author is (`admission.shown`). Noted after a limit, a validator that
was long away would never learn how far the others are.
"""

from collections.abc import Iterable

from consensus.admission import Admission
from consensus.commit_sync import CommitSync
from consensus.dag import Dag
from consensus.dissemination import Dissemination
from consensus.effects import Effects
from consensus.events import Accuse
from consensus.evidence import Evidence
from consensus.ordering import Ordering
from consensus.own_slot import OwnSlot
from consensus.types import Block, EquivocationProof, Millis, ValidatorIndex, VerifiedBlock


class Hearing:
    """Everything that peers' blocks say goes through here."""

    def __init__(
        self,
        *,
        dag: Dag,
        admission: Admission,
        evidence: Evidence,
        spread: Dissemination,
        mine: OwnSlot,
        ordering: Ordering,
        catch_up: CommitSync,
        own: ValidatorIndex,
        out: Effects,
    ) -> None:
        self._dag = dag
        self._admission = admission
        self._evidence = evidence
        self._spread = spread
        self._mine = mine
        self._ordering = ordering
        self._catch_up = catch_up
        self._own = own
        self._out = out

    def take(
        self,
        blocks: Iterable[VerifiedBlock],
        sender: ValidatorIndex,
        now: Millis,
        *,
        asked_for: bool = False,
        deciders: bool = False,
        always: bool = False,
    ) -> None:
        """Blocks that came together. `always`: also while certified commits are fetched instead of live blocks."""
        listed = tuple(blocks)
        self.note(listed, sender, now)
        if self._catch_up.active and not always:
            self._admission.note(listed)
        else:
            self._admission.take(listed, sender, asked_for=asked_for, deciders=deciders)

    def note(self, listed: Iterable[VerifiedBlock], sender: ValidatorIndex, now: Millis) -> None:
        """What the blocks show, by themselves."""
        listed = tuple(listed)
        # Of ours the newest first: a bundle of many rounds tells one thing, which is how far we got.
        ours = [verified for verified in listed if verified.block.ref.author == self._own]
        for verified in sorted(ours, key=lambda one: one.block.ref, reverse=True):
            self._out.alarm(self._mine.look_at(verified, sender, now))
        for verified in listed:
            block = verified.block
            if not self._dag.has(block.ref):
                self._ordering.note_votes(block)
                self._note_evidence(block)
            elif self._dag.node(block.ref) is not None:
                self._spread.shown(sender, block.ref)

    def _note_evidence(self, block: Block) -> None:
        """The block was verified with the proofs in it."""
        for proof in block.header.evidence:
            if self._evidence.take(proof):
                self.accuse(proof)

    def accuse(self, proof: EquivocationProof, *, of_old: bool = False) -> None:
        """Say it once. If it is us, our key is in use elsewhere; not so if it is `of_old`, from before a restart."""
        self._out.add(Accuse(proof))
        if proof.author == self._own and not of_old:
            self._out.alarm(self._mine.proven_twice(proof))
