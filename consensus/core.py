"""The protocol of one validator as a state machine: `Core.step(now, event) -> effects` (SPEC 2 to 10, PACEMAKER.md).

    blocks in     -> hearing -> admission -> DAG (or the waiting room, and questions for what is missing: asking)
    DAG           -> ordering -> CommitDecided; the floor rises, which may let more blocks in
    DAG, clock    -> pacemaker -> next round, Propose -> BlockProposed -> PersistOwnBlock -> pushes

Here are the two ways in, what follows after each event and in which order, our own blocks, and what is sent by itself. Equal
state and equal calls give equal effects: no clock, randomness or order of a set is in any of it. Bad input from a peer
never raises here: it is dropped, or comes back as `Reject` naming the peer, `Accuse` or `Alarm`.
"""

from dataclasses import replace
from typing import assert_never

from consensus.admission import Admission
from consensus.asking import Asking
from consensus.commit_sync import CommitSync
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.dissemination import Dissemination
from consensus.effects import Effects
from consensus.events import (
    BelowAnswered,
    BlockProposed,
    BlocksReceived,
    CommitsAnswered,
    CommitsApplied,
    Effect,
    EpochClosing,
    Event,
    FetchAnswered,
    ListedAnswered,
    LossConfirmed,
    NewestAnswered,
    NextDue,
    PayloadPending,
    PeerConnected,
    PeerDisconnected,
    PersistOwnBlock,
    Propose,
    RangeAnswered,
    RequestFailed,
    SendBlocks,
    SendWake,
    SetTimer,
    StoreBlocks,
    TimerFired,
    WakeReceived,
)
from consensus.evidence import Evidence
from consensus.hearing import Hearing
from consensus.ordering import Ordering
from consensus.own_slot import OwnSlot, Signing, SigningState, named
from consensus.pacemaker import Pacemaker
from consensus.parents import choose_parents
from consensus.requests import Requests
from consensus.resending import Resending
from consensus.types import (
    FLAG_EPOCH_CLOSE,
    GC_DEPTH,
    Millis,
    Parameters,
    Recovered,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)
from consensus.waiting import WaitingRoom


class Core:
    """One validator of one epoch. `start` once, then `step`; `now` never runs backwards."""

    def __init__(
        self,
        *,
        committee: Committee,
        own: ValidatorIndex | None,
        parameters: Parameters,
        recovered: Recovered,
        gc_depth: int = GC_DEPTH,
    ) -> None:
        """`own` None: an observer, of no seat in this epoch. It follows the order and never signs (SPEC 14: who joins later)."""
        observes = own is None
        if own is None:
            own = ValidatorIndex(committee.size)  # nobody's: no block is by it
        assert own < committee.size + observes, f"own={own}: the committee has {committee.size}"
        self.committee = committee
        self.own = own
        self._parameters = parameters
        self._recovered = recovered
        self._gc_depth = gc_depth
        self._out = out = Effects()
        # The rooms of the core, each with one subject
        self.dag = Dag(committee)
        self.evidence = Evidence(committee)
        self.room = WaitingRoom(self.dag, payload_bytes_max=parameters.suspended_bytes_max)
        self._admission = Admission(self.dag, self.room, self.evidence, gc_depth)
        self.pacemaker = Pacemaker(committee, parameters, self._admission.shown)
        self._spread = Dissemination(self.dag, own, parameters)
        self._mine = OwnSlot(self.dag, self.pacemaker, self._admission, parameters, own)
        self._resending = Resending(self.pacemaker, parameters)
        self._ordering = Ordering(
            dag=self.dag,
            admission=self._admission,
            evidence=self.evidence,
            pacemaker=self.pacemaker,
            spread=self._spread,
            own=own,
            gc_depth=gc_depth,
            out=out,
        )
        self.linearizer = self._ordering.linearizer
        self.votes = self._ordering.votes
        self._end = self._ordering.end
        requests = Requests()
        self._catch_up = CommitSync(
            self.dag, self.linearizer, self._admission, requests, parameters
        )
        self._hearing = Hearing(
            dag=self.dag,
            admission=self._admission,
            evidence=self.evidence,
            spread=self._spread,
            mine=self._mine,
            ordering=self._ordering,
            catch_up=self._catch_up,
            own=own,
            out=out,
        )
        self._asking = Asking(
            dag=self.dag,
            room=self.room,
            admission=self._admission,
            requests=requests,
            catch_up=self._catch_up,
            hearing=self._hearing,
            ordering=self._ordering,
            spread=self._spread,
            mine=self._mine,
            parameters=parameters,
            own=own,
            out=out,
        )
        # What the driver told us
        self._payload_pending = False
        self._next_due: Millis | None = None
        # The clock, as far as it was told
        self._now = Millis(0)
        self._timer_at: Millis | None = None

    @property
    def is_ready(self) -> bool:
        """True once enough peers said what they hold of our own blocks (SPEC 10): from then on we may sign."""
        return self._mine.is_ready

    @property
    def is_catching_up(self) -> bool:
        """True while certified commits are fetched instead of live blocks (SPEC 11)."""
        return self._catch_up.active

    @property
    def signing(self) -> SigningState:
        """Whether we sign, for those who watch."""
        state = self._mine.state
        return replace(state, signing=Signing.HALTED) if self._ordering.forked else state

    # --- the two ways in -------------------------------------------------------------------------

    def start(self, now: Millis) -> list[Effect]:
        """Take up what was stored. Call it once, first."""
        assert not self._now, "started twice"
        self._now = now
        recovered = self._recovered
        own = recovered.own.block if recovered.own is not None else None
        self._ordering.restore(
            recovered.records, own.header.commit_votes if own is not None else ()
        )
        self._catch_up.applied(self.linearizer.last_index)
        self._mine.restore(recovered)
        for proof in self.evidence.restore(recovered, self.own, self.linearizer.is_committed):
            self._hearing.accuse(proof, of_old=True)
        stored = [*recovered.blocks, *([recovered.own] if recovered.own is not None else [])]
        self._admission.take(stored, None, asked_for=True, deciders=True)
        self._out.alarm(self._mine.compare_with_store(recovered, now))
        if own is not None and all(block.block.ref != own.ref for block in recovered.blocks):
            self._out.add(PersistOwnBlock(own))  # signed, and then the store was lost or cut off
        # The others are in the store already; and our round is entered anew, however long it lasted before.
        self._absorb(of_old=True)
        self.pacemaker.enter(Round(self.pacemaker.last_signed or 1), now)
        self.pacemaker.committed()
        self._recovered = Recovered()
        return self._settle(moved=True)

    def step(self, now: Millis, event: Event) -> list[Effect]:
        """Apply one event; returns what the driver must do, in this order."""
        assert now >= self._now > 0, f"driver's clock ran backwards: {self._now} -> {now}"
        self._now = now
        made = False
        match event:
            case BlocksReceived():
                self._hearing.take(event.blocks, event.sender, now)
            case BlockProposed():
                self._on_proposed(event.block)
                made = True
            case TimerFired():
                self._timer_at = None
            case PayloadPending():
                self._payload_pending = event.pending
            case NextDue():
                self._next_due = event.at_ms
            case CommitsApplied():
                self._catch_up.applied(event.index)
            case LossConfirmed():
                self._mine.confirm_loss()
            case EpochClosing():
                self._end.asked = True
                self._resending.soon(now)
            case WakeReceived():
                self.pacemaker.woken(event.peer, event.round)
                self._resending.soon(now)
            case PeerConnected():
                self._on_connected(event.peer)
            case PeerDisconnected():
                self._spread.disconnect(event.peer)
            case (
                FetchAnswered()
                | RangeAnswered()
                | BelowAnswered()
                | NewestAnswered()
                | CommitsAnswered()
                | ListedAnswered()
                | RequestFailed()
            ):
                self._asking.on(event, now)
            case _:
                assert_never(event)
        return self._settle(moved=made)

    def _on_proposed(self, verified: VerifiedBlock) -> None:
        block = verified.block
        self._mine.made(block)
        self.evidence.carried(block.ref, block.header.evidence)
        self._out.add(PersistOwnBlock(block))
        self._admission.take((verified,), None)
        assert self.dag.node(block.ref) is not None, f"own block not accepted: {named(block.ref)}"

    def _on_connected(self, peer: ValidatorIndex) -> None:
        self._spread.connect(peer, self._now)
        self._push(peer, always=True)
        self._asking.ask_newest(self._now)

    # --- after each event ------------------------------------------------------------------------

    def _settle(self, *, moved: bool) -> list[Effect]:
        """Everything that follows from the state as it is now. `moved`: an own block was made."""
        now = self._now
        self._asking.expire(now)
        self._absorb()
        while self._ordering.advance(self._catch_up):
            self._absorb()
        self._mine.pass_time(now)
        self._asking.check(now)
        moved |= self.pacemaker.advance(self.dag, self.linearizer.last_leader_round, now)
        self._propose()
        if moved:
            self._resending.made(now)
        self._send_all(moved=moved)
        self._asking.ask(now)
        self._set_timer()
        return self._out.take()

    def _absorb(self, *, of_old: bool = False) -> None:
        """What admission let in since the last time: to be stored, spread and ordered. `of_old`: from our own store."""
        admitted = self._admission.admitted
        if admitted.blocks:
            # Our own come back from peers where our store was lost.
            given = [block for block, sender in admitted.blocks if sender is not None]
            if given and not of_old:
                blocks = sorted(given, key=lambda block: block.ref)
                self._out.first(StoreBlocks(tuple(blocks)))
            for block, sender in admitted.blocks:
                self._spread.accepted(block, sender, self._now)
                self._ordering.accepted(block)
            admitted.blocks.clear()
        self._asking.want_missing()
        for proof in admitted.proofs:
            self._hearing.accuse(proof, of_old=of_old)
        admitted.proofs.clear()

    # --- our own block ---------------------------------------------------------------------------

    @property
    def _may_idle(self) -> bool:
        """Nothing to order, as far as this node knows (SPEC 5 quiescence, RULINGS R32, PACEMAKER P5)."""
        by_end = self._end.may_idle_at(self.pacemaker.round)
        if by_end is not None:
            return by_end
        due = self._next_due is not None and self._now >= self._next_due
        return not (self._payload_pending or self._ordering.unordered or due)

    @property
    def _may_sign(self) -> bool:
        return self._mine.may_sign and not self._ordering.forked and not self._asking.is_behind

    def _propose(self) -> None:
        if self._mine.outstanding is not None or not self._may_sign:
            return
        if self.pacemaker.rule(self.dag, self._now, may_idle=self._may_idle) is None:
            return
        round_ = self.pacemaker.round
        if not self._end.may_sign_at(round_):
            return
        mine = self._mine
        mine.outstanding = round_
        before = mine.newest.header.time_ms if mine.newest is not None else Millis(0)
        self._out.add(
            Propose(
                round=round_,
                parents=choose_parents(
                    self.dag,
                    mine.last,
                    mine.included,
                    round_,
                    self._gc_depth,
                    accused=self.evidence.accused,
                ),
                time_ms=max(self._now, before),
                flags=FLAG_EPOCH_CLOSE if self._end.asked or self._end.reached else 0,
                commit_votes=self.votes.for_next_block(),
                evidence=self.evidence.for_next_block(),
            )
        )

    # --- sending ---------------------------------------------------------------------------------

    def _send_all(self, *, moved: bool) -> None:
        """Pushes on a new own block, on a new round and when history is due; re-sends and Wakes while nothing moves (P4)."""
        now = self._now
        if not self._may_idle:
            self._resending.soon(now)
        again = self._resending.is_due(now)
        history = self._spread.next_due()
        if moved or again or (history is not None and now >= history):
            for peer in self._spread.peers:
                self._push(peer, always=again)
        if again:
            self._resending.sent(now, may_idle=self._may_idle)
        if self._resending.is_wake_due(now, moved=moved, may_idle=self._may_idle):
            self._out.add(*[SendWake(peer, self.pacemaker.round) for peer in self._spread.peers])

    def _push(self, peer: ValidatorIndex, *, always: bool) -> None:
        newest = self._mine.newest
        with_block = newest.ref if always and newest is not None else None
        refs = self._spread.bundle(peer, self._now, with_block=with_block)
        if refs:
            self._out.add(SendBlocks(peer, refs))

    # --- time ------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        """One timer, for the earliest time at which something may happen by itself."""
        now = self._now
        candidates = [
            self._resending.at,
            self._resending.wake_at,
            self._next_due,
            self._spread.next_due(),
            *self._asking.next_times(now),
            self._mine.deadline(),
        ]
        if self._mine.outstanding is None and self._may_sign:
            candidates += self.pacemaker.deadlines()
        coming = [at for at in candidates if at is not None and at > now]
        at = min(coming, default=None)
        if at is not None and at != self._timer_at:
            self._timer_at = at
            self._out.add(SetTimer(at))
