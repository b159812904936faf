"""A network of whole nodes in one process and in virtual time: machines, liars, clients, and the checkers that watch.

    outcome = Cluster(draw(seed)).run()      # a storm, then healed links; raises at the first broken promise

After the storm everything is whole again but the liars, and everybody must get on: all that clients signed is final on every
honest node that has a seat in the end, within `HEAL_S`. Who has left the treaty has seen that it did; then its machine is
switched off, and the others must not miss it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from consensus.simulate.checkers import Violation, table_sizes
from node.engine.inbox import EVENTS_MAX
from node.ledger.cosigned import Cosigned
from node.ledger.errors import Refused
from node.ledger.finality import FinalCheckpoint
from node.ledger.ledger import Applied
from tests.simulation.driver.checkers import Conduct, sha256
from tests.simulation.driver.client import Outbox, operator
from tests.simulation.driver.disk import Disk, Point
from tests.simulation.driver.founding import founded
from tests.simulation.driver.liars import Cosigner, liar_of
from tests.simulation.driver.loop import US, World
from tests.simulation.driver.machine import Clocks, Life, Machine, Watch
from tests.simulation.driver.membership import Membership
from tests.simulation.driver.regime import Crash, Cut, Fill, Jump, Regime, What
from tests.simulation.driver.wires import Wires

HEAL_S: Final = 120  # from healing until all that was signed is final everywhere
LOOK_US: Final = 100_000
ENTRIES_MAX: Final = 1_000_000  # no client comes to its end
RETRY_MS: Final = 300
AFTER_HEALING: Final = 3  # entries of each client, signed then
MS: Final = 1_000
GAPS: Final = frozenset({"SEQ_GAP"})  # where the entries before it are not known yet
NOT_KNOWN_YET: Final = GAPS | {"UNKNOWN_AUTHOR"}  # the same, of a state that somebody registers
FACTS_MAX: Final = 8  # facts of one peer, and kinds of own ones, that wait for the core


class OutOfTime(Exception):
    """The budget is spent: nothing is said of this seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    seed: int
    size: int
    commits: int
    epochs: int
    members: int  # who validates in the end
    entries: int
    acknowledged: int
    restarts: int
    lost_batches: int  # by power cuts
    messages: int
    virtual_s: float
    recovery_s: float
    events: int


class Cluster:
    """See the module's text."""

    def __init__(
        self,
        regime: Regime,
        *,
        trace: Callable[[str], None] | None = None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """`trace` is given one line for each thing that happens; once `give_up` says so, `run` raises OutOfTime."""
        self.regime = regime
        self._give_up = give_up
        self._trace = trace
        self._rng = Random(regime.seed ^ 0xC1057E2)
        self.founding = founded(
            regime.size, changing=bool(regime.changes), leaving=bool(regime.leaving)
        )
        self.membership = Membership(regime, self.founding)
        self.world = World()
        self.wires = Wires(self.world, Random(self._rng.getrandbits(64)), regime.weather)
        self.wires.tap = self._tap
        self.wires.route = self._route
        self._storming = True
        self._failure: Violation | BaseException | None = None
        self.machines = {
            seat: self._machine(seat)
            for seat in range(regime.seats)
            if (seat, "silent") not in regime.liars
        }
        self.twins = {
            seat: self._machine(seat, "-twin") for seat, name in regime.liars if name == "twins"
        }
        self._faces: dict[tuple[int, int], bool] = {}  # (who asks, twin's seat) -> the second one
        disks = {seat: self.machines[seat].disk for seat in regime.honest}
        self.conduct = Conduct(
            regime.byzantine,
            self.founding.chain_id,
            self.membership.committees(),
            disks,
        )
        for seat, disk in disks.items():
            disk.on_row = partial(self._stored, seat)
        self._liars = {
            seat: liar_of(name, Random(self._rng.getrandbits(64)), regime.size, self.cosigner(seat))
            for seat, name in regime.liars
        }
        self.clients = [
            self._outbox(
                operator(plan, self.founding), plan.home, plan.every_ms, plan.every_ms, ENTRIES_MAX
            )
            for plan in regime.clients
        ]
        self.clients += [
            self._outbox(each.write, each.home, each.first_ms, RETRY_MS, each.count, NOT_KNOWN_YET)
            for each in self.membership.papers()
        ]

    def _outbox(
        self,
        write: Callable[[int], bytes],
        home: int,
        first_ms: int,
        every_ms: int,
        most: int,
        patient: frozenset[str] = GAPS,
    ) -> Outbox:
        return Outbox(
            home=home if home in self.machines else min(self.machines),
            first_ms=first_ms,
            every_ms=every_ms,
            write=write,
            entries_max=most,
            world=self.world,
            machines=self.machines,
            honest=frozenset(self.regime.honest),
            acknowledged=self._acknowledged,
            refused=self._refused,
            patient=patient,
        )

    def cosigner(self, seat: int) -> Cosigner:
        """Its key, for liars."""
        return Cosigner(
            keys=self.membership.nodes[seat],
            founding=self.founding,
            index_at=lambda size: self.conduct.committees.of_size(size).index_of(seat),
        )

    def _machine(self, seat: int, suffix: str = "") -> Machine:
        regime = self.regime
        watch = Watch(
            applied=self._applied,
            cosigned=self._cosigned,
            remembers=self._remembers,
            final=self._final,
            noted=self._noted,
            failed=self._failed,
        )
        clocks = Clocks(
            self.world,
            drift_ppm=regime.drifts_ppm[seat],
            skew_ns=regime.skews_ms[seat] * 1_000_000,
        )
        return Machine(
            seat=seat,
            founding=self.founding,
            keys=self.membership.nodes[seat],
            own=self.membership.own(seat),
            world=self.world,
            wires=self.wires,
            rng=Random(self._rng.getrandbits(64)),
            pace=regime.pace,
            watch=watch,
            disk=Disk(Random(self._rng.getrandbits(64))),
            clocks=clocks,
            address=self.membership.address(seat) + suffix,
            later_keys=self.membership.later_keys(seat),
        )

    @property
    def honest(self) -> list[Machine]:
        return [self.machines[seat] for seat in self.regime.honest]

    @property
    def staying(self) -> list[Machine]:
        """The honest who have a seat in the end."""
        return [self.machines[seat] for seat in self.regime.staying]

    # The story of a run

    def run(self) -> Outcome:
        """Raises Violation, or a fault of the driver's, with a note on how to see it again."""
        try:
            self.storm()
            self.heal()
            return self.recover()
        except OutOfTime:
            raise
        except Exception as error:
            error.add_note(self.replay_hint())
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Nobody is left running."""
        for machine in (*self.machines.values(), *self.twins.values()):
            machine.kill(power=False)
        self.world.run(self.world.now_us)

    def replay_hint(self) -> str:
        return (
            f"at {self.world.now_us / US:.3f} s; {self.regime.describe()}\n"
            f"replay: python -m tests.simulation --driver --seed {self.regime.seed:#x} --trace"
        )

    def storm(self) -> None:
        regime, at = self.regime, self._at
        boots_ms = {change.seat: change.boots_ms for change in regime.of(What.JOINS)}
        for machine in (*self.machines.values(), *self.twins.values()):
            at(boots_ms.get(machine.seat, 0), machine.boot)
        for cut in regime.cuts:
            at(cut.start_ms, partial(self._cut, cut))
        for at_ms, one, other in regime.resets:
            at(at_ms, partial(self.wires.reset, one, other))
        for crash in regime.crashes:
            at(crash.at_ms, partial(self._crash, crash))
        for fill in regime.fills:
            at(fill.start_ms, partial(self._fill, fill))
        for jump in regime.jumps:
            at(jump.at_ms, partial(self._jump, jump))
        for seat, extra_ms in regime.slow:
            self.wires.slow(seat, extra_ms)
        for seat, name in regime.liars:
            if name == "twins":
                self._turn_faces(seat)
            elif name in ("amnesiac", "rollback"):
                self._forget_on(self.machines[seat], name)
        for client in self.clients:
            client.begin()
        self._run(regime.storm_ms * MS)

    def heal(self) -> None:
        """All honest machines up, all links whole, disks with room; the liars go on."""
        self._storming = False
        self._note(-1, "heals")
        self.wires.heal(self.regime.healed)
        for machine in self.machines.values():
            machine.armed = None
            machine.disk.full = False
            if not machine.up:
                machine.boot()
        for client in self.clients:
            for _ in range(AFTER_HEALING):
                client.sign()
            client.open = False

    def recover(self) -> Outcome:
        healed_us = self.world.now_us
        while not self._all_final():
            if self.world.now_us - healed_us > HEAL_S * US:
                raise Violation(f"{HEAL_S} s after healing: {self._standing()}")
            self._run(self.world.now_us + LOOK_US)
        recovery_s = (self.world.now_us - healed_us) / US
        if self.regime.changes:
            self._in_the_new_epoch()
        self._at_the_end()
        entries = sum(len(client.signed) for client in self.clients)
        return Outcome(
            seed=self.regime.seed,
            size=self.regime.size,
            commits=max(self.conduct.commits),
            epochs=self._epochs(),
            members=len(self.conduct.committees.newest.seats),
            entries=entries,
            acknowledged=len(self.conduct.acknowledged),
            restarts=sum(machine.lives - 1 for machine in self.machines.values()),
            lost_batches=sum(machine.disk.lost_batches for machine in self.honest),
            messages=self.wires.sent,
            virtual_s=self.world.now_us / US,
            recovery_s=recovery_s,
            events=self.world.happened,
        )

    def _in_the_new_epoch(self) -> None:
        """One entry more of each client: the members that are now make it final, and those who left are gone."""
        for seat in self.regime.leaving:
            if seat in self.machines:
                self.machines[seat].kill(power=True)
        for client in self.clients:
            client.sign()
        began_us = self.world.now_us
        while not self._all_final():
            if self.world.now_us - began_us > HEAL_S * US:
                raise Violation(f"{HEAL_S} s after the change: {self._standing()}")
            self._run(self.world.now_us + LOOK_US)

    def _run(self, until_us: int) -> None:
        while self.world.now_us < until_us:
            step_us = min(until_us, self.world.now_us + LOOK_US)
            self.world.run(step_us, lambda: self._failure is not None)
            if self._failure is not None:
                raise self._failure
            if self._give_up():
                raise OutOfTime

    def _all_final(self) -> bool:
        sizes = set()
        for machine in self.staying:
            life = machine.life
            if life is None or not life.ready or life.ledger is None or life.finality is None:
                return False
            sizes.add((life.ledger.size, life.finality.final_size))
            seated = {member.state: member.block_key for member in life.ledger.epoch.members}
            if seated != self.membership.in_the_end() or not self._has_all(life):
                return False
        return len(sizes) == 1 and len(set(sizes.pop())) == 1 and self._gone()

    def _gone(self) -> bool:
        """Whether who left knows it, unless its machine is off."""
        for machine in self.honest:
            life = machine.life
            if machine.seat not in self.regime.leaving or not machine.up or life is None:
                continue
            state = self.membership.states[machine.seat]
            if life.ledger is None or life.ledger.epoch.index_of(state) is not None:
                return False
        return True

    def _has_all(self, life: Life) -> bool:
        ledger = life.ledger
        return ledger is not None and all(
            ledger.find(each.entry_hash) is not None
            for client in self.clients
            for each in client.signed
        )

    def _epochs(self) -> int:
        """How many there were; every honest node is in the same one."""
        numbers = {
            machine.life.ledger.epoch.number
            for machine in self.staying
            if machine.life is not None and machine.life.ledger is not None
        }
        if len(numbers) != 1:
            raise Violation(f"honest nodes are in epochs {sorted(numbers)}")
        return numbers.pop() + 1

    def _standing(self) -> str:
        found = []
        for machine in self.honest:
            life = machine.life
            if life is None or life.ledger is None or life.finality is None or life.engine is None:
                found.append(f"{machine.seat} down")
                continue
            missing = sum(
                life.ledger.find(each.entry_hash) is None
                for client in self.clients
                for each in client.signed
            )
            found.append(
                f"{machine.seat}: epoch {life.ledger.epoch.number}, commit {life.ledger.last_commit},"
                f" size {life.ledger.size}, final {life.finality.final_size},"
                f" round {life.engine.own_round()}, {missing} entries missing"
            )
        waiting = sum(len(client.waiting()) for client in self.clients)
        return f"{'; '.join(found)}; {waiting} unacknowledged"

    def _at_the_end(self) -> None:
        logs: dict[int, list[bytes]] = {}
        for machine in self.staying:
            life = machine.life
            assert life is not None
            assert life.ledger is not None
            logs[machine.seat] = life.ledger.entries(0, life.ledger.size)
            self._judge_life(machine, life)
        self.conduct.logs(logs)

    def _judge_life(self, machine: Machine, life: Life) -> None:
        """No honest member is blamed, and nothing has grown beyond its bound."""
        engine, finality, metrics = life.engine, life.finality, life.metrics
        if engine is None or finality is None or metrics is None:
            return
        byzantine = self.regime.byzantine
        for seat in self.regime.honest:
            labels = {"state": self.membership.states[seat]}
            for name in ("foedus_peer_charged_total", "foedus_equivocations_total"):
                if metrics.registry.get_sample_value(name, labels):
                    raise Violation(f"node {machine.seat}: {name} of honest node {seat}")
        of_size = self.conduct.committees.of_size
        lines = [conflict.line for conflict in finality.conflicts]
        blamed = {of_size(line.size).seats[line.member] for line in lines} - byzantine
        if blamed or finality.stopped:
            raise Violation(
                f"node {machine.seat}: in conflict with {sorted(blamed)}: {finality.alarm}"
            )
        current = engine._engine
        waiting = current._inbox
        if len(waiting._facts) > FACTS_MAX * self.regime.seats or len(waiting) > EVENTS_MAX:
            raise Violation(f"node {machine.seat}: {len(waiting)} events wait for its core")
        bound = self._table_bound(life)
        for name, count in table_sizes(current._core).items():
            if count > bound:
                raise Violation(f"node {machine.seat}: {name} holds {count}, at most {bound}")

    def _table_bound(self, life: Life) -> int:
        """As `consensus.simulate.cluster`: rounds that nobody collects yet, of n blocks each, each naming n parents."""
        assert life.engine is not None
        rounds = 60 + life.engine.own_round()
        return 4 * self.regime.seats**2 * rounds

    # What happens to machines and links

    def _at(self, at_ms: int, action: Callable[[], None]) -> None:
        self.world.call_at(at_ms * MS, action)

    def _cut(self, cut: Cut) -> None:
        if not self._storming:
            return
        self._note(-1, f"cut {cut.links} {cut.extra_ms or ''}")
        if cut.extra_ms:
            self._at(cut.end_ms, self.wires.drag(cut.links, cut.extra_ms))
            return
        mend = self.wires.cut(cut.links, noticed=cut.noticed)
        self._at(cut.end_ms, mend)

    def _crash(self, crash: Crash) -> None:
        machine = self.machines[crash.seat]
        if not self._storming or not machine.up:
            return
        machine.down_ms = crash.down_ms
        match crash.how:
            case Point():
                machine.armed = crash.how
                return
            case "stop":
                machine.stop()
            case how:
                machine.kill(power=how == "power")
        self.world.call_in(crash.down_ms * MS, partial(self._back, machine))

    def _back(self, machine: Machine) -> None:
        """Up again, as soon as the process before is gone and the disk has room."""
        if machine.up or machine.disk.full:
            self.world.call_in(200 * MS, partial(self._back_if_down, machine))
        else:
            machine.boot()

    def _back_if_down(self, machine: Machine) -> None:
        if not machine.up and not machine.disk.full:
            machine.boot()

    def _fill(self, fill: Fill) -> None:
        machine = self.machines[fill.seat]
        if not self._storming:
            return
        machine.disk.full = True
        self._note(fill.seat, "disk full")

        def room() -> None:
            machine.disk.full = False
            self._back(machine)

        self._at(fill.end_ms, room)

    def _jump(self, jump: Jump) -> None:
        machine = self.machines.get(jump.seat)
        if machine is not None:
            machine.clocks.skew_ns += jump.by_ms * 1_000_000

    # Liars that are a matter of processes and disks

    def _route(self, caller: int, endpoint: str) -> str:
        for seat, twin in self.twins.items():
            if endpoint == self.machines[seat].address and self._faces.get((caller, seat)):
                return twin.address
        return endpoint

    def _turn_faces(self, seat: int) -> None:
        """From now on others meet the one or the other."""
        for caller in range(self.regime.seats):
            face = self._rng.random() < 0.5
            if self._faces.get((caller, seat), False) != face:
                self._faces[caller, seat] = face
                self.wires.reset(caller, seat)
        self.world.call_in(self._rng.randint(500, 5_000) * MS, partial(self._turn_faces, seat))

    def _forget_on(self, machine: Machine, how: str) -> None:
        """Now and then it dies, and its disk is another one afterwards."""
        old = machine.disk.copy()

        def fall() -> None:
            if not self._storming:
                return
            machine.kill(power=False)
            machine.disk = old if how == "rollback" else Disk(Random(self._rng.getrandbits(64)))
            machine.boot()
            self._forget_on(machine, how)

        self.world.call_in(self._rng.randint(500, 8_000) * MS, fall)

    # What machines and wires report

    def _tap(self, source: int, target: int, kind: str, data: bytes) -> Sequence[bytes]:
        liar = self._liars.get(source)
        said: Sequence[bytes] = (data,)
        if liar is not None:
            said = liar.say(target, kind, data)
        elif source not in self.regime.byzantine:
            self._checked(partial(self.conduct.sent, source, kind, data))
        if self._trace is not None:
            for message in said:
                self._note(source, f"> {target} {kind} {sha256(message).hex()[:16]}")
        return said

    def _applied(self, seat: int, life: int, applied: Applied) -> None:
        if self._trace is not None:
            self._note(seat, f"commit {applied.index}: size {applied.size} {applied.root.hex()}")
        if seat in self.regime.byzantine:
            return
        time_ms = applied.plan.time_ms
        self._checked(
            partial(
                self.conduct.applied, seat, life, applied.index, applied.size, applied.root, time_ms
            )
        )

    def _cosigned(self, seat: int, line: Cosigned) -> None:
        self._note(seat, f"cosigns {line.size} {line.root.hex()}")
        if seat not in self.regime.byzantine:
            self._checked(partial(self.conduct.cosigned, seat, line.size, line.root))

    def _remembers(self, seat: int, line: Cosigned) -> None:
        if seat not in self.regime.byzantine:
            self._checked(partial(self.conduct.remembers, seat, line.size, line.root))

    def _final(self, seat: int, final: FinalCheckpoint) -> None:
        checkpoint, members = final.checkpoint, [line.member for line in final.lines]
        self._note(seat, f"final {checkpoint.size} by {members}")
        if seat not in self.regime.byzantine:
            self._checked(
                partial(self.conduct.final, seat, checkpoint.size, checkpoint.root, members)
            )

    def _stored(self, seat: int, family: str, key: bytes, value: bytes) -> None:
        self._checked(partial(self.conduct.stored, seat, family, key, value))

    def _acknowledged(self, seat: int, entry_hash: bytes) -> None:
        self._note(seat, f"acknowledges {entry_hash.hex()}")
        self._checked(partial(self.conduct.acked, seat, entry_hash))

    def _refused(self, seat: int, why: Refused) -> None:
        if seat not in self.regime.byzantine:
            self._failed(seat, Violation(f"node {seat} refuses a good entry: {why}"))

    def _checked(self, check: Callable[[], None]) -> None:
        """A checker's objection ends the run, not the node that it is about."""
        try:
            check()
        except Violation as err:
            if self._failure is None:
                self._failure = err

    def _failed(self, seat: int, error: BaseException) -> None:
        self._note(seat, f"fault: {error!r}")
        if seat not in self.regime.byzantine and self._failure is None:
            self._failure = error

    def _noted(self, seat: int, what: str) -> None:
        self._note(seat, what)

    def _note(self, seat: int, what: str) -> None:
        if self._trace is not None:
            self._trace(f"{self.world.now_us} {seat} {what}")
