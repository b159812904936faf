"""A whole network in one process and in virtual time: honest nodes, liars, links, and the checkers that watch.

    cluster = Cluster(draw(seed))
    outcome = cluster.run()      # a storm, then healed links; raises at the first broken promise

The checkers look on at every event, so a failure stops at its cause. Then the network heals, and every honest node must commit
again, blocks of every honest author among what it commits: a run that commits nothing proves nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from consensus.committee import Committee
from consensus.core import Core
from consensus.events import (
    Accuse,
    Alarm,
    CommitDecided,
    Effect,
    Event,
    PeerConnected,
    PeerDisconnected,
    Reject,
)
from consensus.simulate.adversaries import Mind, Puppet
from consensus.simulate.checkers import (
    Conduct,
    Facts,
    History,
    Violation,
    leader_order,
    table_sizes,
)
from consensus.simulate.clock import VirtualClock
from consensus.simulate.desk import Desk, Request
from consensus.simulate.mint import Mint
from consensus.simulate.network import Network
from consensus.simulate.node import HonestNode, Machine, Peer
from consensus.simulate.regime import Crash, Regime, strategy_of
from consensus.simulate.schedules import Schedule
from consensus.simulate.story import Link, Story
from consensus.simulate.trace import Trace
from consensus.types import Block, Digest, Millis, Recovered, Ref, ValidatorIndex

GENESIS_MS: Final = 1_790_000_000_000
START_MS: Final = GENESIS_MS + 60_000  # virtual time 0
TABLES_EVERY: Final = 2_048  # steps between two looks at all tables: they are walked whole
HEAL_DELTAS_MAX: Final = 120  # after healing, in deltas, until all commit again
DROUGHT_MAX: Final = (
    20  # own blocks in a row that a node may sign after healing without a commit (PACEMAKER.md)
)
STEADY_DELTAS_MAX: Final = 60  # for each round after that
MakeCore = Callable[[Committee, Regime, ValidatorIndex, Recovered], Machine]


def shipping_core(
    committee: Committee, regime: Regime, own: ValidatorIndex, recovered: Recovered
) -> Machine:
    return Core(
        committee=committee,
        own=own,
        parameters=regime.parameters,
        recovered=recovered,
        gc_depth=regime.gc_depth,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    seed: int
    commits: int
    highest_round: int
    steps: int  # events that cores took
    virtual_ms: int
    recovery_ms: int  # from healing until all had committed again
    delta_ms: int
    messages: int
    lost: int
    crashes: int
    accused: int
    tables_max: int  # the largest table seen
    drought: int  # most blocks that one node signed, after healing, between two of its commits
    epochs: int = 1
    refused: int = 0  # blocks pushed that were not valid: liars sent those of another epoch


class PuppetSeat:
    """What honest nodes meet at a Byzantine seat: it needs no pushes, for it sees all; it may answer."""

    def __init__(self, desk: Desk, *, answers: bool) -> None:
        self._desk = desk
        self._answers = answers

    def receive(self, event: Event) -> None:
        return

    def serve(self, request: Request, asker: int, reply: Callable[[Event], None]) -> None:
        if self._answers:
            reply(self._desk.answer(request))


class Cluster(Story[Outcome]):
    """Honest nodes with their watchers. `make` builds their cores: tests put broken ones in."""

    def __init__(
        self,
        regime: Regime,
        *,
        make: MakeCore = shipping_core,
        node_type: type[HonestNode] = HonestNode,
        trace: Trace | None = None,
    ) -> None:
        self.regime = regime
        self._trace = trace
        rng = Random(regime.seed ^ 0x5EED)
        self.committee = Committee.found(
            chain_id=Digest(rng.randbytes(32)),
            block_keys=[rng.randbytes(32) for _ in range(regime.size)],
            genesis_time_ms=Millis(GENESIS_MS),
        )
        self.facts = Facts(
            size=regime.size,
            byzantine=frozenset(regime.byzantine),
            chain_id=self.committee.chain_id,
            epoch=self.committee.epoch,
            committee_hash=self.committee.committee_hash,
            genesis_time_ms=GENESIS_MS,
            gc_depth=regime.gc_depth,
            leaders=leader_order(self.committee.chain_id, regime.size),
        )
        self.clock = VirtualClock()
        self.mint = Mint(self.committee)
        self.history = History(self.facts, self.mint.rounds)
        self.conduct = Conduct(self.facts)
        self.network = Network(self.clock, Random(rng.getrandbits(64)), regime.weather)
        self.steps = 0
        self.crashes = 0
        self.tables_max = 0
        self._shown: dict[Ref, None] = {}
        self._connected: dict[tuple[int, int], None] = {}
        self._storming = True
        self.highest_honest = 0  # round of an honest member's block, made or shown
        self._newest = dict.fromkeys(range(regime.size), 0)  # the same, of each
        self._dry: dict[int, int] = {}  # node -> blocks it signed since its last commit, or healing
        self.drought = 0
        self._target: int | None = None  # commit index that all must reach after healing
        self._healed_at: dict[int, int] = {}  # honest author -> its highest round at healing
        self._peers: dict[int, Peer] = {}
        self.nodes: dict[int, HonestNode] = {
            index: node_type(
                index=index,
                make=partial(make, self.committee, regime),
                machinery=regime.machinery[index],
                clock=self.clock,
                network=self.network,
                mint=self.mint,
                watch=self,
                rng=Random(rng.getrandbits(64)),
                start_ms=START_MS,
                peers=self._peers,
                gc_depth=regime.gc_depth,
            )
            for index in regime.honest
        }
        self._peers.update(self.nodes)
        self.mind = Mind(
            mint=self.mint,
            clock=self.clock,
            network=self.network,
            honest=dict(self.nodes),
            start_ms=START_MS,
        )
        for seat, name in zip(regime.byzantine, regime.strategies, strict=True):
            own_rng = Random(rng.getrandbits(64))
            strategy = strategy_of(name, regime.parameters, regime.gc_depth, own_rng)
            puppet = Puppet(seat, strategy, self.mind, own_rng)
            self.mind.puppets.append(puppet)
            desk = Desk(seat, self.mind.store, self.mint, gc_depth=regime.gc_depth)
            self._peers[seat] = PuppetSeat(desk, answers=regime.liars_answer)
        if regime.schedule is not None:
            self.network.schedule = self._schedule(regime.schedule, rng)

    def _schedule(self, name: str, rng: Random) -> Callable[[int, int], int]:
        regime = self.regime
        schedule = Schedule(
            name,
            size=regime.size,
            victim=rng.choice(regime.honest),
            highest=lambda: self.highest_honest,
            leader_of=lambda round_: self.facts.leaders[round_ % regime.size],
            newest_of=self._newest.__getitem__,
        )
        held_ms = max(0, regime.parameters.delta_ms - regime.healed.delay_max_ms)
        return lambda source, target: held_ms if schedule.holds(source, target) else 0

    # The story of a run

    def storm(self) -> None:
        regime = self.regime
        for node in self.nodes.values():
            self.clock.call_at(0, node.start)
        for source in self.nodes:
            for target in range(regime.size):
                if source != target:
                    self.clock.call_at(1, partial(self._connect, source, target))
        for cut in regime.cuts:
            self.clock.call_at(cut.start_ms, partial(self.cut, cut))
        for crash in regime.crashes:
            self.clock.call_at(crash.at_ms, partial(self._crash, crash))
        for turn, index in enumerate(regime.submitters):
            self._submit_on(self.nodes[index], regime.submit_every_ms, 3 * turn + 2)
        self.clock.run(regime.storm_ms)

    def heal(self) -> None:
        """All nodes up, all links whole: from here on partial synchrony holds."""
        self._storming = False
        self.network.heal(self.regime.healed)
        for node in self.nodes.values():
            node.crash_point = None
            if not node.up:
                self._start(node)
            if node.index in self.regime.healed_submitters:
                self._submit_on(node, self.regime.healed_submit_ms, node.index)
        for source in self.nodes:
            for target in range(self.regime.size):
                if source != target:
                    self._connect(source, target)
        for round_, blocks in self.mint.rounds.items():
            for block in blocks:
                author = block.ref.author
                self._healed_at[author] = max(self._healed_at.get(author, 0), round_)
        self._dry = dict.fromkeys(self.nodes, 0)

    def recover(self) -> Outcome:
        """Everybody commits again, and what it commits has new blocks of every honest author."""
        parameters = self.regime.parameters
        healed_ms = self.clock.now_ms
        deadline = healed_ms + HEAL_DELTAS_MAX * parameters.delta_ms
        if not self.clock.run(deadline, self._all_committed):
            raise Violation(
                f"{HEAL_DELTAS_MAX} deltas after healing: heights {self.history.heights}, wanted "
                f"{self._target or 'a commit with new blocks of all honest authors'}; "
                f"committed of each {self.history.included}, at healing {self._healed_at}"
            )
        recovery_ms = self.clock.now_ms - healed_ms
        self._go_on()
        self.history.skips_were_right()
        for index in self.nodes:
            self._look_at_tables(index)
        return Outcome(
            seed=self.regime.seed,
            commits=len(self.history.commits),
            highest_round=self.highest_honest,
            steps=self.steps,
            virtual_ms=self.clock.now_ms,
            recovery_ms=recovery_ms,
            delta_ms=parameters.delta_ms,
            messages=self.network.sent,
            lost=self.network.lost,
            crashes=self.crashes,
            accused=len(self.conduct.accused),
            tables_max=self.tables_max,
            drought=self.drought,
        )

    def _go_on(self) -> None:
        """For some rounds more, and all commit in them (`decided` and `shown` watch for how long they do not)."""
        rounds, parameters = self.regime.steady_rounds, self.regime.parameters
        until = self.highest_honest + rounds
        heights = dict(self.history.heights)

        def reached() -> bool:
            return self.highest_honest >= until

        slowest = max(parameters.idle_delay_ms, STEADY_DELTAS_MAX * parameters.delta_ms)
        if not self.clock.run(self.clock.now_ms + (rounds + 1) * slowest, reached):
            raise Violation(f"after healing: at round {self.highest_honest}, {until} not reached")
        if rounds > DROUGHT_MAX and any(
            self.history.heights[index] <= heights[index] for index in self.nodes
        ):
            raise Violation(f"{rounds} rounds, heights {heights} -> {self.history.heights}")

    def _all_committed(self) -> bool:
        heights, included = self.history.heights, self.history.included
        if self._target is None:
            behind = [
                index
                for index in self.nodes
                if included.get(index, 0) <= self._healed_at.get(index, 0)
            ]
            if behind:
                return False
            self._target = len(self.history.commits)
        return all(heights.get(index, 0) >= self._target for index in self.nodes)

    # What happens to nodes and links

    def _start(self, node: HonestNode) -> None:
        self.history.restarted(node.index, node.store.last_commit_index())
        node.start()
        for other in range(self.regime.size):
            if other != node.index:
                self._connect(node.index, other)
                self._connect(other, node.index)

    def _connect(self, source: int, target: int) -> None:
        """`source` learns that `target` reads what it sends, unless that is so already, or not so."""
        link = (source, target)
        ends = [self.nodes[end] for end in link if end in self.nodes]
        if (
            link in self._connected
            or source not in self.nodes
            or not all(node.up for node in ends)
            or self.network.is_cut(source, target)
        ):
            return
        self._connected[link] = None
        self.nodes[source].receive(PeerConnected(ValidatorIndex(target)))

    def _disconnect(self, source: int, target: int) -> None:
        if (source, target) in self._connected:
            del self._connected[source, target]
            self.nodes[source].receive(PeerDisconnected(ValidatorIndex(target)))

    def part(self, links: Sequence[Link]) -> None:
        for source, target in links:
            self._disconnect(source, target)

    def rejoin(self, links: Sequence[Link]) -> None:
        for source, target in links:
            self._connect(source, target)

    def _crash(self, crash: Crash) -> None:
        node = self.nodes[crash.node]
        if not node.up or not self._storming:
            return
        node.down_ms = crash.down_ms
        if crash.point is None:
            node.crash()
        else:
            node.crash_point = crash.point

    def _submit_on(self, node: HonestNode, every_ms: int, first_ms: int) -> None:
        def submit() -> None:
            node.submit()
            self.clock.call_in(every_ms, submit)

        self.clock.call_in(first_ms, submit)

    # What the nodes report (`node.Watch`)

    def stepped(self, node: int, event: Event, effects: list[Effect]) -> None:
        self.steps += 1
        if self._trace is not None:
            self._trace.step(self.clock.now_ms, node, event, effects)
        if self.steps % TABLES_EVERY == 0:
            self._look_at_tables(node)

    def persisted(self, node: int, block: Block) -> None:
        self.conduct.signed(node, block.ref)

    def shown(self, node: int, ref: Ref) -> None:
        if ref in self._shown:
            return
        self.conduct.signed(node, ref)
        self._shown[ref] = None
        self._newest[node] = max(self._newest[node], ref.round)
        self.highest_honest = max(self.highest_honest, ref.round)
        self._count_dry(node)
        if self.mind.puppets:
            self.mind.saw(self.mint.verified[ref].block)
            self.mind.act()

    def _count_dry(self, node: int) -> None:
        """One block more that `node` signed without a commit, once links are whole."""
        if node not in self._dry:
            return
        self._dry[node] += 1
        self.drought = max(self.drought, self._dry[node])
        if self._dry[node] > DROUGHT_MAX:
            raise Violation(
                f"node {node}: {self._dry[node]} blocks signed within the delay bound, no commit; "
                f"heights {self.history.heights}, round {self.highest_honest}"
            )

    def decided(self, node: int, effect: CommitDecided) -> None:
        self.history.committed(node, effect)
        if node in self._dry:
            self._dry[node] = 0

    def said(self, node: int, effect: Reject | Accuse | Alarm) -> None:
        self.conduct.said(node, effect)

    def crashed(self, node: int, lost_writes: int) -> None:
        self.crashes += 1
        if self._trace is not None:
            self._trace.note(self.clock.now_ms, node, f"crashed, lost {lost_writes} writes")
        for other in range(self.regime.size):
            self._connected.pop((node, other), None)
            self._disconnect(other, node)

        def back() -> None:
            if not self.nodes[node].up:
                self._start(self.nodes[node])

        self.clock.call_in(self.nodes[node].down_ms, back)

    def _look_at_tables(self, node: int) -> None:
        core = self.nodes[node].core
        if core is None:
            return
        bound = self.table_bound()
        for name, size in table_sizes(core).items():
            self.tables_max = max(self.tables_max, size)
            if size > bound:
                raise Violation(f"node {node}: {name} holds {size}, at most {bound} expected")

    def table_bound(self) -> int:
        """Blocks are kept for gc_depth rounds below the last commit and for the rounds above it, which nobody collects: a
        storm may pile up as many as it lasts. Each names up to n parents; a slot has up to n variants.
        """
        above = self.highest_honest - (
            min(
                (
                    self.history.commits[height - 1].leader.round
                    for height in self.history.heights.values()
                    if height
                ),
                default=0,
            )
        )
        size = self.regime.size
        return size * size * (2 * self.regime.gc_depth + above + 16)
