"""Hand-written schedules: real cores, a liar's hand at seat 0 (of four, unless said), and links that one script rules.

Every message arrives one millisecond after it was sent, or as `wires.delay_of` says, unless the script holds a push; `release`
lets go what is held, and all stays within partial synchrony; `discard` loses it. The leader of round r is seat r mod n.
"""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any, Final

from consensus.committee import Committee
from consensus.core import Core
from consensus.events import (
    Accuse,
    Alarm,
    BlocksReceived,
    CommitDecided,
    Effect,
    Event,
    PeerConnected,
    Propose,
    Reject,
)
from consensus.simulate.checkers import Conduct, Facts, History
from consensus.simulate.clock import Action, VirtualClock
from consensus.simulate.desk import Request
from consensus.simulate.mint import Mint
from consensus.simulate.node import HonestNode, Machine, Machinery
from consensus.types import (
    Block,
    Digest,
    Millis,
    Parameters,
    Recovered,
    Ref,
    Round,
    ValidatorIndex,
    VerifiedBlock,
)

GENESIS_MS: Final = 1_790_000_000_000
START_MS: Final = GENESIS_MS + 60_000
SIZE: Final = 4
LIAR: Final = 0
HONEST: Final = (1, 2, 3)
CHAIN: Final = Digest(bytes(range(32)))

Passes = Callable[["ScriptedNode", Event], Event | None]
MakeCore = Callable[..., Machine]  # `Core`, or a subclass without some repair


class ScriptedNode(HonestNode):
    """A node without some repair: `passes` changes or drops what arrives, as a driver of the unrepaired rules would."""

    passes: Passes | None = None

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.submitting = False
        self._held: dict[int, list[Event]] = {}  # peer -> pushes that wait for the script

    def hold(self, peer: int) -> None:
        """Pushes to this peer wait; questions and answers do not."""
        self._held.setdefault(peer, [])

    def release(self, peer: int) -> None:
        for event in self._held.pop(peer):
            self._send(peer, event)

    def discard(self, peer: int) -> None:
        """What was held is lost; from now on pushes go out."""
        del self._held[peer]

    def _send(self, peer: int, event: Event) -> None:
        if peer in self._held:
            self._held[peer].append(event)
        else:
            super()._send(peer, event)

    def submit_every(self, period_ms: int) -> None:
        """Until `submitting` is turned off."""
        self.submitting = True

        def submit() -> None:
            if self.submitting:
                self.submit()
                self._clock.call_in(period_ms, submit)

        self._clock.call_in(period_ms, submit)

    @property
    def has_payload(self) -> bool:
        """Whether clients' transactions wait for this node's next block."""
        return bool(self._mempool)

    def sees(self, peer: int) -> "ScriptedNode":
        """Another honest node, for a `passes` that must know what is the matter there."""
        node = self._peers[peer]
        assert isinstance(node, ScriptedNode), f"seat {peer} is a liar's"
        return node

    def highest_stored(self) -> int:
        return self.store.highest_round()

    def receive(self, event: Event) -> None:
        seen = event if self.passes is None else self.passes(self, event)
        if seen is not None:
            super().receive(seen)


class Wires:
    """Everything arrives `delay_of` its link later; what a liar says, after one millisecond."""

    def __init__(self, clock: VirtualClock, liars: Sequence[int]) -> None:
        self.delay_of: Callable[[int, int], int] = lambda source, target: 1
        self._clock = clock
        self._liars = frozenset(liars)

    def send(self, source: int, target: int, arrive: Action) -> None:
        self._clock.call_in(1 if source in self._liars else self.delay_of(source, target), arrive)


class LiarSeat:
    """Answers nothing. What the liar says, the script says."""

    def receive(self, event: Event) -> None:
        return

    def serve(self, request: Request, asker: int, reply: Callable[[Event], None]) -> None:
        return


class Stage:
    """The cores, the clock, and the checkers; `until` lets time pass to a condition."""

    def __init__(
        self,
        *,
        gc_depth: int,
        parameters: dict[int, Parameters],
        passes: Passes | None = None,
        size: int = SIZE,
        liars: Sequence[int] = (LIAR,),
        core: MakeCore = Core,
    ) -> None:
        self.size = size
        self.liars = tuple(liars)
        self.honest = tuple(seat for seat in range(size) if seat not in self.liars)
        self.committee = Committee.with_order(
            leaders=tuple(map(ValidatorIndex, range(size))),
            chain_id=CHAIN,
            members=Digest(bytes(32)),
            genesis_time_ms=Millis(GENESIS_MS),
        )
        facts = Facts(
            size=size,
            byzantine=frozenset(liars),
            chain_id=CHAIN,
            epoch=0,
            committee_hash=bytes(32),
            genesis_time_ms=GENESIS_MS,
            gc_depth=gc_depth,
            leaders=tuple(range(size)),
        )
        self.clock = VirtualClock()
        self.wires = Wires(self.clock, self.liars)
        self.mint = Mint(self.committee)
        self.history = History(facts, self.mint.rounds)
        self.conduct = Conduct(facts)
        self.liar_until = 0  # the liars behave in rounds up to this one
        self.lacking: int | None = None  # the honest seat for whose blocks the liars neither wait
        # Whom a liar that behaves shows its block of a round to
        self.audience: Callable[[int, int], Sequence[int]] = lambda liar, round_: self.honest
        self.liar_loads = True  # its blocks carry payload
        self._liar_round = 0
        self._core = core
        self._gc_depth = gc_depth
        self._parameters = parameters
        self._shown: dict[Ref, None] = {}
        peers: dict[int, ScriptedNode | LiarSeat] = {each: LiarSeat() for each in self.liars}
        self.nodes = {
            index: ScriptedNode(
                index=index,
                make=self._make,
                machinery=Machinery(request_timeout_ms=500),
                clock=self.clock,
                network=self.wires,
                mint=self.mint,
                watch=self,
                rng=Random(index),
                start_ms=START_MS,
                peers=peers,
                gc_depth=gc_depth,
            )
            for index in self.honest
        }
        peers.update(self.nodes)
        for node in self.nodes.values():
            node.passes = passes

    def _make(self, own: ValidatorIndex, recovered: Recovered) -> Machine:
        return self._core(
            committee=self.committee,
            own=own,
            parameters=self._parameters[own],
            recovered=recovered,
            gc_depth=self._gc_depth,
        )

    # The hand

    def begin(self) -> None:
        for node in self.nodes.values():
            self.start(node.index)

    def start(self, index: int) -> None:
        node = self.nodes[index]
        self.history.restarted(index, node.store.last_commit_index())
        node.start()
        for other in range(self.size):
            if other in self.nodes and other != index and self.nodes[other].up:
                self.nodes[other].receive(PeerConnected(ValidatorIndex(index)))
            if other in self.liars or (other != index and self.nodes[other].up):
                node.receive(PeerConnected(ValidatorIndex(other)))

    def until(self, condition: Callable[[], bool], *, within_ms: int = 6_000) -> None:
        reached = self.clock.run(self.clock.now_ms + within_ms, condition)
        assert reached, f"the schedule's condition did not come within {within_ms} ms"

    def wait(self, for_ms: int) -> None:
        self.clock.run(self.clock.now_ms + for_ms)

    def made(self, index: int, round_: int) -> bool:
        return any(block.ref.author == index for block in self.mint.rounds.get(round_, ()))

    def block(self, author: int, round_: int) -> Ref:
        """The first block this author made of the round."""
        return next(b.ref for b in self.mint.rounds[round_] if b.ref.author == author)

    def lie(
        self, round_: int, parents: Sequence[Ref], *, salt: int = 0, author: int = LIAR
    ) -> VerifiedBlock:
        """A block of a liar's, its own parent first."""
        wanted = Propose(
            round=Round(round_),
            parents=tuple(parents),
            time_ms=Millis(START_MS + self.clock.now_ms),
            flags=0,
            commit_votes=(),
        )
        payload = (b"%d" % salt,) if self.liar_loads else ()
        return self.mint.make(author, wanted, payload)

    def show(self, to: Sequence[int], *blocks: VerifiedBlock, by: int = LIAR) -> None:
        for target in to:
            event = BlocksReceived(ValidatorIndex(by), blocks)
            self.wires.send(by, target, partial(self.nodes[target].receive, event))

    def height(self, index: int) -> int:
        return self.history.heights.get(index, 0)

    def leader_round(self, index: int) -> int:
        """Round of the leader of the last commit here; 0 before the first."""
        height = self.height(index)
        return self.history.commits[height - 1].leader.round if height else 0

    # node.Watch

    def stepped(self, node: int, event: Event, effects: list[Effect]) -> None:
        return

    def persisted(self, node: int, block: Block) -> None:
        self.conduct.signed(node, block.ref)

    def shown(self, node: int, ref: Ref) -> None:
        if ref not in self._shown:
            self.conduct.signed(node, ref)
            self._shown[ref] = None
            self._behave()

    def decided(self, node: int, effect: CommitDecided) -> None:
        self.history.committed(node, effect)

    def said(self, node: int, effect: Reject | Accuse | Alarm) -> None:
        self.conduct.said(node, effect)

    def crashed(self, node: int, lost_writes: int) -> None:
        return

    def _behave(self) -> None:
        """The liars' blocks of the next round, as honest validators would make and show them."""
        while self._liar_round < self.liar_until:
            before = {ref.author: ref for ref in self._shown if ref.round == self._liar_round} or {
                ref.author: ref for ref in self.committee.genesis if self._liar_round == 0
            }
            waits_for = [each for each in self.honest if each != self.lacking]
            if any(each not in before for each in waits_for):
                return
            for liar in self.liars:
                if self._liar_round:
                    before[ValidatorIndex(liar)] = self.block(liar, self._liar_round)
            self._liar_round += 1
            for liar in self.liars:
                own = before[ValidatorIndex(liar)]
                others = [before[at] for at in sorted(before) if at not in (liar, self.lacking)]
                block = self.lie(self._liar_round, [own, *others], author=liar)
                self.show(self.audience(liar, self._liar_round), block, by=liar)
