"""The engine: drives `consensus.core` in the world (DESIGN D1, D2; the seven promises of consensus/types.py).

    peers' streams ──► Receiver (verify) ──┐                              ┌──► store, sign state (durable before anything later)
    answers ──► Asker ──► Receiver ────────┼──► Inbox ──► Core.step ──► effects ──► peers' outboxes, requests
    timer, mempool, deadlines ─────────────┘                              └──► Applier ──► ledger ──► finality, mempool

One task owns the core: it takes an event, steps, and carries the effects out in order before it takes the next. What may take
long is elsewhere: signatures in threads, the law in the applier's task, answers to peers straight from the store.

Durability (promise 2): `PersistOwnBlock` first flushes the store, so that all that the block refers to is on the disk; then the
sign state is written and synced; only then is the block put in the store, from where peers are served. After a crash the block is
read back from the sign state if the store does not have it. If either write fails, the process ends and the block never left.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, assert_never

from consensus import serving
from consensus.codec import MalformedBlock, decode_block, make_header
from consensus.committee import Committee
from consensus.core import Core
from consensus.types import (
    FLAG_EPOCH_CLOSE,
    GENESIS_ROUND,
    LOCAL_PACE,
    Accuse,
    Alarm,
    Block,
    BlockProposed,
    BlocksReceived,
    CommitDecided,
    CommitIndex,
    CommitsApplied,
    Digest,
    Effect,
    EpochClosing,
    Millis,
    NextDue,
    OwnBlockVoid,
    Parameters,
    PayloadPending,
    PeerConnected,
    PeerDisconnected,
    PersistOwnBlock,
    Propose,
    Recovered,
    Ref,
    Reject,
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
from node.engine.accusations import Accusations
from node.engine.applying import Applier
from node.engine.asking import Asker
from node.engine.catching_up import CommitReader, CommitServer
from node.engine.clock import SlewedClock
from node.engine.figures import EngineFigures
from node.engine.gossip import Gossip
from node.engine.hosting import Host
from node.engine.inbox import Inbox
from node.engine.loss import LossWatch
from node.engine.outcomes import DecisionLog, Outcomes
from node.engine.payload import OwnPayload
from node.engine.prefetching import Prefetcher
from node.engine.receiving import Receiver
from node.engine.recent import RecentBlocks
from node.engine.seating import Keyring, good_certificates, peers_of
from node.engine.watching import Watch
from node.ledger.epochs import Epoch, epoch_of_size
from node.ledger.finality import Cosigned, Finality
from node.ledger.genesis import Genesis
from node.ledger.ledger import Applied, Ledger
from node.ledger.mempool import Mempool
from node.network import wire
from node.network.link import Peer
from node.network.listener import Listener
from node.network.network import Network
from node.network.transport import GrpcTransport, Transport
from node.signing.blocks import BlockVerifier, of_own_store, sign_block
from node.signing.keys import NodeKeys
from node.signing.verify import VerifyPool
from node.storage.epoch_blocks import EpochBlocks
from node.storage.errors import StoreDamaged
from node.storage.sign_state import BlockSigned, SignState
from node.storage.store import Store
from node.telemetry import Metrics, event

REJECT_POINTS: Final = 10.0
FRAMES_REMEMBERED: Final = 8
PUSH_VALIDATORS_MAX: Final = 30  # Push costs n times the traffic (SPEC 5)
_log = logging.getLogger("foedus.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineParts:
    """What the engine works with; it opens and closes none of it."""

    genesis: Genesis
    chain_id: bytes
    keys: NodeKeys
    later_keys: tuple[NodeKeys, ...] = ()  # of seats that this state declared since (SPEC 14)
    listen_peer: str
    pace: Callable[[int], Parameters]  # by how many validators there are
    store: Store
    sign_state: SignState
    pool: VerifyPool
    ledger: Ledger
    mempool: Mempool
    finality: Finality
    metrics: Metrics
    decisions: Path | None = None  # file of the decision log; None: none is written
    clock: SlewedClock = field(default_factory=SlewedClock)
    transport: Transport = field(default_factory=GrpcTransport)
    monotonic: Callable[[], float] = time.monotonic  # seconds, of the network's pauses and budgets


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLink:
    """How one other member's node stands towards this one."""

    member: int
    state: str
    endpoint: str
    reads_us: bool
    is_read: bool
    last_round: int
    last_cosigned_size: int


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
        self._blocks = EpochBlocks(
            parts.store,
            epoch.number,
            after_commit=epoch.after_commit,
            last_commit=epoch.last_commit,
        )
        self._is_closing = False
        self._good: dict[str, tuple[bytes, ...]] = {}
        self._guests: list[str] = []
        self._gone: dict[str, bytes] = {}  # the last certificate of each, should it be good no more
        self._clock = parts.clock
        self._inbox = Inbox()
        self._loss = LossWatch(parts.sign_state, self._inbox)
        self._recent = RecentBlocks()
        self._prefetcher = Prefetcher(parts.ledger, parts.pool)
        # A pool of its own: blocks must not wait behind thousands of entries.
        self._block_pool = VerifyPool(threads=1)
        keys = [member.block_key for member in epoch.members]
        verifier = BlockVerifier(self._committee, keys, self._block_pool)
        self._receiver = Receiver(verifier, self._recent, self._prefetcher.add, self._on_refused)
        self._payload = OwnPayload(self._own, parts.mempool)
        self._commits = CommitReader(epoch, parts.genesis.origin, parts.finality)
        states = [member.state for member in epoch.members]
        self._applier = Applier(parts.ledger, self._committee, states, self._on_applied)
        self._network = Network(
            own=self._own,
            peers=self._peers(),
            identity=self._keyring.identity_of(parts.ledger).transport,
            address=parts.listen_peer,
            chain=wire.Chain(parts.chain_id, epoch.number),
            hosted=Host(
                self._blocks,
                self._committee,
                self._own,
                CommitServer(self._blocks, parts.store, parts.finality, epoch),
                lambda: self._gossip,
                on_reader=self._on_reader,
                on_reader_left=self._on_reader_left,
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
        self._frames: OrderedDict[tuple[Ref, ...], bytes] = OrderedDict()
        self._rounds = [Round(GENESIS_ROUND)] * self._committee.size  # newest block of each author
        self._signed_round = Round(GENESIS_ROUND)
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
            block_of=self._block_of,
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
            metrics=parts.metrics,
        )
        self._watch.measure(lambda: self._core)

    def _seat(self) -> tuple[ValidatorIndex | None, NodeKeys | None]:
        """Our index in this epoch and the keys of that seat; None both: we observe."""
        own = self.epoch.index_of(self._keyring.state)
        keys = None if own is None else self._keyring.of(self.epoch.members[own])
        return (None, None) if own is None or keys is None else (ValidatorIndex(own), keys)

    def _peers(self) -> list[Peer]:
        """Members, and behind them guests, of whom none goes as long as the epoch has this engine."""
        good = self.good_certificates()
        seated = {member.state for member in self.epoch.members}
        self._guests += sorted(set(good) - seated - {self._keyring.state} - set(self._guests))
        gone = {state: (pem,) for state, pem in self._gone.items() if state not in good}
        peers = peers_of(self.epoch, {**gone, **good}, self._guests)
        self._gone = {peer.certificate.state: peer.certificate.certificate_pem for peer in peers}
        return peers

    def good_certificates(self) -> dict[str, tuple[bytes, ...]]:
        """By which every state's node is known now (R48)."""
        ledger = self._parts.ledger
        overlap_s = ledger.law.policy_value("key_overlap_s", ledger.time_ms // 1000)
        return good_certificates(ledger, overlap_s)

    # The engine as the node sees it

    async def start(self) -> None:
        """Read what was left, listen to peers. Raises OSError naming the address, StoreDamaged."""
        self._loss.start()
        recovered = self._recover()
        self._core = Core(
            committee=self._committee,
            own=self._own,
            parameters=self._parts.pace(self._committee.size),
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
        return self._signed_round

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
        guests = range(self._committee.size, self._committee.size + len(self._guests))
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
            self.over.set()

    def renew_register(self) -> None:
        """Certificates came or went, or somebody joined who may look on."""
        good = self.good_certificates()
        if good == self._good:
            return
        self._good = good
        identity = self._keyring.identity_of(self._parts.ledger).transport
        self._network.renew([peer.certificate for peer in self._peers()], identity)
        self._network.listener.show(identity, [pem for pems in good.values() for pem in pems])

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
                    self._store_blocks(effect.blocks)
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
        assert wanted.round > self._signed_round, (
            f"round {wanted.round} is not above {self._signed_round}: each round is signed once"
        )
        assert self._own is not None, "an observer proposes nothing"
        assert self._keys is not None, "a seat without its keys is none"
        held_back = wanted.flags & FLAG_EPOCH_CLOSE or self.over.is_set() or self._applier.is_behind
        payload = () if held_back else self._payload.take()
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

    async def _persist(self, block: Block) -> None:
        """See the module's text. Raises WriteFailed: then the block never leaves."""
        data = self._recent.data_of(block)
        if block.ref.round > self._signed_round:
            signed = BlockSigned(
                epoch=self.epoch.number,
                round=block.ref.round,
                digest=block.ref.digest,
                block=data,
            )
            await self._parts.store.durable(partial(self._parts.sign_state.save_block, signed))
            self._signed_round = block.ref.round
        else:
            await self._parts.store.durable()
        self._blocks.put_blocks([(block.ref, data)])
        self._tell_guests(data)
        self._recent.add(of_own_store(block), data)
        self._payload.made(block)
        if self.over.is_set():
            self._payload.void_all()  # asked for before the epoch ended, and signed after
        self._saw((of_own_store(block),))

    def _store_blocks(self, blocks: Sequence[Block]) -> None:
        data_of = self._recent.data_of
        self._blocks.put_blocks([(block.ref, data_of(block)) for block in blocks])

    def _send_blocks(self, effect: SendBlocks) -> None:
        frame = self._frames.get(effect.blocks)
        if frame is None:
            frame = wire.bundle_frame(map(self._bytes_of, effect.blocks))
            self._frames[effect.blocks] = frame
            if len(self._frames) > FRAMES_REMEMBERED:
                self._frames.popitem(last=False)
        self._network.send(effect.peer, frame)

    def _bytes_of(self, ref: Ref) -> bytes:
        data = self._recent.data(ref) or self._blocks.block(ref)
        if data is None:
            raise StoreDamaged(f"{self._parts.store.path}: block {ref} was stored and is gone")
        return data

    def _set_timer(self, at_ms: Millis) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0, at_ms - self._clock.now_ms()) / 1000
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer, at_ms)

    def _on_timer(self, at_ms: Millis) -> None:
        if self._clock.now_ms() < at_ms:
            self._set_timer(at_ms)  # the clock was slewed meanwhile
            return
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
        parts = self._parts
        signed = parts.sign_state.block(self.epoch.number)
        own = None if signed is None else self._own_block(signed)
        if own is not None and signed is not None:
            # Before any peer is served (promise 3): one that lost its sign state counts on our newest block.
            self._blocks.put_blocks([(own.block.ref, signed.block)])
        try:
            recovered = serving.recover(
                self._blocks,
                own,
                evidence=self._accusations.restore(),
                after_commit=self.epoch.after_commit,
            )
        except MalformedBlock as err:
            raise StoreDamaged(f"{parts.store.path}: {err}") from err
        stored = [verified.block for verified in recovered.blocks]
        blocks = stored if own is None or own.block in stored else [*stored, own.block]
        self._payload.restored(blocks, recovered.records)
        self._outcomes.restored(recovered.records[-1] if recovered.records else None)
        self._saw(recovered.blocks)
        if own is not None:
            self._signed_round = own.block.ref.round
            self._saw((own,))
        event(
            _log,
            "engine recovered",
            blocks=len(recovered.blocks),
            commit=parts.store.last_commit_index(),
            signed_round=self._signed_round,
        )
        return recovered

    def _own_block(self, signed: BlockSigned) -> VerifiedBlock:
        path = self._parts.store.path.parent / "block"
        try:
            block = decode_block(signed.block)
        except MalformedBlock as err:
            raise StoreDamaged(f"{path}: {err}") from err
        header = block.header
        if (header.chain_id, header.epoch, header.author) != (
            self._committee.chain_id,
            self.epoch.number,
            self._own,
        ):
            raise StoreDamaged(
                f"{path}: a block of another ledger, epoch or member: this folder belongs to another node"
            )
        return of_own_store(block)

    def _block_of(self, ref: Ref) -> Block | None:
        data = self._recent.data(ref) or self._blocks.block(ref)
        return None if data is None else decode_block(data)


def pace_of(profile: str, validators: int) -> Parameters:
    """The pace of `pace.profile`: between states Push, above PUSH_VALIDATORS_MAX Lazy-Push (3 and 8 delta, SPEC 5)."""
    if profile == "drill":
        return LOCAL_PACE
    assert profile == "wan", f"pace.profile={profile!r}: settings know wan and drill"
    push = Parameters()
    if validators <= PUSH_VALIDATORS_MAX:
        return push
    return replace(push, timeout_deltas=8, history_delay_ms=3 * push.delta_ms)


def committee_of(genesis: Genesis, chain_id: bytes) -> Committee:
    """The validators of the founding epoch: the members, in the order of the genesis (RULINGS R3)."""
    return Committee.found(
        chain_id=Digest(chain_id),
        block_keys=[member.block_key for member in genesis.members],
        genesis_time_ms=Millis(genesis.time_ms),
    )
