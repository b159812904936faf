"""Our own blocks: the newest one signed, what peers hold of ours, and whether we may sign (SPEC 10).

A validator must never sign two blocks for one round. What it signed stands in its sign state; that may have been lost, or put
back from a copy, and its key may be in use elsewhere. So after every start, not only when the store is empty, it asks peers for
its newest block and signs nothing before min(w, n-1) of them answered, one of whom is honest:

    they hold nothing newer than the sign state      go on
    they hold a newer one                            the sign state was rolled back: adopted, with an alarm
    they hold another one of the same round          the key is used elsewhere: no more signing
    they hold one, and there is no sign state        observe only
"""

from consensus.admission import Admission
from consensus.dag import Dag
from consensus.pacemaker import Pacemaker
from consensus.parents import included_by
from consensus.types import (
    GENESIS_ROUND,
    Alarm,
    Block,
    EquivocationProof,
    Recovered,
    Ref,
    Round,
    Trouble,
    ValidatorIndex,
    VerifiedBlock,
)


class OwnSlot:
    """Newest own block and the right to sign the next. `pacemaker.last_signed` is kept in step with it."""

    def __init__(
        self, dag: Dag, pacemaker: Pacemaker, admission: Admission, own: ValidatorIndex
    ) -> None:
        self.newest: Block | None = None
        self.included: dict[ValidatorIndex, Round] = {}  # author -> newest round our blocks name
        self.outstanding: Round | None = None  # of the Propose that is not answered yet
        self.observing = False  # signs nothing until a restart: see Trouble
        self._dag = dag
        self._pacemaker = pacemaker
        self._admission = admission
        self._own = own
        committee = dag.committee
        self._answers_needed = min(committee.validity, committee.size - 1)
        self._answers = 0  # mask of peers who told us what they hold of ours

    @property
    def is_ready(self) -> bool:
        """True once enough peers said what they hold of our own blocks."""
        return self._answers.bit_count() >= self._answers_needed

    @property
    def may_sign(self) -> bool:
        """True if nothing is in doubt, and our newest block is in the DAG (or below its floor) to build on."""
        if self.observing or not self.is_ready:
            return False
        return self.newest is None or self._dag.has(self.newest.ref)

    @property
    def last(self) -> Ref:
        """The block that our next one must name first."""
        return (
            self.newest.ref if self.newest is not None else self._dag.committee.genesis[self._own]
        )

    def has_answered(self, peer: ValidatorIndex) -> bool:
        return bool(self._answers >> peer & 1)

    def answered(self, peer: ValidatorIndex) -> None:
        """The peer said what it holds of ours; if it holds a block, `look_at` has seen it."""
        self._answers |= 1 << peer

    def made(self, block: Block) -> None:
        """Our next block is signed."""
        ref = block.ref
        assert ref.round == self.outstanding, f"proposed {ref}, asked for round {self.outstanding}"
        assert ref.author == self._own, f"proposed {ref}, we are {self._own}"
        self.outstanding = None
        self._pacemaker.last_signed = ref.round
        self.newest = block
        for parent in block.header.parents:
            self.included[parent.author] = parent.round

    def restore(self, recovered: Recovered) -> None:
        """Take up the sign state. `compare_with_store` comes after the stored blocks are in."""
        own = recovered.own.block if recovered.own is not None else None
        self.newest = own
        self.included = included_by(own.header if own is not None else None)
        self._pacemaker.last_signed = own.ref.round if own is not None else GENESIS_ROUND

    def compare_with_store(self, recovered: Recovered) -> Alarm | None:
        """The sign state is written before the store: a store that knows more shows that it was lost or put back."""
        mine = [block.block for block in recovered.blocks if block.block.ref.author == self._own]
        newest = max(mine, key=lambda block: block.ref, default=None)
        if newest is None or newest.ref.round <= self._pacemaker.last_signed:
            return None
        if self.newest is None:
            return self._observe(Trouble.SIGN_STATE_LOST, f"the store holds {named(newest.ref)}")
        return self._adopt(newest, "our store holds")

    def look_at(self, verified: VerifiedBlock, peer: ValidatorIndex) -> Alarm | None:
        """A peer shows a block signed with our key: one that we know of, or not."""
        ref = verified.block.ref
        if not self._admission.is_new(ref):
            return None
        shows = f"peer {peer} shows {named(ref)}"
        if self._dag.slot(ref.round, self._own) or self._is_another_newest(ref):
            return self._observe(Trouble.OWN_SLOT_TWICE, f"{shows}, we have another")
        signed = self._pacemaker.last_signed
        if ref.round <= signed:
            return None  # an older one of ours that our store lost
        if self.outstanding is not None or self.is_ready:
            return self._observe(
                Trouble.OWN_SLOT_TWICE, f"{shows}, above {signed}, the last we signed"
            )
        if self.newest is None:
            return self._observe(Trouble.SIGN_STATE_LOST, shows)
        return self._adopt(verified.block, shows)

    def proven_twice(self, proof: EquivocationProof) -> Alarm | None:
        """Somebody's block proves that our key signed two blocks of one round. Learnt while we run: the key may be used now."""
        return self._observe(
            Trouble.OWN_SLOT_TWICE, f"proven by a peer's block, for round {proof.round}"
        )

    def _is_another_newest(self, ref: Ref) -> bool:
        newest = self.newest
        return newest is not None and newest.ref.round == ref.round and newest.ref != ref

    def _adopt(self, block: Block, shows: str) -> Alarm:
        signed = self._pacemaker.last_signed
        self.newest = block
        self.included = included_by(block.header)
        self._pacemaker.last_signed = block.ref.round
        return Alarm(
            trouble=Trouble.ROLLED_BACK,
            detail=f"{shows}, our sign state ends at round {signed}: adopted",
        )

    def _observe(self, trouble: Trouble, detail: str) -> Alarm | None:
        """From now on nothing is signed; one alarm says why."""
        if self.observing:
            return None
        self.observing = True
        return Alarm(trouble=trouble, detail=detail)


def named(ref: Ref) -> str:
    """A block in words."""
    return f"block {ref.round}/{ref.author}/{ref.digest.hex()[:16]}"
