"""Our own blocks: the newest one signed, what peers hold of ours, and whether we may sign (SPEC 10).

A validator must never sign two blocks for one round. What it signed stands in its sign state; that may have been lost, or put
back from a copy, and its key may be in use elsewhere. So after every start, not only when the store is empty, it asks peers for
its newest block and signs nothing before min(w, n-1) of them answered, one of whom is honest:

    they hold nothing newer than the sign state      go on
    they hold a newer one                            the sign state was rolled back: adopted, with an alarm, and watched (below)
    they hold another one of the same round          the key is used elsewhere: no more signing
    they hold one, and there is no sign state        it was lost: `amnesia` says when, and from which round on, to sign again

Where there is no sign state and nobody shows a block of ours, this is the first start, or all that we ever signed reached nobody
who answers. So then more are waited for: min(quorum, n-1) answers, or 4 delta after those of min(w, n-1). Not longer, or f silent
members could keep a ledger from ever beginning.

After an adoption nothing is signed for WATCH_DELTAS: a state put back from a copy has its last block behind it, but where the
copy runs beside the original, blocks of ours go on coming, each newer than the last. Each begins the wait anew, and after as many
as there are members, who may have held as many different ones, the key is in use elsewhere (decision 0139). Those count that a
peer shows after it has said which of ours is its newest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from consensus.admission import Admission
from consensus.amnesia import Amnesia, answers_needed
from consensus.dag import Dag
from consensus.events import Alarm, SendNewest, Trouble
from consensus.pacemaker import Pacemaker
from consensus.parents import included_by
from consensus.types import (
    GENESIS_ROUND,
    Block,
    EquivocationProof,
    Millis,
    Parameters,
    Recovered,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)

PATIENCE_DELTAS: Final = 4  # SPEC 10
WATCH_DELTAS: Final = (
    60  # half a minute between states: longer than it takes to dial everybody again, twice
)


@unique
class Signing(Enum):
    """Whether this validator signs blocks, and what it waits for if not."""

    YES = "signing"
    ASKING = "asking peers for our newest block"
    LOST = "sign state lost: waiting until enough others have shown their newest blocks"
    HALTED = "halted until restart"
    OBSERVER = "no validator of this epoch"


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningState:
    """`Signing` with figures. Answers of other members: had, and needed before we sign."""

    signing: Signing
    answers: int
    answers_needed: int
    may_confirm: bool  # one answer is missing: an operator's word would do (`LossConfirmed`)


class OwnSlot:
    """Newest own block and the right to sign the next. `pacemaker.last_signed` is kept in step with it."""

    def __init__(
        self,
        dag: Dag,
        pacemaker: Pacemaker,
        admission: Admission,
        parameters: Parameters,
        own: ValidatorIndex,
    ) -> None:
        self.newest: Block | None = None
        self.included: dict[ValidatorIndex, Round] = {}  # author -> newest round our blocks name
        self.outstanding: Round | None = None  # of the Propose that is not answered yet
        self.observing = False  # signs nothing until a restart: see Trouble
        self.amnesia: Amnesia | None = None  # while it is open which rounds we signed
        self._dag = dag
        self._pacemaker = pacemaker
        self._admission = admission
        self._own = own
        self._patience_ms = PATIENCE_DELTAS * parameters.delta_ms
        self._watch_ms = WATCH_DELTAS * parameters.delta_ms
        self._has_sign_state = False
        self._answers = 0  # mask of peers who told us what they hold of ours
        self._patient_until: Millis | None = None  # see the module's text
        self._out_of_patience = False
        self._watched_until: Millis | None = None  # after an adoption of what a peer showed
        self._adoptions = 0

    @property
    def is_ready(self) -> bool:
        """True once enough peers said what they hold of our own blocks, or it is settled what they cannot say."""
        committee = self._dag.committee
        if self._own >= committee.size:
            return True  # an observer: nobody holds blocks of its own
        if self.amnesia is not None or self._watched_until is not None:
            return False
        return self._answers.bit_count() >= self._answers_enough

    @property
    def state(self) -> SigningState:
        """For those who watch."""
        committee = self._dag.committee
        if self._own >= committee.size:
            signing, had, needed = Signing.OBSERVER, 0, 0
        elif self.amnesia is not None:
            signing, needed = Signing.LOST, self.amnesia.needed
            had = self.amnesia.counted
        else:
            signing = Signing.YES if self.is_ready else Signing.ASKING
            had, needed = self._answers.bit_count(), self._answers_enough
        may_confirm = signing is Signing.LOST and had == needed - 1 == committee.quorum - 1
        return SigningState(
            signing=Signing.HALTED if self.observing else signing,
            answers=had,
            answers_needed=needed,
            may_confirm=may_confirm and not self.observing,
        )

    @property
    def _answers_enough(self) -> int:
        committee = self._dag.committee
        if not self._has_sign_state and not self._out_of_patience:
            return answers_needed(committee)
        return min(committee.validity, committee.size - 1)

    @property
    def may_sign(self) -> bool:
        """True if nothing is in doubt, and our newest block is in the DAG (or below its floor) to build on."""
        if self.observing or self._own >= self._dag.committee.size or not self.is_ready:
            return False
        return self.newest is None or self._dag.has(self.newest.ref)

    @property
    def last(self) -> Ref:
        """The block that our next one must name first."""
        return (
            self.newest.ref if self.newest is not None else self._dag.committee.genesis[self._own]
        )

    def question_to(self, peer: ValidatorIndex) -> Callable[[int], SendNewest] | None:
        """Asks for its newest block of ours, or after a loss of its own. None: it has answered."""
        if self.amnesia is not None:
            author, answered = peer, self.amnesia.has_answered(peer)
        else:
            author, answered = self._own, bool(self._answers >> peer & 1)
        if answered:
            return None
        return lambda number: SendNewest(peer=peer, request=number, author=author)

    def answered(self, peer: ValidatorIndex, author: ValidatorIndex, newest: Ref | None) -> None:
        """The peer said what it holds of `author`; if it is a block, it went to `look_at` and to admission."""
        if author == self._own:
            self._answers |= 1 << peer
        elif self.amnesia is not None:
            self.amnesia.answered(peer, newest)

    def pass_time(self, now: Millis) -> None:
        """Call it when answers or blocks came, and when a deadline passed."""
        committee = self._dag.committee
        if self._watched_until is not None and now >= self._watched_until:
            self._watched_until = None
        if self.amnesia is not None:
            unsafe = self.amnesia.last_unsafe_round(now)
            if unsafe is not None:
                self._remember(unsafe, self.amnesia.newest_of_ours())
        elif self._has_sign_state or self._out_of_patience:
            return
        elif self._patient_until is not None:
            self._out_of_patience = now >= self._patient_until
        elif self._answers.bit_count() >= min(committee.validity, committee.size - 1):
            self._patient_until = Millis(now + self._patience_ms)

    def _remember(self, unsafe: Round, newest: Block | None) -> None:
        """The loss is settled: rounds up to `unsafe` are taken as signed."""
        self.amnesia = None
        self._has_sign_state = True
        self._answers = (1 << self._dag.committee.size) - 1  # nobody need be asked any more
        self.newest = newest
        self.included = included_by(newest.header if newest is not None else None)
        ours = newest.ref.round if newest is not None else GENESIS_ROUND
        self._pacemaker.last_signed = max(unsafe, ours)

    def deadline(self) -> Millis | None:
        """When `pass_time` may answer differently although nothing came."""
        if self.amnesia is not None:
            return self.amnesia.confirmed_after
        if self._watched_until is not None:
            return self._watched_until
        return None if self._has_sign_state or self._out_of_patience else self._patient_until

    def made(self, block: Block) -> None:
        """Our next block is signed."""
        ref = block.ref
        assert ref.round == self.outstanding, f"proposed {ref}, asked for round {self.outstanding}"
        assert ref.author == self._own, f"proposed {ref}, we are {self._own}"
        self.outstanding = None
        self._has_sign_state = True
        self._pacemaker.last_signed = ref.round
        self.newest = block
        for parent in block.header.parents:
            self.included[parent.author] = parent.round

    def restore(self, recovered: Recovered) -> None:
        """Take up the sign state. `compare_with_store` comes after the stored blocks are in."""
        own = recovered.own.block if recovered.own is not None else None
        self.newest = own
        self._has_sign_state = own is not None
        self.included = included_by(own.header if own is not None else None)
        self._pacemaker.last_signed = own.ref.round if own is not None else GENESIS_ROUND

    def compare_with_store(self, recovered: Recovered, now: Millis) -> Alarm | None:
        """The sign state is written before the store: a store that knows more shows that it was lost or put back."""
        mine = [block.block for block in recovered.blocks if block.block.ref.author == self._own]
        newest = max(mine, key=lambda block: block.ref, default=None)
        if newest is None or newest.ref.round <= self._pacemaker.last_signed:
            return None
        if self.newest is None:
            return self._lost(newest, f"the store holds {named(newest.ref)}", now)
        return self._adopt(newest, "our store holds")

    def look_at(self, verified: VerifiedBlock, peer: ValidatorIndex, now: Millis) -> Alarm | None:
        """A peer shows a block signed with our key: one that we know of, or not."""
        block = verified.block
        ref = block.ref
        if not self._admission.is_new(ref):
            return None
        shows = f"peer {peer} shows {named(ref)}"
        if self._dag.slot(ref.round, self._own) or self._is_another_newest(ref):
            return self._observe(Trouble.OWN_SLOT_TWICE, f"{shows}, we have another")
        if self.amnesia is not None:
            self.amnesia.shown(block)
            return None
        signed = self._pacemaker.last_signed
        if ref.round <= signed:
            return None  # an older one of ours that our store lost
        if self.outstanding is None and not self._has_sign_state:
            return self._lost(block, shows, now)
        if self.outstanding is not None or self.is_ready:
            return self._observe(
                Trouble.OWN_SLOT_TWICE, f"{shows}, above {signed}, the last we signed"
            )
        if self._adoptions >= self._dag.committee.size:
            return self._observe(
                Trouble.OWN_SLOT_TWICE, f"{shows}, newer again: somebody goes on signing"
            )
        # What a peer holds comes in pieces, oldest first, until it has said which is the newest: only what it shows after that
        # may have been signed since.
        self._adoptions += self._answers >> peer & 1
        self._watched_until = Millis(now + self._watch_ms)
        return self._adopt(block, shows)

    def _lost(self, block: Block, shows: str, now: Millis) -> Alarm:
        """There was a sign state once."""
        self.amnesia = Amnesia(self._dag, self._own, Millis(now + self._patience_ms))
        self.amnesia.shown(block)
        return Alarm(trouble=Trouble.SIGN_STATE_LOST, detail=shows)

    def confirm_loss(self) -> None:
        """An operator confirms it (`LossConfirmed`); of no meaning if nothing is lost."""
        if self.amnesia is not None:
            self.amnesia.confirm()

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
