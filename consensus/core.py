"""The protocol of one validator as a state machine: `Core.step(now, event) -> effects` (SPEC 2 to 10, PACEMAKER.md).

    blocks in     -> admission -> DAG (or the waiting room, and questions for what is missing)
    DAG           -> commit rule -> linearizer -> CommitDecided; the floor rises, which may let more blocks in
    DAG, clock    -> pacemaker -> next round, Propose -> BlockProposed -> PersistOwnBlock -> pushes

Equal state and equal calls give equal effects: no clock, randomness or order of a set is in any of it. Bad input from a peer
never raises here: it is dropped, or comes back as `Reject` naming the peer, `Accuse` or `Alarm`.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import assert_never

from consensus.admission import Admission
from consensus.commit_rule import Decision, Forked, Status, decide, deciders
from consensus.commit_sync import CommitSync
from consensus.committee import Committee
from consensus.dag import Dag
from consensus.dissemination import Dissemination
from consensus.epoch import EpochEnd, ends_epoch
from consensus.evidence import Evidence
from consensus.fetching import Fetcher, asked_for
from consensus.linearizer import Linearizer
from consensus.own_slot import OwnSlot, Signing, SigningState, named
from consensus.pacemaker import Pacemaker
from consensus.parents import choose_parents
from consensus.range_sync import RangeSync
from consensus.requests import Question, Requests
from consensus.resending import Resending
from consensus.types import (
    FLAG_EPOCH_CLOSE,
    GC_DEPTH,
    GENESIS_ROUND,
    Accuse,
    Alarm,
    BelowAnswered,
    Block,
    BlockProposed,
    BlocksReceived,
    Commit,
    CommitDecided,
    CommitIndex,
    CommitRecord,
    CommitsAnswered,
    CommitsApplied,
    Effect,
    EpochClosing,
    EquivocationProof,
    Event,
    Fault,
    FetchAnswered,
    ListedAnswered,
    LossConfirmed,
    Millis,
    NewestAnswered,
    NextDue,
    OwnBlockVoid,
    Parameters,
    PayloadPending,
    PeerConnected,
    PeerDisconnected,
    PersistOwnBlock,
    Propose,
    RangeAnswered,
    Recovered,
    Ref,
    Reject,
    RequestFailed,
    Round,
    SendBelow,
    SendBlocks,
    SendCommits,
    SendFetch,
    SendListed,
    SendNewest,
    SendRange,
    SendWake,
    SetTimer,
    StoreBlocks,
    TimerFired,
    Trouble,
    ValidatorIndex,
    VerifiedBlock,
    WakeReceived,
)
from consensus.votes import CommitVotes
from consensus.waiting import WaitingRoom

DECIDERS_MAX = 0xFFFF  # the width of the count in a commit record


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
        self._started = False
        self._gc_depth = gc_depth
        # The rooms of the core, each with one subject
        self.dag = Dag(committee)
        self.linearizer = Linearizer(committee, gc_depth=gc_depth)
        self.pacemaker = Pacemaker(committee, parameters)
        self.votes = CommitVotes(committee)
        self.room = WaitingRoom(self.dag, payload_bytes_max=parameters.suspended_bytes_max)
        self._requests = Requests()
        self.evidence = Evidence(committee)
        self._admission = Admission(self.dag, self.room, self.evidence, gc_depth)
        self._fetcher = Fetcher(self.room, self._requests, parameters, own)
        self._sync = RangeSync(self.dag, self._requests, parameters, own)
        self._catch_up = CommitSync(
            self.dag, self.linearizer, self._admission, self._requests, parameters
        )
        self._spread = Dissemination(self.dag, own, parameters)
        self._mine = OwnSlot(self.dag, self.pacemaker, self._admission, parameters, own)
        self._end = EpochEnd(committee)
        # What was decided, and what waits to be
        self._next_slot = Round(GENESIS_ROUND + 1)
        self._skip_deciders: dict[Ref, None] = {}  # of slots skipped since the last commit
        self._unordered: dict[Ref, None] = {}  # accepted, uncommitted, with payload (P5)
        self._forked = False
        self._ask_newest_at = Millis(0)
        # What the driver told us
        self._payload_pending = False
        self._next_due: Millis | None = None
        # Deadlines
        self._now = Millis(0)
        self._resending = Resending(self.pacemaker, parameters)
        self._timer_at: Millis | None = None
        self._out: list[Effect] = []

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
        return replace(state, signing=Signing.HALTED) if self._forked else state

    # --- the two ways in -------------------------------------------------------------------------

    def start(self, now: Millis) -> list[Effect]:
        """Take up what was stored. Call it once, first."""
        assert not self._now, "started twice"
        self._now = now
        recovered = self._recovered
        commits = [record.commit for record in recovered.records]
        self.linearizer.restore(commits)
        self._catch_up.applied(self.linearizer.last_index)
        own = recovered.own.block if recovered.own is not None else None
        self.votes.restore(commits, own.header.commit_votes if own is not None else ())
        if commits:
            self._next_slot = Round(commits[-1].leader.round + 1)
            self.dag.raise_floor(self.linearizer.floor)
        self._mine.restore(recovered)
        self._end.restore(recovered.records)
        for proof in self.evidence.restore(recovered, self.own, self.linearizer.is_committed):
            self._accuse(proof)
        stored = [*recovered.blocks, *([recovered.own] if recovered.own is not None else [])]
        self._admission.take(stored, None, asked_for=True, deciders=True)
        self._alarm(self._mine.compare_with_store(recovered, now))
        if own is not None and all(block.block.ref != own.ref for block in recovered.blocks):
            self._out.append(PersistOwnBlock(own))  # signed, and then the store was lost or cut off
        # The others are in the store already; and our round is entered anew, however long it lasted before.
        self._absorb(store=False)
        self.pacemaker.enter(Round(self.pacemaker.last_signed or 1), now)
        self.pacemaker.committed()
        self._recovered = Recovered()
        self._started = True
        return self._settle(moved=True)

    def step(self, now: Millis, event: Event) -> list[Effect]:
        """Apply one event; returns what the driver must do, in this order."""
        assert now >= self._now > 0, f"driver's clock ran backwards: {self._now} -> {now}"
        self._now = now
        made = False
        match event:
            case BlocksReceived():
                self._take(event.blocks, event.sender)
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
            case FetchAnswered() | RangeAnswered() | BelowAnswered() | NewestAnswered():
                self._on_answer(event)
            case CommitsAnswered() | ListedAnswered():
                self._on_certified(event)
            case RequestFailed():
                question = self._requests.failed(event.request, event.peer)
                if question is not None:
                    self._failed(question, refused=event.refused)
            case _:
                assert_never(event)
        return self._settle(moved=made)

    # --- events ----------------------------------------------------------------------------------

    def _take(
        self,
        blocks: Iterable[VerifiedBlock],
        sender: ValidatorIndex,
        *,
        asked_for: bool = False,
        deciders: bool = False,
        always: bool = False,
    ) -> None:
        """Blocks from a peer: what they say is noted, and they go to admission."""
        listed = tuple(blocks)
        self._note(listed, sender)
        if self._catch_up.active and not always:
            self._admission.note(listed)
        else:
            self._admission.take(listed, sender, asked_for=asked_for, deciders=deciders)

    def _note(self, listed: Iterable[VerifiedBlock], sender: ValidatorIndex) -> None:
        """Whatever becomes of the blocks: what they show of ourselves, their votes, their evidence."""
        for verified in listed:
            block = verified.block
            if block.ref.author == self.own:
                self._alarm(self._mine.look_at(verified, sender, self._now))
            if not self.dag.has(block.ref):
                self._note_votes(block)
                self._note_evidence(block)
            elif self.dag.node(block.ref) is not None:
                self._spread.shown(sender, block.ref)

    def _note_votes(self, block: Block) -> None:
        author = block.ref.author
        before = self.votes.contradicting
        vote = self.votes.record(author, block.header.commit_votes)
        if vote is not None and self.votes.contradicting != before:
            self._contradicted(author, vote.index)

    def _note_evidence(self, block: Block) -> None:
        """The block was verified with the proofs in it."""
        for proof in block.header.evidence:
            if self.evidence.take(proof):
                self._accuse(proof)

    def _accuse(self, proof: EquivocationProof) -> None:
        self._out.append(Accuse(proof))
        if proof.author == self.own and self._started:
            self._alarm(self._mine.proven_twice(proof))

    def _contradicted(self, author: ValidatorIndex, index: CommitIndex) -> None:
        detail = f"validator {author} has another commit {index} than we"
        self._alarm(Alarm(trouble=Trouble.VOTE_CONTRADICTS, detail=detail))
        if self.votes.contradicting.bit_count() > self.committee.faults:
            self._fork(f"validators {self.votes.contradicting:#x} contradict our commits")

    def _on_proposed(self, verified: VerifiedBlock) -> None:
        block = verified.block
        self._mine.made(block)
        self.evidence.carried(block.ref, block.header.evidence)
        self._out.append(PersistOwnBlock(block))
        self._admission.take((verified,), None)
        assert self.dag.node(block.ref) is not None, f"own block not accepted: {named(block.ref)}"

    def _on_connected(self, peer: ValidatorIndex) -> None:
        self._spread.connect(peer, self._now)
        self._push(peer, always=True)
        self._ask_newest()

    def _on_answer(
        self, event: FetchAnswered | RangeAnswered | BelowAnswered | NewestAnswered
    ) -> None:
        match event:
            case FetchAnswered():
                fetch = self._requests.answered(SendFetch, event.request, event.peer)
                if fetch is not None:
                    self._on_fetched(event, fetch)
            case RangeAnswered():
                rounds = self._requests.answered(SendRange, event.request, event.peer)
                if rounds is not None:
                    self._on_range(event, rounds)
            case BelowAnswered():
                below = self._requests.answered(SendBelow, event.request, event.peer)
                if below is not None:
                    self._take(event.blocks, event.peer, asked_for=True, deciders=True)
                    self._fetcher.below_answered(event, below, self.linearizer.last_index)
            case NewestAnswered():
                newest = self._requests.answered(SendNewest, event.request, event.peer)
                if newest is not None:
                    self._on_newest(event, newest.author)
            case _:
                assert_never(event)

    def _on_fetched(self, event: FetchAnswered, question: SendFetch) -> None:
        """Requested blocks and their ancestors are taken in, anything else is not."""
        wanted = asked_for(event, question)
        if len(wanted) < len(event.blocks):
            self._reject(
                event.peer,
                Fault.UNREQUESTED,
                f"{len(event.blocks) - len(wanted)} of {len(event.blocks)} blocks",
            )
        if any(ref.round > event.floor for ref in event.below):
            self._reject(event.peer, Fault.BAD_RANGE, f"below its floor {event.floor}: not so")
            return
        self._take(
            [block for block in event.blocks if block.block.ref in wanted],
            event.peer,
            asked_for=True,
        )
        for ref, holder in self._admission.admitted.missing:
            self._fetcher.want(ref, holder, deep=True)
        self._fetcher.fetch_answered(
            event, question, self.linearizer.last_index, self.linearizer.floor
        )

    def _on_range(self, event: RangeAnswered, question: SendRange) -> None:
        inside = [
            block
            for block in event.blocks
            if question.first <= block.block.ref.round <= question.last
        ]
        if len(inside) < len(event.blocks) or event.complete_through > question.last:
            self._reject(event.peer, Fault.BAD_RANGE, f"rounds {question.first}..{question.last}")
            self._sync.failed(self._now)
            return
        self._take(inside, event.peer, asked_for=True)
        self._sync.answered(event, question, self._now)

    def _on_newest(self, event: NewestAnswered, author: ValidatorIndex) -> None:
        block = event.block
        if block is not None and block.block.ref.author != author:
            self._reject(event.peer, Fault.UNREQUESTED, f"{named(block.block.ref)}: not {author}'s")
            return
        if block is not None:
            self._take((block,), event.peer, asked_for=True, always=True)
        newest = block.block.ref if block is not None else None
        self._mine.answered(event.peer, author, newest)

    def _on_certified(self, event: CommitsAnswered | ListedAnswered) -> None:
        """What a lie of a peer costs is its turn; only a certificate that contradicts us is trouble (SPEC 11)."""
        wrong, fault = None, Fault.BAD_COMMITS
        if isinstance(event, CommitsAnswered):
            span = self._requests.answered(SendCommits, event.request, event.peer)
            if span is None:
                return
            try:
                wrong = self._catch_up.commits_answered(event, span, self._now)
            except Forked as err:
                self._fork(str(err))
        else:
            listed = self._requests.answered(SendListed, event.request, event.peer)
            if listed is None:
                return
            self._note(event.blocks, event.peer)
            wrong, fault = (
                self._catch_up.listed_answered(event, listed, self._now),
                Fault.UNREQUESTED,
            )
        if wrong is not None:
            self._reject(event.peer, fault, wrong)

    def _failed(self, question: Question, *, refused: bool = False) -> None:
        match question:
            case SendCommits() | SendListed():
                self._catch_up.failed(question, self._now, refused=refused)
            case SendFetch() | SendBelow():
                self._fetcher.failed(question)
            case SendRange():
                self._sync.failed(self._now)
            case SendNewest():
                self._ask_newest_at = Millis(self._now + self._parameters.delta_ms)
            case _:
                assert_never(question)

    # --- after each event ------------------------------------------------------------------------

    def _settle(self, *, moved: bool) -> list[Effect]:
        """Everything that follows from the state as it is now. `moved`: an own block was made."""
        for question in self._requests.expired(self._now):
            self._failed(question)
        self._absorb()
        while self._commit() or self._order_certified():
            self._absorb()
        self._mine.pass_time(self._now)
        if not self._forked and self._catch_up.check(
            self.votes.certified_index, self._spread.peers, self._now
        ):
            self._sync.stop()
        if not self._catch_up.active:
            self._sync.check(self._admission.shown)
        moved |= self.pacemaker.advance(self.dag, self.linearizer.last_leader_round, self._now)
        self._propose()
        if moved:
            self._resending.made(self._now)
        self._send_all(moved=moved)
        self._ask()
        self._set_timer()
        out, self._out = self._out, []
        return out

    def _absorb(self, *, store: bool = True) -> None:
        """What admission let in since the last time: to be stored, spread and ordered."""
        admitted = self._admission.admitted
        if admitted.blocks:
            # Our own come back from peers where our store was lost.
            given = [block for block, sender in admitted.blocks if sender is not None]
            if store and given:
                # Before everything else that this step does: a commit may bring these, an own block refer to them.
                blocks = sorted(given, key=lambda block: block.ref)
                self._out.insert(0, StoreBlocks(tuple(blocks)))
            for block, sender in admitted.blocks:
                self._spread.accepted(block, sender, self._now)
                if block.payload and not self.linearizer.is_committed(block.ref):
                    self._unordered[block.ref] = None
                elif self.linearizer.is_committed(block.ref):
                    self.dag.release(block.ref)
            admitted.blocks.clear()
        for ref, holder in admitted.missing:
            self._fetcher.want(ref, holder, deep=False)
        admitted.missing.clear()
        for proof in admitted.proofs:
            self._accuse(proof)
        admitted.proofs.clear()

    def _commit(self) -> bool:
        """Emit what is decided in sequence. True if the floor rose, which may have let blocks in."""
        waits = self._catch_up.active or self.dag.highest_round < self._next_slot + 2
        if self._forked or self._end.reached or waits:
            return False
        try:
            decisions = decide(self.dag, self._next_slot)
        except Forked as err:
            self._fork(str(err))
            return False
        floor = self.linearizer.floor
        for position, decision in enumerate(decisions):
            if decision.status is Status.UNDECIDED or self._end.reached:
                break  # what would come after the end of the epoch is void
            self._next_slot = Round(decision.round + 1)
            self._decided(decisions, position)
        if self.linearizer.floor == floor:
            return False
        self._raise_floor()
        return True

    def _decided(self, decisions: list[Decision], position: int) -> None:
        leader = decisions[position].leader
        self._skip_deciders.update(dict.fromkeys(deciders(self.dag, decisions, position)))
        if leader is None:
            return
        commit = self.linearizer.order(self.dag, leader)
        blocks: list[Block] = []
        for ref in commit.blocks:
            block = self.dag.block(ref)
            assert block is not None, f"commit {commit.index}: the payload of {named(ref)} is gone"
            blocks.append(block)
        self._emit(commit, tuple(blocks), tuple(sorted(self._skip_deciders)[-DECIDERS_MAX:]))

    def _order_certified(self) -> bool:
        """Emit what a quorum committed and is here in full. False: nothing was, or no more may be now."""
        if self._forked or self._end.reached or not self._catch_up.active:
            return False
        moved = False
        try:
            for ordered in self._catch_up.ordered():
                if ordered.fresh:
                    self._out.append(StoreBlocks(ordered.fresh))
                self._next_slot = Round(ordered.commit.leader.round + 1)
                record = self._emit(ordered.commit, ordered.blocks, ())
                self._raise_floor()
                moved = True
                if ends_epoch(record, self.committee):
                    break
        except Forked as err:
            self._fork(str(err))
        return moved

    def _emit(
        self, commit: Commit, blocks: tuple[Block, ...], deciders: tuple[Ref, ...]
    ) -> CommitRecord:
        """To the ledger, with what decided it."""
        for block in blocks:
            self.evidence.committed(block.header.evidence)
            self.dag.release(block.ref)
            self._unordered.pop(block.ref, None)
        self._skip_deciders = {}
        closed_by = self._end.committed(commit.leader.round, blocks)
        record = CommitRecord(commit=commit, deciders=deciders, closed_by=closed_by)
        self._out.append(CommitDecided(record=record, blocks=blocks))
        self.pacemaker.committed()
        self._compare(commit)
        return record

    def _compare(self, commit: Commit) -> None:
        for author in self.votes.committed(commit):
            self._contradicted(author, commit.index)

    def _raise_floor(self) -> None:
        floor = self.linearizer.floor
        void = [ref for ref in self._unordered if ref.round <= floor]
        for ref in void:
            del self._unordered[ref]
            if ref.author == self.own:
                self._out.append(OwnBlockVoid(ref))
        self.dag.raise_floor(floor)
        self._spread.raise_floor(floor)
        self.evidence.raise_floor(floor)
        self._admission.floor_raised()

    # --- our own block ---------------------------------------------------------------------------

    @property
    def _may_idle(self) -> bool:
        """Nothing to order, as far as this node knows (SPEC 5 quiescence, RULINGS R32, PACEMAKER P5)."""
        by_end = self._end.may_idle_at(self.pacemaker.round)
        if by_end is not None:
            return by_end
        due = self._next_due is not None and self._now >= self._next_due
        return not (self._payload_pending or self._unordered or due)

    @property
    def _may_sign(self) -> bool:
        behind = self._sync.active or self._catch_up.active
        return self._mine.may_sign and not self._forked and not behind

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
        self._out.append(
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
            self._out += [SendWake(peer, self.pacemaker.round) for peer in self._spread.peers]

    def _push(self, peer: ValidatorIndex, *, always: bool) -> None:
        newest = self._mine.newest
        with_block = newest.ref if always and newest is not None else None
        refs = self._spread.bundle(peer, self._now, with_block=with_block)
        if refs:
            self._out.append(SendBlocks(peer, refs))

    def _ask(self) -> None:
        """The questions that are due."""
        peers = self._spread.peers
        if not self.is_ready and self._now >= self._ask_newest_at:
            self._ask_newest()
        if self._catch_up.active:
            self._out += self._catch_up.due(peers, self._now)
            return
        self._out += self._fetcher.due(
            self._now, peers, self.linearizer.floor, below=self._sync.next_round
        )
        question = self._sync.due(self._now, peers, self._admission.shown)
        if question is not None:
            self._out.append(question)

    def _ask_newest(self) -> None:
        """Always, not only when the store is empty: it may have been rolled back (SPEC 10)."""
        if self.is_ready:
            return
        for peer in self._spread.peers:
            question = self._mine.question_to(peer)
            if question is not None and not self._requests.is_open(SendNewest, peer):
                self._out.append(self._requests.ask(question, self._timeout_at()))

    def _timeout_at(self) -> Millis:
        return Millis(self._now + self._parameters.request_timeout_ms)

    # --- time ------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        """One timer, for the earliest time at which something may happen by itself."""
        now = self._now
        candidates = [
            self._resending.at,
            self._resending.wake_at,
            self._next_due,
            self._spread.next_due(),
            self._requests.next_deadline(),
            self._fetcher.next_at(now),
            self._sync.next_at(now),
            self._catch_up.next_at(now),
            None if self.is_ready else self._ask_newest_at,
            self._mine.deadline(),
        ]
        if self._mine.outstanding is None and self._may_sign:
            candidates += self.pacemaker.deadlines()
        coming = [at for at in candidates if at is not None and at > now]
        at = min(coming, default=None)
        if at is not None and at != self._timer_at:
            self._timer_at = at
            self._out.append(SetTimer(at))

    # --- trouble ---------------------------------------------------------------------------------

    def _reject(self, peer: ValidatorIndex, fault: Fault, detail: str) -> None:
        self._out.append(Reject(peer=peer, fault=fault, detail=detail))

    def _alarm(self, alarm: Alarm | None) -> None:
        if alarm is not None:
            self._out.append(alarm)

    def _fork(self, detail: str) -> None:
        if not self._forked:
            self._forked = True
            self._catch_up.end()
            self._alarm(Alarm(trouble=Trouble.FORK, detail=detail))
