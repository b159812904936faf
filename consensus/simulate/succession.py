"""A network whose members come and go, in virtual time: epoch after epoch of real cores, one history over all of them (SPEC 14).

    outcome = Succession(draw(seed)).run()

As `cluster`: a storm with liars, cuts and crashes, then healing. The changes are entries among the others. What is checked over
them, beside what `checkers` see in each epoch:

    one succession     the last commit of an epoch, its successor and who validates there are the same for everybody
    its end            the first commit by which a quorum of authors' closing blocks are committed, counted here; none after it
    once               no transaction of an honest member is committed twice, in one epoch or in two
    old blocks         liars push blocks of the epoch before, whoever signed them: no core ever sees one
    progress           after healing all changes take effect, and everybody who has a seat then commits new blocks of all who do;
                       who has left is switched off, and it goes on
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

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
    PeerDisconnected,
    Reject,
)
from consensus.simulate.adversaries import Mind, Puppet, Reader
from consensus.simulate.checkers import (
    Conduct,
    Facts,
    History,
    Violation,
    leader_order,
    table_sizes,
)
from consensus.simulate.clock import Action, VirtualClock
from consensus.simulate.cluster import (
    GENESIS_MS,
    HEAL_DELTAS_MAX,
    START_MS,
    STEADY_DELTAS_MAX,
    Outcome,
    PuppetSeat,
)
from consensus.simulate.desk import Desk
from consensus.simulate.member import Member, TermNode
from consensus.simulate.mint import Mint
from consensus.simulate.network import Network
from consensus.simulate.node import Machine, Peer
from consensus.simulate.regime import Crash, Regime, strategy_of
from consensus.simulate.story import Link, Story
from consensus.simulate.trace import Trace
from consensus.types import (
    FLAG_EPOCH_CLOSE,
    Block,
    CommitIndex,
    CommitRecord,
    Digest,
    Millis,
    Recovered,
    Ref,
    ValidatorIndex,
)

REPLAY_EVERY: Final = 6  # blocks shown between two bundles of old blocks by each liar
REPLAYED_MAX: Final = 8  # blocks in one
LOOK_MS: Final = 200


@dataclass(frozen=True, slots=True)
class Places:
    """A `network.Carrier` for one epoch: an index there is a seat here."""

    network: Network
    seats: tuple[int, ...]

    def send(self, source: int, target: int, arrive: Action) -> None:
        self.network.send(self.seats[source], self.seats[target], arrive)


@dataclass(slots=True, kw_only=True)
class Term:
    """One epoch: who sits where, every block of it, its checkers and its liars. Behind the members come those who look on."""

    number: int
    committee: Committee
    seats: tuple[int, ...]  # by index: validators, then all others
    mint: Mint
    history: History
    conduct: Conduct
    facts: Facts
    mind: Mind
    nodes: dict[int, TermNode] = field(default_factory=dict)  # by seat, of the honest
    shown: dict[Ref, None] = field(default_factory=dict)
    closers: set[int] = field(default_factory=set)  # whose closing blocks are committed
    highest: int = 0  # round of an honest member's block

    @property
    def validators(self) -> tuple[int, ...]:
        return self.seats[: self.committee.size]

    @property
    def is_closed(self) -> bool:
        return len(self.closers) >= self.facts.quorum


class Succession(Story[Outcome]):
    """See the module's text."""

    def __init__(self, regime: Regime, *, trace: Trace | None = None) -> None:
        assert regime.changes, "members that never change are `cluster.Cluster`'s"
        self.regime = regime
        self._trace = trace
        rng = self._rng = Random(regime.seed ^ 0x5CCE55)
        self.clock = VirtualClock()
        self.network = Network(self.clock, Random(rng.getrandbits(64)), regime.weather)
        self._chain_id = Digest(rng.randbytes(32))
        self._keys = [rng.randbytes(32) for _ in range(regime.seats)]
        founders = tuple(range(regime.size))
        self.members = {
            seat: Member(seat, founders, self, Random(rng.getrandbits(64)), regime.law_lag_ms)
            for seat in regime.honest
        }
        self.terms: list[Term] = []
        self.steps = self.crashes = self.tables_max = 0
        self._connected: dict[tuple[int, int, int], None] = {}  # epoch, two seats
        self._ordered: dict[bytes, int] = {}  # transaction of an honest member -> commit
        self._storming = True
        self._target: int | None = None
        founding = Committee.found(
            chain_id=self._chain_id,
            block_keys=[self._keys[seat] for seat in founders],
            genesis_time_ms=Millis(GENESIS_MS),
        )
        self._open(founding, founders)

    # Epochs

    def _open(self, committee: Committee, validators: Sequence[int]) -> Term:
        regime = self.regime
        seats = (
            *validators,
            *(seat for seat in range(regime.seats) if seat not in validators),
        )
        mint = Mint(committee)
        byzantine = [at for at, seat in enumerate(validators) if seat in regime.byzantine]
        seed = committee.previous_commit if committee.epoch else committee.chain_id
        facts = Facts(
            size=committee.size,
            byzantine=frozenset(byzantine),
            chain_id=committee.chain_id,
            epoch=committee.epoch,
            committee_hash=committee.committee_hash,
            genesis_time_ms=committee.genesis_time_ms,
            gc_depth=regime.gc_depth,
            leaders=leader_order(seed, committee.size),
            previous_index=committee.previous_index,
            previous_digest=committee.previous_commit,
            previous_time_ms=committee.genesis_time_ms if committee.epoch else 0,
        )
        places = Places(self.network, seats)
        honest: dict[int, Reader] = {}
        term = Term(
            number=committee.epoch,
            committee=committee,
            seats=seats,
            mint=mint,
            history=History(facts, mint.rounds),
            conduct=Conduct(facts),
            facts=facts,
            mind=Mind(
                mint=mint,
                clock=self.clock,
                network=places,
                honest=honest,
                start_ms=START_MS,
            ),
        )
        peers: dict[int, Peer] = {}
        watch = _Watch(self, term)
        for at, seat in enumerate(seats):
            if seat in self.members:
                node = TermNode(
                    member=self.members[seat],
                    gc_depth=regime.gc_depth,
                    index=at,
                    make=partial(self._core, committee),
                    machinery=regime.machinery[seat],
                    clock=self.clock,
                    network=places,
                    mint=mint,
                    watch=watch,
                    rng=Random(self._rng.getrandbits(64)),
                    start_ms=START_MS,
                    peers=peers,
                )
                term.nodes[seat] = peers[at] = node
                if at < committee.size:
                    honest[at] = node
        for at in byzantine:
            self._add_liar(term, at, peers)
        self.terms.append(term)
        return term

    def _add_liar(self, term: Term, at: int, peers: dict[int, Peer]) -> None:
        """A liar lies anew in each epoch, and says from its first block on that the law has closed it."""
        regime, rng = self.regime, Random(self._rng.getrandbits(64))
        name = regime.strategies[regime.byzantine.index(term.seats[at])]
        puppet = Puppet(
            at, strategy_of(name, regime.parameters, regime.gc_depth, rng), term.mind, rng
        )
        puppet.flags = FLAG_EPOCH_CLOSE
        term.mind.puppets.append(puppet)
        desk = Desk(at, term.mind.store, term.mint, gc_depth=regime.gc_depth)
        peers[at] = PuppetSeat(desk, answers=regime.liars_answer)

    def _core(self, committee: Committee, own: ValidatorIndex, recovered: Recovered) -> Machine:
        return Core(
            committee=committee,
            own=own if own < committee.size else None,  # behind the members: it looks on
            parameters=self.regime.parameters,
            recovered=recovered,
            gc_depth=self.regime.gc_depth,
        )

    # The story of a run

    def storm(self) -> None:
        regime, clock = self.regime, self.clock
        for member in self.members.values():
            clock.call_at(0, partial(member.begin, self.terms[0].nodes[member.seat]))
            self._see_off_on(member)
        for cut in regime.cuts:
            clock.call_at(cut.start_ms, partial(self.cut, cut))
        for crash in regime.crashes:
            clock.call_at(crash.at_ms, partial(self._crash, crash))
        for turn, seat in enumerate(regime.submitters):
            self._submit_on(self.members[seat], regime.submit_every_ms, 3 * turn + 2)
        for change in regime.changes:
            home = self._rng.choice(regime.staying)
            clock.call_at(change.at_ms, partial(self.members[home].hand_in, change.entry))
        clock.run(regime.storm_ms)

    def heal(self) -> None:
        """All up, all links whole. A change whose block a crash took is handed in again."""
        regime = self.regime
        self._storming = False
        self.network.heal(regime.healed)
        for member in self.members.values():
            if not member.up:
                self._restart(member)
            member.newest.crash_point = None
        self._reopen()
        for turn, seat in enumerate(regime.staying):
            member = self.members[seat]
            if seat in regime.healed_submitters or seat >= regime.size or not turn:
                self._submit_on(member, regime.healed_submit_ms, seat)
        self._hand_in_again()

    def _hand_in_again(self) -> None:
        """Who has not met a change in the log after a while hands it in, also if another has: the law takes it once."""
        home = self.members[self.regime.staying[0]]
        for change in self.regime.changes:
            if change.entry not in home.law.known and change.entry not in home.mempool:
                home.hand_in(change.entry)
        if not self._has_settled():
            again_ms = 20 * self.regime.parameters.delta_ms
            self.clock.call_in(again_ms, self._hand_in_again)

    def recover(self) -> Outcome:
        regime = self.regime
        healed_ms, delta_ms = self.clock.now_ms, regime.parameters.delta_ms
        bound = HEAL_DELTAS_MAX * (2 + len(regime.changes)) * delta_ms
        if not self.clock.run(healed_ms + bound, self._all_arrived):
            raise Violation(f"{bound // delta_ms} deltas after healing: {self._standing()}")
        recovery_ms = self.clock.now_ms - healed_ms
        for seat in regime.leaving:
            if seat in self.members:
                self.members[seat].off()
        self._go_on()
        for seat in regime.staying:
            self._look_at_tables(self.members[seat].newest)
        for term in self.terms:
            term.history.skips_were_right()
        return Outcome(
            seed=regime.seed,
            commits=sum(len(term.history.commits) for term in self.terms),
            highest_round=self.terms[-1].highest,
            steps=self.steps,
            virtual_ms=self.clock.now_ms,
            recovery_ms=recovery_ms,
            delta_ms=delta_ms,
            messages=self.network.sent,
            lost=self.network.lost,
            crashes=self.crashes,
            accused=sum(len(term.conduct.accused) for term in self.terms),
            tables_max=self.tables_max,
            drought=0,
            epochs=len(self.terms),
            refused=sum(node.refused for term in self.terms for node in term.nodes.values()),
        )

    def _has_settled(self) -> bool:
        """Whether every change has taken effect wherever somebody stays."""
        wanted = {change.entry for change in self.regime.changes}
        for seat in self.regime.staying:
            law = self.members[seat].law
            if law.wanted or law.closing is not None or not wanted <= law.known.keys():
                return False
        numbers = {len(self.members[seat].nodes) for seat in self.regime.staying}
        return numbers == {len(self.terms)}

    def _all_arrived(self) -> bool:
        if not self._has_settled():
            return False
        term = self.terms[-1]
        history = term.history
        at_of = {seat: at for at, seat in enumerate(term.seats)}
        if self._target is None:
            if any(not history.included.get(at_of[seat]) for seat in self.regime.staying):
                return False
            self._target = term.committee.previous_index + len(history.commits)
        return all(
            history.heights.get(at_of[seat], 0) >= self._target for seat in self.regime.staying
        )

    def _go_on(self) -> None:
        """Without those who have left."""
        term, rounds, parameters = (
            self.terms[-1],
            self.regime.steady_rounds,
            self.regime.parameters,
        )
        until, heights = term.highest + rounds, dict(term.history.heights)
        slowest = max(parameters.idle_delay_ms, STEADY_DELTAS_MAX * parameters.delta_ms)

        def reached() -> bool:
            return term.highest >= until and all(
                term.history.heights[term.seats.index(seat)] > heights[term.seats.index(seat)]
                for seat in self.regime.staying
            )

        if not self.clock.run(self.clock.now_ms + (rounds + 8) * slowest, reached):
            raise Violation(f"without those who left: {self._standing()}")

    def _standing(self) -> str:
        found = []
        for seat in self.regime.staying:
            member = self.members[seat]
            number = len(member.nodes) - 1
            term = self.terms[number]
            height = term.history.heights.get(term.seats.index(seat), 0)
            law = member.law
            found.append(
                f"{seat}: epoch {number}, commit {height}, {len(law.known)} changes known,"
                f" {len(law.wanted)} wait, closing {law.closing}"
            )
        return f"{'; '.join(found)}; last epoch {self.terms[-1].number}, target {self._target}"

    # `member.Home`

    def next_node(self, node: TermNode, record: CommitRecord, seats: Sequence[int]) -> TermNode:
        commit = record.commit
        number = node.committee.epoch + 1
        following = Committee.found(
            chain_id=self._chain_id,
            block_keys=[self._keys[seat] for seat in seats],
            genesis_time_ms=commit.time_ms,
            epoch=number,
            previous_index=CommitIndex(commit.index),
            previous_commit=commit.digest,
        )
        if number == len(self.terms):
            self._open(following, seats)
        term = self.terms[number]
        if (term.committee, term.validators) != (following, tuple(seats)):
            raise Violation(
                f"seat {node.member.seat}: epoch {number} of {seats} after commit {commit.index}, elsewhere of"
                f" {term.validators} after {term.committee.previous_index}"
            )
        return term.nodes[node.member.seat]

    def begun(self, node: TermNode) -> None:
        term = self.terms[node.committee.epoch]
        term.history.restarted(node.index, node.store.last_commit_index())
        for other in term.seats:
            self._connect(term, node.member.seat, other)
            self._connect(term, other, node.member.seat)

    def fell(self, member: Member) -> None:
        self.crashes += 1
        if self._trace is not None:
            self._trace.note(self.clock.now_ms, member.seat, "crashed")
        for term in self.terms:
            for other in term.seats:
                self._connected.pop((term.number, member.seat, other), None)
                self._disconnect(term, other, member.seat)

        def back() -> None:
            if not member.up:
                self._restart(member)

        self.clock.call_in(member.down_ms, back)

    def _restart(self, member: Member) -> None:
        for node in member.nodes:
            self.terms[node.committee.epoch].history.heights[node.index] = (
                node.store.last_commit_index()
            )
        member.restart()

    def _see_off_on(self, member: Member) -> None:
        def look() -> None:
            member.see_off()
            self.clock.call_in(LOOK_MS, look)

        self.clock.call_in(LOOK_MS, look)

    # Links and machines

    def _reopen(self) -> None:
        """Of an epoch that is over nothing is sent again, but to who opens a stream anew.

        A node's stream that lost something has broken, and is opened anew (node/engine/past); here what was lost left no trace.
        """
        for term in self.terms:
            for target in term.seats:
                other = term.nodes.get(target)
                if other is not None and other.retired:
                    for source in term.nodes:
                        self._disconnect(term, source, target)
        self._connect_all()

    def _connect_all(self) -> None:
        for term in self.terms:
            for source in term.seats:
                for target in term.seats:
                    self._connect(term, source, target)

    def _connect(self, term: Term, source: int, target: int) -> None:
        """`source` learns that this validator reads it, or can be asked; it is told that one's newest own block at once."""
        link = (term.number, source, target)
        node, at = term.nodes.get(source), term.seats.index(target)
        if (
            source == target
            or link in self._connected
            or node is None
            or not node.up
            or at >= term.committee.size
            or self.network.is_cut(source, target)
        ):
            return
        other = term.nodes.get(target)
        if other is not None and not (other.member.up and (other.up or other.retired)):
            return
        self._connected[link] = None
        node.receive(PeerConnected(ValidatorIndex(at)))
        newest = None if other is None else other.store.newest_block_of(at)
        if newest is not None:
            self._tell(term, at, node, newest[0])

    def _tell(self, term: Term, at: int, node: TermNode, ref: Ref) -> None:
        event = BlocksReceived(ValidatorIndex(at), (term.mint.verified[ref],))
        self.network.send(term.seats[at], node.member.seat, partial(node.receive, event))

    def _disconnect(self, term: Term, source: int, target: int) -> None:
        if self._connected.pop((term.number, source, target), True) is None:
            at = term.seats.index(target)
            term.nodes[source].receive(PeerDisconnected(ValidatorIndex(at)))

    def part(self, links: Sequence[Link]) -> None:
        for term in self.terms:
            for source, target in links:
                if source in term.nodes:
                    self._disconnect(term, source, target)

    def rejoin(self, links: Sequence[Link]) -> None:
        self._connect_all()

    def _crash(self, crash: Crash) -> None:
        member = self.members[crash.node]
        if not member.up or not self._storming:
            return
        member.down_ms = crash.down_ms
        if crash.point is None:
            member.crash()
        else:
            member.newest.crash_point = crash.point

    def _submit_on(self, member: Member, every_ms: int, first_ms: int) -> None:
        def submit() -> None:
            member.submit()
            self.clock.call_in(every_ms, submit)

        self.clock.call_in(first_ms, submit)

    # What the cores of one epoch report

    def stepped(self, term: Term, at: int, event: Event, effects: list[Effect]) -> None:
        self.steps += 1
        if self._trace is not None:
            self._trace.step(self.clock.now_ms, term.seats[at], event, effects)

    def shown(self, term: Term, at: int, ref: Ref) -> None:
        if ref in term.shown:
            return
        term.conduct.signed(at, ref)
        term.shown[ref] = None
        term.highest = max(term.highest, ref.round)
        for seat in term.seats[term.committee.size :]:
            guest = term.nodes.get(seat)
            if guest is not None and guest.up:
                self._tell(term, at, guest, ref)
        if term.mind.puppets:
            term.mind.saw(term.mint.verified[ref].block)
            term.mind.act()
            if term.number and len(term.shown) % REPLAY_EVERY == 0:
                self._replay(term)

    def _replay(self, term: Term) -> None:
        """Blocks of the epoch before, the last ones mostly, by whoever shows them."""
        before = list(self.terms[term.number - 1].mint.verified.values())
        for puppet in term.mind.puppets:
            rng = puppet.rng
            count = min(len(before), rng.randint(1, REPLAYED_MAX))
            old = rng.sample(before[-4 * REPLAYED_MAX :] if rng.random() < 0.7 else before, count)
            puppet.show(tuple(old), [rng.choice(puppet.targets)])

    def decided(self, term: Term, at: int, effect: CommitDecided) -> None:
        commit, known = effect.record.commit, len(term.history.commits)
        term.history.committed(at, effect)
        if len(term.history.commits) == known:
            return
        where = f"epoch {term.number}, commit {commit.index}"
        if term.is_closed:
            raise Violation(f"{where}: after the end of its epoch")
        for block in effect.blocks:
            if block.header.flags & FLAG_EPOCH_CLOSE:
                term.closers.add(block.ref.author)
            if term.seats[block.ref.author] in self.regime.byzantine:
                continue
            for transaction in block.payload:
                if self._ordered.setdefault(transaction, commit.index) != commit.index:
                    self._again(transaction, where)
        if set(effect.record.closed_by) != term.closers:
            raise Violation(f"{where}: closed by {effect.record.closed_by}, not {term.closers}")

    def _again(self, transaction: bytes, where: str) -> None:
        """A change is handed in again when nobody knows what became of it; nothing else ever is."""
        if all(transaction != change.entry for change in self.regime.changes):
            earlier = self._ordered[transaction]
            raise Violation(f"{where}: {transaction!r} again, after commit {earlier}")

    def _look_at_tables(self, node: TermNode) -> None:
        """As in `cluster`: rounds that nobody collects yet, of n blocks each, each naming n parents."""
        core, term = node.core, self.terms[node.committee.epoch]
        size = term.committee.size
        bound = size * size * (2 * self.regime.gc_depth + term.highest + 16)
        for name, count in ({} if core is None else table_sizes(core)).items():
            self.tables_max = max(self.tables_max, count)
            if count > bound:
                raise Violation(f"seat {node.member.seat}: {name} holds {count}, at most {bound}")


@dataclass(frozen=True, slots=True)
class _Watch:
    """A `node.Watch` of one epoch's cores."""

    home: Succession
    term: Term

    def stepped(self, node: int, event: Event, effects: list[Effect]) -> None:
        self.home.stepped(self.term, node, event, effects)

    def persisted(self, node: int, block: Block) -> None:
        self.term.conduct.signed(node, block.ref)

    def shown(self, node: int, ref: Ref) -> None:
        self.home.shown(self.term, node, ref)

    def decided(self, node: int, effect: CommitDecided) -> None:
        self.home.decided(self.term, node, effect)

    def said(self, node: int, effect: Reject | Accuse | Alarm) -> None:
        self.term.conduct.said(node, effect)

    def crashed(self, node: int, lost_writes: int) -> None:
        """`Home.fell` hears of the whole machine."""
