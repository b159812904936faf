"""An honest node in virtual time: one core, its driver, its disk.

The driver keeps the seven promises of `consensus.types`, and no more than these: what they leave open, a seed draws. Syncs and
signatures take time, and a crash may fall between any two effects and before, between and after the two syncs of an own block.
Requests fail after a timeout, and even that news may be lost.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, unique
from functools import partial
from random import Random
from typing import Final, Protocol

from consensus.codec import encode_commit_record
from consensus.events import (
    Accuse,
    Alarm,
    BlockProposed,
    BlocksReceived,
    CommitDecided,
    CommitsApplied,
    Effect,
    Event,
    OwnBlockVoid,
    PayloadPending,
    PersistOwnBlock,
    Propose,
    Reject,
    RequestFailed,
    SendBlocks,
    SendWake,
    SetTimer,
    StoreBlocks,
    TimerFired,
    WakeReceived,
)
from consensus.simulate.clock import VirtualClock
from consensus.simulate.desk import Desk, Request
from consensus.simulate.mint import Mint
from consensus.simulate.network import Carrier
from consensus.simulate.store import SimulatedStore
from consensus.types import (
    FLAG_EPOCH_CLOSE,
    Block,
    EquivocationProof,
    Millis,
    Recovered,
    Ref,
    ValidatorIndex,
)

TRANSACTIONS_PER_BLOCK: Final = 8
NEVER: Final = 1 << 62


class Machine(Protocol):
    """The core, or a broken one."""

    def start(self, now: Millis) -> list[Effect]: ...

    def step(self, now: Millis, event: Event) -> list[Effect]: ...


MakeMachine = Callable[[ValidatorIndex, Recovered], Machine]


class Watch(Protocol):
    """Who looks on: the checkers, the liars, the trace."""

    def stepped(self, node: int, event: Event, effects: list[Effect]) -> None: ...

    def persisted(self, node: int, block: Block) -> None: ...

    def shown(self, node: int, ref: Ref) -> None: ...

    def decided(self, node: int, effect: CommitDecided) -> None: ...

    def said(self, node: int, effect: Reject | Accuse | Alarm) -> None: ...

    def crashed(self, node: int, lost_writes: int) -> None: ...


class Peer(Protocol):
    """What others can do to a node: push to it, and ask it."""

    def receive(self, event: Event) -> None: ...

    def serve(self, request: Request, asker: int, reply: Callable[[Event], None]) -> None: ...


@unique
class CrashPoint(Enum):
    BEFORE_SYNC = "the block is signed, nothing is durable"
    BETWEEN_SYNCS = "what the block refers to is durable, the sign state not"
    AFTER_SYNC = "the sign state is durable, nothing has left"
    AFTER_ONE_SEND = "one peer may have the block"
    AFTER_COMMIT = "a commit is written, not synced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machinery:
    """How fast this node's machine is, and how wrong its clock."""

    skew_ms: int = 0  # of its clock, constant
    sync_ms: int = 0
    sign_ms: int = 0
    request_timeout_ms: int = 2_000
    silent_failures: int = 0  # chance in thousandths that not even RequestFailed comes


class HonestNode:
    """Carries out what its core says. `crash` loses what the disk had not synced; `start` goes on from what it kept."""

    def __init__(
        self,
        *,
        index: int,
        make: MakeMachine,
        machinery: Machinery,
        clock: VirtualClock,
        network: Carrier,
        mint: Mint,
        watch: Watch,
        rng: Random,
        start_ms: int,
        peers: Mapping[int, Peer],
        gc_depth: int,
        mempool: deque[bytes] | None = None,
    ) -> None:
        """`index`: its place in the committee, or behind it, if it only looks on. `mempool`: kept elsewhere, if given."""
        self.index = index
        self.store = SimulatedStore(mint.committee.previous_index)
        self.sign_state: bytes | None = None  # the newest block signed, its bytes
        self.evidence: dict[ValidatorIndex, EquivocationProof] = {}  # kept beside the store
        self.core: Machine | None = None
        self.crash_point: CrashPoint | None = None  # crash when next there
        self.down_ms = 0  # how long the next crash lasts
        self.requests_open = 0
        self._make = make
        self._machinery = machinery
        self._clock = clock
        self._network = network
        self._mint = mint
        self._watch = watch
        self._rng = rng
        self._offset_ms = start_ms + machinery.skew_ms
        self._peers = peers
        self._desk = Desk(index, self.store, mint, gc_depth=gc_depth)
        self._life = 0  # which run of the process: what an earlier one asked for is void
        self._inbox: deque[Event] = deque()
        self._effects: deque[Effect] = deque()
        self._busy = False  # a sync is under way, or a step
        self._timer_at = NEVER
        self._mempool: deque[bytes] = deque() if mempool is None else mempool
        self._pending_told = False
        self._submitted = 0

    # The process

    @property
    def up(self) -> bool:
        return self.core is not None

    def now(self) -> Millis:
        return Millis(self._offset_ms + self._clock.now_ms)

    def start(self) -> None:
        assert self.core is None
        if self.sign_state is not None:
            # Served before the core puts it there again: promise 3.
            own = self._mint.by_data[self.sign_state].block
            self.put_own(own)
        recovered = self._desk.recover(self.sign_state, tuple(self.evidence.values()))
        self.core = self._make(ValidatorIndex(self.index), recovered)
        self._effects.extend(self.core.start(self.now()))
        self._pending_told = False
        self._carry_out()
        self.tell_pending()

    def crash(self) -> None:
        """The process is gone at once, and with it what was not synced, or some of it."""
        assert self.core is not None
        self.end()
        self._watch.crashed(self.index, self.store.crash(self._rng))

    def end(self) -> None:
        """The core is no more; the disk keeps what it has."""
        self.core = None
        self.crash_point = None
        self.requests_open = 0
        self._life += 1
        self._inbox.clear()
        self._effects.clear()
        self._busy = False
        self._timer_at = NEVER

    def submit(self) -> None:
        """A client hands this node one transaction. The mempool is kept elsewhere: it survives a crash."""
        self._submitted += 1
        self._mempool.append(f"{self.index}/{self._submitted}".encode())
        self.tell_pending()

    def tell_pending(self) -> None:
        """The core is told when there begins to be, or is no more, something to order."""
        pending = bool(self._mempool)
        if self.up and pending != self._pending_told:
            self._pending_told = pending
            self.receive(PayloadPending(pending))

    # Events in

    def receive(self, event: Event) -> None:
        if self.core is None:
            return
        self._inbox.append(event)
        self._work()

    def _work(self) -> None:
        while self._inbox and not self._busy and self.core is not None:
            event = self._inbox.popleft()
            effects = self.core.step(self.now(), event)
            self._watch.stepped(self.index, event, effects)
            if effects:
                self._effects.extend(effects)
                self._carry_out()

    def void(self, ref: Ref) -> None:
        """An own block will never be committed: what it holds is to be proposed again."""
        self._mempool.extend(self._mint.verified[ref].block.payload)

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Do it unless the process has died by then."""
        life = self._life

        def act() -> None:
            if life == self._life:
                action()

        self._clock.call_in(delay_ms, act)

    # Effects out

    def _carry_out(self) -> None:
        self._busy = True
        effects = self._effects
        while effects:
            effect = effects.popleft()
            match effect:
                case PersistOwnBlock():
                    self._persist(effect.block)
                    return  # `_synced` goes on
                case SendBlocks():
                    self._push(effect)
                case StoreBlocks():
                    for block in effect.blocks:
                        self.store.put_block(block.ref, self._mint.data[block.ref])
                case SetTimer():
                    self._set_timer(effect.at_ms)
                case CommitDecided():
                    self._commit(effect)
                case Propose():
                    self.later(self._machinery.sign_ms, partial(self._sign, effect))
                case SendWake():
                    wake = WakeReceived(peer=ValidatorIndex(self.index), round=effect.round)
                    self._send(effect.peer, wake)
                case OwnBlockVoid():
                    self.void(effect.block)
                    self.later(0, self.tell_pending)
                case Accuse():
                    self.evidence[effect.proof.author] = effect.proof
                    self._watch.said(self.index, effect)
                case Reject() | Alarm():
                    self._watch.said(self.index, effect)
                case _:
                    self._ask(effect)
            if self.core is None:
                return  # it crashed there
        self._busy = False

    def _persist(self, block: Block) -> None:
        """The barrier (promise 2): two syncs, half of the time each; a crash may fall before, between or after them."""
        first, second = self.syncs(block)
        half = self._machinery.sync_ms // 2

        def begin() -> None:
            first()
            if not self._crash_here(CrashPoint.BETWEEN_SYNCS):
                self._now_or_later(half, finish)

        def finish() -> None:
            second()
            self._watch.persisted(self.index, block)
            if not self._crash_here(CrashPoint.AFTER_SYNC):
                self._carry_out()
                self._work()

        if not self._crash_here(CrashPoint.BEFORE_SYNC):
            self._now_or_later(half, begin)

    def syncs(self, block: Block) -> tuple[Callable[[], None], Callable[[], None]]:
        """First what the block refers to; then the sign state, and only after it the store, where peers read (SPEC 10)."""

        def sign_and_put() -> None:
            self.sign_state = self._mint.data[block.ref]
            self.put_own(block)  # not synced: should a crash lose it, the sign state has it

        return self.store.sync, sign_and_put

    def put_own(self, block: Block) -> None:
        self.store.put_block(block.ref, self._mint.data[block.ref])

    def _now_or_later(self, delay_ms: int, action: Callable[[], None]) -> None:
        if delay_ms:
            self.later(delay_ms, action)
        else:
            action()

    def _crash_here(self, point: CrashPoint) -> bool:
        if self.crash_point is not point:
            return False
        self.crash()
        return True

    def _sign(self, wanted: Propose) -> None:
        self.receive(BlockProposed(self._mint.make(self.index, wanted, self.payload(wanted))))
        self.tell_pending()

    def payload(self, wanted: Propose) -> tuple[bytes, ...]:
        """What the own block carries; none once the epoch closes (SPEC 14.2)."""
        if wanted.flags & FLAG_EPOCH_CLOSE:
            return ()
        count = min(TRANSACTIONS_PER_BLOCK, len(self._mempool))
        return tuple(self._mempool.popleft() for _ in range(count))

    def _push(self, effect: SendBlocks) -> None:
        for ref in effect.blocks:
            assert self.store.has(ref), f"node {self.index} pushes {ref}, which it never stored"
            if ref.author == self.index:
                self._watch.shown(self.index, ref)
        verified = self._mint.verified
        blocks = tuple([verified[ref] for ref in effect.blocks])
        self._send(effect.peer, BlocksReceived(ValidatorIndex(self.index), blocks))
        self._crash_here(CrashPoint.AFTER_ONE_SEND)

    def _send(self, peer: int, event: Event) -> None:
        self._network.send(self.index, peer, partial(self._peers[peer].receive, event))

    def _commit(self, effect: CommitDecided) -> None:
        for block in effect.blocks:
            assert self.store.has(block.ref), f"node {self.index} commits {block.ref}, not stored"
        self._watch.decided(self.index, effect)
        commit = effect.record.commit
        self.store.put_record(commit.index, encode_commit_record(effect.record))
        self._mint.cosigned.setdefault(commit.digest, set()).add(self.index)
        self.written(effect)
        self._crash_here(CrashPoint.AFTER_COMMIT)

    def written(self, effect: CommitDecided) -> None:
        """A commit is in the store. Here the law is quick."""
        self._inbox.append(CommitsApplied(effect.record.commit.index))

    def _set_timer(self, at_ms: Millis) -> None:
        self._timer_at = at_ms

        def fire() -> None:
            if self._timer_at == at_ms:
                self._timer_at = NEVER
                self.receive(TimerFired())

        self.later(at_ms - self._offset_ms - self._clock.now_ms, fire)

    # Requests, both sides

    def _ask(self, effect: Request) -> None:
        life, peer, me = self._life, effect.peer, self.index
        self.requests_open += 1
        done = False

        def finish(event: Event) -> None:
            nonlocal done
            if not done and life == self._life:
                done = True
                self.requests_open -= 1
                self.receive(event)

        def give_up() -> None:
            nonlocal done
            if not done and self._rng.randrange(1000) < self._machinery.silent_failures:
                done = True
                self.requests_open -= 1
            finish(RequestFailed(peer=peer, request=effect.request))

        def reply(event: Event) -> None:
            self._network.send(peer, me, partial(finish, event))

        arrive = partial(self._peers[peer].serve, effect, me, reply)
        self._network.send(me, peer, arrive)
        self.later(self._machinery.request_timeout_ms, give_up)

    def serve(self, request: Request, asker: int, reply: Callable[[Event], None]) -> None:
        if self.up:
            reply(self._desk.answer(request))
