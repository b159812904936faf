"""One member's machine: a disk that outlives its processes, clocks that may be wrong, and the node that runs on it.

A life is put together as `node.main` does it, from the same classes: sign state, store, ledger, finality, mempool, admission,
engine. Only what lies below them is simulated (decision 0142): loop, clocks, database, files, calls.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, cast

from consensus.types import Parameters
from node.engine.clock import SlewedClock
from node.engine.epochs import Epochs
from node.engine.parts import EngineParts
from node.ledger.admission import Admission, chain_place
from node.ledger.cosigned import Cosigned
from node.ledger.errors import LedgerError
from node.ledger.finality import FinalCheckpoint, Finality
from node.ledger.ledger import Applied, Ledger
from node.ledger.mempool import Mempool
from node.signing.keys import NodeKeys
from node.signing.verify import VerifyPool
from node.storage.errors import StorageError
from node.storage.sign_state import SignState
from node.storage.store import Store
from node.telemetry import Metrics
from tests.simulation.driver.disk import Batch, Disk, Mounted, Point, PowerCut
from tests.simulation.driver.loop import VirtualLoop, World
from tests.simulation.driver.wires import SimulatedTransport, Wires
from tests.unit.ledger.founding import GENESIS_MS, Founding

START_NS: Final = (GENESIS_MS + 60_000) * 1_000_000  # wall clock at virtual time 0
PPM: Final = 1_000_000


@dataclass(slots=True)
class Clocks:
    """What this machine believes the time is."""

    world: World
    drift_ppm: int = 0  # how much too fast both clocks run
    skew_ns: int = 0  # how far the wall clock is off; jumps change it

    def monotonic_ns(self) -> int:
        return self.world.now_us * 1_000 + self.world.now_us * self.drift_ppm // 1_000

    def wall_ns(self) -> int:
        return START_NS + self.monotonic_ns() + self.skew_ns


@dataclass(slots=True)
class Life:
    """One process. Its fields are set as it comes up."""

    seat: int
    loop: VirtualLoop
    mounted: Mounted
    number: int
    store: Store | None = None
    ledger: Ledger | None = None
    finality: Finality | None = None
    mempool: Mempool | None = None
    admission: Admission | None = None
    engine: Epochs | None = None
    metrics: Metrics | None = None
    main: asyncio.Task[None] | None = None
    ready: bool = False
    ended: str | None = None  # why it ended by itself

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What the cluster wants to hear of."""

    applied: Callable[[int, int, Applied], None]  # seat, life, what
    cosigned: Callable[[int, Cosigned], None]  # a line left
    remembers: Callable[
        [int, Cosigned], None
    ]  # a line that a crash kept from leaving, found on the disk
    final: Callable[[int, FinalCheckpoint], None]
    noted: Callable[[int, str], None]
    failed: Callable[[int, BaseException], None]  # a fault of the driver's


@dataclass(slots=True)
class Machine:
    """Lives come and go by `boot`, `kill`, `stop`."""

    seat: int
    founding: Founding
    keys: NodeKeys
    own: int | None  # its place among the founders; None: its state joins later
    world: World
    wires: Wires
    rng: Random
    pace: Parameters
    watch: Watch
    disk: Disk
    clocks: Clocks
    address: str
    later_keys: tuple[NodeKeys, ...] = ()  # of seats that its state declares meanwhile (SPEC 14)
    life: Life | None = None
    lives: int = 0
    armed: Point | None = None  # the next time the disk comes there, the power goes
    down_ms: int = 0  # for how long then

    @property
    def up(self) -> bool:
        return self.life is not None and self.life.loop.alive and self.life.ended is None

    def boot(self) -> None:
        """Start a process, unless one runs."""
        if self.up:
            return
        self.lives += 1
        loop = VirtualLoop(  # type: ignore[abstract] # of a loop's methods those that the driver reaches
            self.world, Random(self.rng.getrandbits(64)), self._on_fault
        )
        life = Life(
            seat=self.seat,
            loop=loop,
            mounted=self.disk.mount(self._on_point),
            number=self.lives,
        )
        self.life = life
        self.watch.noted(self.seat, f"boots, life {self.lives}")

        def begin() -> None:
            life.main = loop.create_task(self._live(life), name=f"node {self.seat}")
            life.main.add_done_callback(lambda done: self._ended(life, done))

        loop.enter(begin)

    def kill(self, *, power: bool) -> None:
        """The process dies where it stands; with `power` what the disk had not synced may go with it."""
        life = self.life
        if life is None or not life.loop.alive:
            return
        self.watch.noted(self.seat, "loses power" if power else "is killed")
        life.mounted.gone = True
        life.loop.kill()
        self.wires.died(life, silent=power)
        if power:
            self.disk.power_cut()

    def stop(self) -> None:
        """As SIGTERM: it ends in order."""
        if self.up and self.life is not None and self.life.main is not None:
            self.watch.noted(self.seat, "is stopped")
            main = self.life.main
            self.life.loop.enter(main.cancel)

    def _on_point(self, point: Point) -> None:
        if self.armed is not point:
            return
        self.armed = None
        self.watch.noted(self.seat, f"at the point: {point.value}")
        self.kill(power=True)
        self.world.call_in(self.down_ms * 1_000, self.boot)
        raise PowerCut

    def _on_fault(self, context: dict[str, Any]) -> None:
        error = context.get("exception") or AssertionError(context.get("message"))
        self.watch.failed(self.seat, cast(BaseException, error))

    def _ended(self, life: Life, main: asyncio.Task[None]) -> None:
        """Of itself: in order, or because the disk refused. Anything else is a fault."""
        if not life.loop.alive:
            return
        error = None if main.cancelled() else main.exception()
        life.ended = "stopped" if error is None else str(error)
        if error is not None and not _only(error, StorageError, LedgerError, OSError):
            self.watch.failed(self.seat, error)
            return
        self.watch.noted(self.seat, f"ends: {life.ended}")
        life.mounted.gone = True
        life.loop.kill()
        self.wires.died(life, silent=False)
        if error is not None and not life.mounted.refused:
            self.watch.failed(self.seat, error)

    # A life, as node.main has it

    async def _live(self, life: Life) -> None:
        engine = await self._open(life)
        finality = life.finality
        assert finality is not None
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(finality.run(), name="finality")
                tasks.create_task(engine.run(), name="engine")
                life.ready = True
                self.watch.noted(self.seat, "is ready")
        finally:
            life.ready = False
            await engine.stop()

    async def _open(self, life: Life) -> Epochs:
        keys, folder = self.keys, Path(f"/sim/{self.seat}")
        sign_state = SignState(folder, life.mounted.files)
        store = life.store = Store.over(folder / "rocksdb", life.mounted.database, Batch)
        pool = VerifyPool(threads=1)
        ledger = await Ledger.open(store, self.founding.document, pool, sign_state=sign_state)
        finality = Finality(
            store,
            sign_state,
            ledger.genesis,
            own=self.own,
            state=keys.state,
            epochs=lambda: ledger.epochs,
            later_keys=[key for later in self.later_keys for key in (later.cosigner, later.log)],
            cosigner_key=keys.cosigner,
            log_key=keys.log,
            log_size=ledger.size,
            root_at=ledger.root_at,
            clock_s=lambda: self.clocks.wall_ns() // 1_000_000_000,
        )
        mempool = Mempool(
            store,
            ledger.author_tip,
            state_of=ledger.state_of,
            states=lambda: len(ledger.epoch.members),
        )
        mempool.restore(chain_place)
        ledger.attach(finality=finality, mempool=mempool)
        finality.subscribe(lambda final: self.watch.final(self.seat, final))
        ledger.subscribe(lambda applied: self.watch.applied(self.seat, life.number, applied))
        life.admission = Admission(
            ledger,
            mempool,
            store,
            pool,
            node=keys.state,
            log_key=lambda: keys.log,
            clock_ms=lambda: self.clocks.wall_ns() // 1_000_000,
        )
        life.metrics = Metrics(keys.state)
        engine = Epochs(
            EngineParts(
                genesis=ledger.genesis,
                chain_id=ledger.chain_id,
                keys=keys,
                later_keys=self.later_keys,
                listen_peer=self.address,
                pace=lambda _: self.pace,
                store=store,
                sign_state=sign_state,
                pool=pool,
                ledger=ledger,
                mempool=mempool,
                finality=finality,
                metrics=life.metrics,
                clock=SlewedClock(self.clocks.wall_ns, self.clocks.monotonic_ns),
                transport=SimulatedTransport(self.wires, life),
                monotonic=lambda: self.clocks.monotonic_ns() / 1e9,
            )
        )

        def sent(line: Cosigned) -> None:
            self.watch.cosigned(self.seat, line)
            engine.send(line)

        finality.on_line(sent)
        before = finality.newest_own()
        if before is not None:
            self.watch.remembers(self.seat, before)
        life.ledger, life.finality, life.mempool, life.engine = ledger, finality, mempool, engine
        self.watch.noted(self.seat, f"opened: size {ledger.size}, commit {ledger.last_commit}")
        await engine.start()
        return engine


def _only(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether a tree of errors has no others."""
    if isinstance(error, BaseExceptionGroup):
        return all(_only(each, *kinds) for each in error.exceptions)
    return isinstance(error, kinds)
