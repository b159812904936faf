"""The engine: drives `consensus.core` in the world (DESIGN D1, D2; the seven promises of consensus/types.py).

    peers' streams ──► Receiver (verify) ──┐                              ┌──► store, sign state (durable before anything later)
    answers ──► Asker ──► Receiver ────────┼──► Inbox ──► Core.step ──► effects ──► peers' outboxes, requests
    timer, mempool, deadlines ─────────────┘                              └──► Applier ──► ledger ──► finality, mempool

One task owns the core: it takes an event, steps, and carries the effects out in order before it takes the next. What may take
long is elsewhere: signatures in threads, the law in the applier's task, answers to peers straight from the store.

What is durable before what: `keeping`. If a write fails, the process ends.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final, assert_never

from consensus.codec import make_header
from consensus.core import Core
from consensus.events import (
    Accuse,
    Alarm,
    BlockProposed,
    BlocksReceived,
    CommitDecided,
    CommitsApplied,
    Effect,
    EpochClosing,
    NextDue,
    OwnBlockVoid,
    PayloadPending,
    PeerConnected,
    PeerDisconnected,
    PersistOwnBlock,
    Propose,
    Reject,
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
    WakeReceived,
)
from consensus.types import (
    FLAG_EPOCH_CLOSE,
    GENESIS_ROUND,
    Block,
    CommitIndex,
    Millis,
    Recovered,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)
from node.engine.accusations import Accusations
from node.engine.applying import Applier
from node.engine.asking import Asker
from node.engine.catching_up import CommitReader, CommitServer
from node.engine.figures import EngineFigures
from node.engine.gossip import Gossip
from node.engine.handing_over import HandingOver
from node.engine.hosting import Host
from node.engine.inbox import Inbox
from node.engine.keeping import BlockKeeping
from node.engine.loss import LossWatch
from node.engine.outcomes import DecisionLog, Outcomes
from node.engine.parts import EngineParts, PeerLink
from node.engine.payload import OwnPayload
from node.engine.prefetching import Prefetcher
from node.engine.pulse import Pulse
from node.engine.receiving import Receiver
from node.engine.register import Register
from node.engine.seating import Keyring
from node.engine.watching import Watch
from node.ledger.admission import Admission
from node.ledger.cosigned import Cosigned
from node.ledger.epochs import Epoch, epoch_of_size
from node.ledger.ledger import Applied
from node.network import wire
from node.network.listener import Listener
from node.network.network import Network
from node.signing.blocks import BlockVerifier, of_own_store, sign_block
from node.signing.keys import NodeKeys
from node.signing.verify import VerifyPool
from node.telemetry import event

REJECT_POINTS: Final = 10.0
COMMITS_WAITING_CALM: Final = 2  # for the law: more of them means that it does not keep up
FRAMES_REMEMBERED: Final = 8
PUSH_VALIDATORS_MAX: Final = 30  # Push costs n times the traffic (SPEC 5)
_log = logging.getLogger("foedus.engine")


class DagEngine:
    """The engine of one epoch: see the module's drawing. `start`, then `run` until cancelled, then `stop`."""

    def __init__(
        self, parts: EngineParts, epoch: Epoch | None = None, listener: Listener | None = None
    ) -> None:
        """`epoch`: the one that goes on, if None. `listener`: the node's port, if it outlives this epoch."""
        self._parts = parts
        self.epoch = epoch = epoch or parts.ledger.epoch
        self.over = asyncio.Event()  # the ledger has applied the last commit of this epoch
        self._keyring = Keyring(keys=(parts.keys, *parts.later_keys))
        self._own, self._keys = self._seat()
        self._committee = epoch.committee
        self._pace = pace = parts.pace(epoch.committee.size)
        self._keeping = BlockKeeping(parts.store, parts.sign_state, epoch, self._own)
        self._register = Register(epoch, self._keyring, parts.ledger)
        self._is_closing = False
        self._clock = parts.clock
        self._inbox = Inbox()
        self._loss = LossWatch(parts.sign_state, self._inbox)
        self._prefetcher = Prefetcher(parts.ledger, parts.pool)
        # A pool of its own: blocks must not wait behind thousands of entries.
        self._block_pool = VerifyPool(threads=1)
        keys = [member.block_key for member in epoch.members]
        verifier = BlockVerifier(self._committee, keys, self._block_pool)
        self._receiver = Receiver(
            verifier, self._keeping.recent, self._prefetcher.add, self._on_refused
        )
        self._payload = OwnPayload(self._own, parts.mempool)
        self._handing = HandingOver(
            parts.mempool,
            Admission(
                parts.ledger,
                parts.mempool,
                parts.store,
                parts.pool,
                node=parts.keys.state,
                log_key=lambda: parts.keys.log,  # nothing is acknowledged to a peer
                clock_ms=lambda: int(parts.clock.now_ms()),
            ),
            lambda: self._network,
            seated=self._own is not None,
        )
        self._commits = CommitReader(epoch, parts.genesis.origin, parts.finality)
        states = [member.state for member in epoch.members]
        self._applier = Applier(parts.ledger, self._committee, states, self._on_applied)
        self._network = Network(
            own=self._own,
            peers=self._register.peers(),
            identity=self._keyring.identity_of(parts.ledger).transport,
            address=parts.listen_peer,
            chain=wire.Chain(parts.chain_id, epoch.number),
            hosted=Host(
                self._keeping.blocks,
                self._committee,
                self._own,
                CommitServer(self._keeping.blocks, parts.store, parts.finality, epoch),
                lambda: self._gossip,
                on_reader=self._on_reader,
                on_reader_left=self._on_reader_left,
                handed=self._handing.take,
            ),
            heard=self,
            metrics=parts.metrics,
            transport=parts.transport,
            monotonic=parts.monotonic,
            listener=listener,
        )
        self._gossip = Gossip(parts.finality, self._network, epoch.number)
        self._asker: Asker | None = None
        self._core: Core | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = Millis(0)
        self._pulse = Pulse(pace.delta_ms)
        self._rounds = [Round(GENESIS_ROUND)] * self._committee.size  # newest block of each author
        self._is_pending = False
        self._is_catching_up = False
        self._next_due: int | None = None
        self._alarms: dict[str, str] = {}
        self._accusations = Accusations(parts.store, epoch.members, epoch.number, parts.metrics)
        decisions = parts.decisions
        self._outcomes = Outcomes(
            committee=self._committee,
            states=states,
            metrics=parts.metrics,
            block_of=self._keeping.block_of,
            log=None if decisions is None else DecisionLog(decisions, states),
        )
        self._watch = Watch(
            own=self._own,
            states=states,
            rounds=self._rounds,
            quorum=self._committee.quorum,
            outcomes=self._outcomes,
            accusations=self._accusations,
            inbox=self._inbox,
            applier=self._applier,
            network=self._network,
            newest_cosigned=self._gossip.newest_of,
            ledger=parts.ledger,
            mempool=parts.mempool,
            pulse=self._pulse,
            metrics=parts.metrics,
        )
        self._watch.measure(lambda: self._core)

    def _seat(self) -> tuple[ValidatorIndex | None, NodeKeys | None]:
        """Our index in this epoch and the keys of that seat; None both: we observe."""
        own = self.epoch.index_of(self._keyring.state)
        keys = None if own is None else self._keyring.of(self.epoch.members[own])
        return (None, None) if own is None or keys is None else (ValidatorIndex(own), keys)

    def good_certificates(self) -> dict[str, tuple[bytes, ...]]:
        """By which every state's node is known now (R48)."""
        return self._register.good()

    # The engine as the node sees it

    async def start(self) -> None:
        """Read what was left, listen to peers. Raises OSError naming the address, StoreDamaged."""
        self._loss.start()
        recovered = self._recover()
        self._core = Core(
            committee=self._committee,
            own=self._own,
            parameters=self._pace,
            recovered=recovered,
        )
        self._parts.mempool.on_change(self._tell_pending)
        await self._network.start()

    async def run(self) -> None:
        """Until cancelled. Raises what stops the node, in a group: StorageError, AssertionError."""
        async with asyncio.TaskGroup() as tasks:
            self._asker = Asker(self._network, self._receiver, self._commits, self._inbox, tasks)
            tasks.create_task(self._applier.run(), name="applier")
            tasks.create_task(self._prefetcher.run(), name="prefetcher")
            tasks.create_task(self._gossip.run(), name="gossip")
            tasks.create_task(self._network.run(), name="network")
            tasks.create_task(self._loss.run(), name="loss")
            tasks.create_task(self._handing.run(), name="handing over")
            tasks.create_task(self._drive(), name="core")

    async def stop(self) -> None:
        """Leave the peers."""
        if self._timer is not None:
            self._timer.cancel()
        await self._network.stop()
        self._block_pool.close()
        self._outcomes.close()

    def send(self, line: Cosigned) -> None:
        """An own cosignature, to every peer."""
        self._gossip.send(line)

    def own_round(self) -> int:
        return self._keeping.signed_round

    def peers(self) -> Sequence[PeerLink]:
        return [
            PeerLink(
                member=standing.member,
                reads_us=standing.reads_us,
                is_read=standing.is_read,
                state=self.epoch.members[standing.member].state,
                endpoint=self.epoch.members[standing.member].peer_endpoint,
                last_round=self._rounds[standing.member],
                last_cosigned_size=self._gossip.newest_of(standing.member),
            )
            for standing in self._network.standings()
        ]

    def figures(self) -> EngineFigures:
        """How this node stands."""
        return self._watch.figures(self._core)

    def alarms(self) -> Sequence[str]:
        """What an operator must look at, one sentence each."""
        return [*self._alarms.values(), *self._accusations.sentences()]

    # What peers send (node.network.hosting.Heard)

    async def bundle(self, member: int, blocks: tuple[bytes, ...]) -> None:
        found = await self._receiver.open(blocks)
        self._saw(found)
        received = BlocksReceived(ValidatorIndex(member), found)
        await self._inbox.put(received, sum(map(len, blocks)))

    def wake(self, member: int, round_: Round) -> None:
        self._inbox.tell(("wake", member), WakeReceived(peer=ValidatorIndex(member), round=round_))

    def cosigned(self, member: int, lines: tuple[bytes, ...]) -> None:
        del member
        self._gossip.take(lines)

    def newest_round_of(self, member: int) -> Round:
        return self._rounds[member]

    def _on_reader(self, member: int) -> None:
        if member < self._committee.size:  # a guest is no peer of the core's: see `_tell_guests`
            self._inbox.tell(("reader", member), PeerConnected(ValidatorIndex(member)))

    def _on_reader_left(self, member: int) -> None:
        if member < self._committee.size and not self._network.is_connected(member):
            self._inbox.tell(("reader", member), PeerDisconnected(ValidatorIndex(member)))

    # A member that we read can be asked, also if it does not read us: whoever nobody dials, because its address is used by
    # another, must still see what that other signs with its key (SPEC 10); and where this epoch is over for all others, nobody
    # reads us any more.

    def stream_opened(self, member: int) -> None:
        if not self._network.is_reader(member):
            self._on_reader(member)

    def stream_ended(self, member: int) -> None:
        if not self._network.is_reader(member):
            self._inbox.tell(("reader", member), PeerDisconnected(ValidatorIndex(member)))

    def _tell_guests(self, data: bytes) -> None:
        """An own block, to those who only look on: what it names they fetch."""
        guests = range(self._committee.size, self._committee.size + len(self._register.guests))
        if guests:
            frame = wire.bundle_frame((data,))
            for guest in guests:
                self._network.send(guest, frame)

    def _saw(self, blocks: Sequence[VerifiedBlock]) -> None:
        rounds = self._rounds
        for verified in blocks:
            ref = verified.block.ref
            if ref.round > rounds[ref.author]:
                rounds[ref.author] = ref.round
        self._outcomes.saw(verified.block.ref for verified in blocks)

    def _on_refused(self, reason: str) -> None:
        self._watch.refused(reason)

    # What the ledger and the mempool say

    def _on_applied(self, applied: Applied) -> None:
        index = CommitIndex(applied.index)
        self._inbox.tell(("applied", 0), CommitsApplied(index))
        if (wrong := self._commits.contradiction(applied.plan)) is not None:
            self._parts.finality.contradicted(wrong)
            event(_log, "certified otherwise", level=logging.ERROR, commit=index, why=wrong)
        self._tell_due()

    def _tell_due(self) -> None:
        ledger = self._parts.ledger
        if ledger.epoch.number != self.epoch.number:
            self._end()
            return
        if ledger.is_closing and not self._is_closing:
            self._is_closing = True
            self._inbox.tell(("closing", 0), EpochClosing())
        self.renew_register()
        due = ledger.next_due_ms
        if due != self._next_due:
            self._next_due = due
            self._inbox.tell(("due", 0), NextDue(None if due is None else Millis(due)))
        self._tell_pending()

    def _end(self) -> None:
        """The last commit of this epoch is applied: what our blocks still hold goes into the next epoch's."""
        if not self.over.is_set():
            self._payload.void_all()
            self._handing.end()
            self.over.set()

    def renew_register(self) -> None:
        """Certificates came or went, or somebody joined who may look on."""
        self._register.renew(self._network)

    @property
    def validates(self) -> bool:
        """Whether this node has a seat in this epoch, and its keys."""
        return self._own is not None

    def is_active(self) -> bool:
        """Whether a quorum of members have shown a block of this epoch."""
        active = sum(round_ > GENESIS_ROUND for round_ in self._rounds)
        return active >= self._committee.quorum

    def cosigns(self, size: int) -> bool:
        """Whether this epoch's members cosign a log of this size."""
        return epoch_of_size(self._parts.ledger.epochs, size).number == self.epoch.number

    def _tell_pending(self) -> None:
        if self.over.is_set():
            return
        pending = self._parts.mempool.pending() > 0 and not self._applier.is_behind
        if pending != self._is_pending:
            self._is_pending = pending
            self._inbox.tell(("payload", 0), PayloadPending(pending))

    # Driving the core

    async def _drive(self) -> None:
        core = self._core
        assert core is not None, "start before run"
        await self._carry_out(core.start(self._clock.now_ms()))
        self._tell_due()
        while True:
            event_ = await self._inbox.next()
            began = time.perf_counter()
            effects = core.step(self._clock.now_ms(), event_)
            self._watch.step_seconds.inc(time.perf_counter() - began)
            await self._carry_out(effects)
            if core.is_catching_up != self._is_catching_up:
                self._catching_up_changed(is_on=core.is_catching_up)
            await asyncio.sleep(0)  # a full inbox must not keep everybody else waiting

    def _catching_up_changed(self, *, is_on: bool) -> None:
        self._is_catching_up = is_on
        self._parts.finality.only_newest(is_on=is_on)
        event(
            _log,
            "catching up by certified commits" if is_on else "caught up",
            commit=self._parts.ledger.last_commit,
            lag=self._watch.commit_lag(self._core),
        )

    async def _carry_out(self, effects: Sequence[Effect]) -> None:
        """In order: a later effect may leave the process only when an earlier one is durable."""
        for effect in effects:
            match effect:
                case SendBlocks():
                    self._send_blocks(effect)
                case StoreBlocks():
                    self._keeping.put(effect.blocks)
                case PersistOwnBlock():
                    await self._persist(effect.block)
                case Propose():
                    self._propose(effect)
                case CommitDecided():
                    if not effect.record.deciders:
                        self._watch.certified.inc()
                    self._outcomes.committed(effect)
                    self._payload.committed(effect.record)
                    self._prefetcher.committed(effect.blocks)
                    await self._applier.put(effect)
                    self._tell_pending()
                case OwnBlockVoid():
                    self._payload.void(effect.block)
                case SetTimer():
                    self._set_timer(effect.at_ms)
                case (
                    SendFetch()
                    | SendRange()
                    | SendBelow()
                    | SendNewest()
                    | SendCommits()
                    | SendListed()
                ):
                    assert self._asker is not None, "requests only while running"
                    self._asker.ask(effect)
                case SendWake():
                    self._network.send(effect.peer, wire.wake_frame(effect.round))
                case Reject():
                    self._watch.refused(effect.fault.name.lower())
                    why = f"{effect.fault.value}: {effect.detail}"
                    self._network.charge(effect.peer, why, REJECT_POINTS)
                case Accuse():
                    self._accusations.add(effect.proof)
                case Alarm():
                    self._raise_alarm(effect)
                case _:
                    assert_never(effect)

    def _propose(self, wanted: Propose) -> None:
        signed = self._keeping.signed_round
        assert wanted.round > signed, (
            f"round {wanted.round} is not above {signed}: each round is signed once"
        )
        assert self._own is not None, "an observer proposes nothing"
        assert self._keys is not None, "a seat without its keys is none"
        held_back = wanted.flags & FLAG_EPOCH_CLOSE or self.over.is_set() or self._applier.is_behind
        payload = () if held_back else self._next_payload()
        header = make_header(
            chain_id=self._committee.chain_id,
            epoch=self.epoch.number,
            author=self._own,
            wanted=wanted,
            payload=payload,
        )
        verified = sign_block(self._keys.block, header, payload)
        self._inbox.put_own(BlockProposed(verified))
        self._tell_pending()

    def _next_payload(self) -> tuple[bytes, ...]:
        ledger = self._parts.ledger
        is_busy = self._pulse.is_late or len(self._applier) > COMMITS_WAITING_CALM
        return self._payload.take(
            is_busy=is_busy,
            due_by_ms=ledger.time_ms + 1000 * ledger.inclusion_s // 2,
        )

    async def _persist(self, block: Block) -> None:
        """Raises WriteFailed: then the block never leaves."""
        self._tell_guests(await self._keeping.persist(block))
        self._payload.made(block)
        if self.over.is_set():
            self._payload.void_all()  # asked for before the epoch ended, and signed after
        self._saw((of_own_store(block),))

    def _send_blocks(self, effect: SendBlocks) -> None:
        self._network.send(effect.peer, self._keeping.frame(effect.blocks))

    def _set_timer(self, at_ms: Millis) -> None:
        now = self._clock.now_ms()
        if self._timer is not None:
            self._timer.cancel()
            if now >= self._timer_at:  # overdue, and the loop did not come to it
                self._pulse.fired(self._timer_at, now)
        self._timer_at = at_ms
        self._timer = asyncio.get_running_loop().call_later(
            max(0, at_ms - now) / 1000, self._on_timer, at_ms
        )

    def _on_timer(self, at_ms: Millis) -> None:
        self._timer = None
        now = self._clock.now_ms()
        if now < at_ms:
            self._set_timer(at_ms)  # the clock was slewed meanwhile
            return
        self._pulse.fired(at_ms, now)
        self._inbox.tell(("timer", 0), TimerFired())

    def _raise_alarm(self, effect: Alarm) -> None:
        name = effect.trouble.name
        self._alarms[name] = f"{effect.trouble.value}: {effect.detail}"
        event(_log, "alarm", level=logging.ERROR, trouble=name, detail=effect.detail)
        if effect.trouble is Trouble.SIGN_STATE_LOST:
            self._loss.open()

    # Starting

    def _recover(self) -> Recovered:
        """What store and sign state hold; the mempool is told what own blocks have of it. Raises StoreDamaged."""
        recovered = self._keeping.recover(self._accusations.restore())
        blocks = list(recovered.blocks)
        if recovered.own is not None and recovered.own not in blocks:
            blocks.append(recovered.own)
        self._payload.restored([verified.block for verified in blocks], recovered.records)
        self._outcomes.restored(recovered.records[-1] if recovered.records else None)
        self._saw(blocks)
        return recovered
