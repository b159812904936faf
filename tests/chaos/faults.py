"""What happens to hosts, and how it ends. `hurt` are the members that may be missing meanwhile; `stops_all`: no quorum is left.

Each `begin` returns once it has happened, each `end` once the hosts are whole again (not once the ledger is: that is what the run
then measures). A node that must refuse to go on must say so and end with status 1.
"""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations, product
from typing import Protocol

from tests.chaos.load import Load
from tests.chaos.site import READY_S, Pair, Site

ENDS_S = 30.0  # a node on a broken disk
STOP_S = (3.0, 8.0)  # longer than the leader timeout of either pace
CLOCK_S = 600
CORRUPT_BYTES = 64


class Fault(Protocol):
    @property
    def text(self) -> str: ...

    @property
    def hurt(self) -> frozenset[str]: ...

    @property
    def stops_all(self) -> bool: ...

    async def begin(self, site: Site, load: Load) -> None: ...

    async def end(self, site: Site, load: Load) -> None: ...


@dataclass(kw_only=True)
class Partition:
    """Ways that carry nothing. `groups` do not hear one another at all; `deaf` and `mute` members are cut one way."""

    text: str
    hurt: frozenset[str]
    stops_all: bool
    pairs: frozenset[Pair]

    async def begin(self, site: Site, load: Load) -> None:
        site.cut_ways(self.pairs)

    async def end(self, site: Site, load: Load) -> None:
        site.cut_ways(())


@dataclass(kw_only=True)
class Kill:
    """SIGKILL; the process is started again at the end."""

    hurt: frozenset[str]
    stops_all: bool = False

    @property
    def text(self) -> str:
        return f"kill -9 {_names(self.hurt)}"

    async def begin(self, site: Site, load: Load) -> None:
        for state in sorted(self.hurt):
            site.cluster.kill(state)

    async def end(self, site: Site, load: Load) -> None:
        await site.restart(*sorted(self.hurt))


@dataclass(kw_only=True)
class Freeze:
    """SIGSTOP: the process is there, its connections are open, it does nothing."""

    hurt: frozenset[str]
    stops_all: bool = False

    @property
    def text(self) -> str:
        return f"SIGSTOP {_names(self.hurt)}"

    async def begin(self, site: Site, load: Load) -> None:
        self._signal(site, signal.SIGSTOP)

    async def end(self, site: Site, load: Load) -> None:
        self._signal(site, signal.SIGCONT)

    def _signal(self, site: Site, number: signal.Signals) -> None:
        for state in sorted(self.hurt):
            process = site.cluster.homes[state].process
            assert process is not None, f"{state} does not run"
            process.send_signal(number)


@dataclass(kw_only=True)
class DiskFull:
    hurt: frozenset[str]
    stops_all: bool = False

    @property
    def text(self) -> str:
        return f"disk of {_names(self.hurt)} full"

    async def begin(self, site: Site, load: Load) -> None:
        site.fill_disk()
        await site.expect_end(site.small, ENDS_S)

    async def end(self, site: Site, load: Load) -> None:
        site.empty_disk()
        await site.restart(site.small)


@dataclass(kw_only=True)
class DiskReadOnly:
    hurt: frozenset[str]
    stops_all: bool = False

    @property
    def text(self) -> str:
        return f"disk of {_names(self.hurt)} read-only"

    async def begin(self, site: Site, load: Load) -> None:
        site.break_disk()
        await site.expect_end(site.brittle, ENDS_S)

    async def end(self, site: Site, load: Load) -> None:
        site.repair_disk()
        await site.restart(site.brittle)


@dataclass(kw_only=True)
class ClockSet:
    """The wall clock jumps; `restarted`: and the node is started with it."""

    hurt: frozenset[str]
    offset_s: int
    restarted: bool
    stops_all: bool = False

    @property
    def text(self) -> str:
        how = ", restarted" if self.restarted else ""
        return f"clock of {_names(self.hurt)} {self.offset_s:+d} s{how}"

    async def begin(self, site: Site, load: Load) -> None:
        site.set_clock(self.offset_s)
        await self._restart(site)

    async def end(self, site: Site, load: Load) -> None:
        site.set_clock(0)
        await self._restart(site)

    async def _restart(self, site: Site) -> None:
        if self.restarted:
            site.cluster.kill(site.astray)
            await site.restart(site.astray)


@dataclass(kw_only=True)
class Corrupt:
    """Bytes in the middle of a store's file are flipped while the node is down."""

    hurt: frozenset[str]
    at: float  # where in the file, as a part of it
    stops_all: bool = False
    outcome: str = field(default="", init=False)

    @property
    def text(self) -> str:
        return f"store of {_names(self.hurt)} corrupted{self.outcome}"

    async def begin(self, site: Site, load: Load) -> None:
        (state,) = self.hurt
        site.cluster.kill(state)
        store = site.data(state) / "rocksdb"
        files = sorted(store.glob("*.sst")) or sorted(store.glob("*.log"))
        victim = max(files, key=lambda path: path.stat().st_size)
        data = bytearray(victim.read_bytes())
        first = int(len(data) * self.at)
        for position in range(first, min(first + CORRUPT_BYTES, len(data))):
            data[position] ^= 0xFF
        victim.write_bytes(data)
        self.outcome = f" ({victim.suffix} at {first} of {len(data)})"

    async def end(self, site: Site, load: Load) -> None:
        (state,) = self.hurt
        self.outcome += f": {await site.start_damaged(state)}, rebuilt"
        await site.rebuild(state)
        # Entries that were in this node's mempool alone are gone with its store: their authors give them again.
        load.disk_lost(state)


@dataclass(kw_only=True)
class Rolling:
    """Every node stopped in order, and started again, one after another, as for an upgrade."""

    hurt: frozenset[str] = frozenset()
    stops_all: bool = False
    text: str = "rolling restart"

    async def begin(self, site: Site, load: Load) -> None:
        for state in site.states:
            status = site.cluster.stop(state)
            assert status == 0, f"{state} stopped with status {status}"
            await site.restart(state)

    async def end(self, site: Site, load: Load) -> None:
        pass


@dataclass(kw_only=True)
class Weather:
    hurt: frozenset[str] = frozenset()
    stops_all: bool = False
    text: str = "other delays, jitter and loss"

    async def begin(self, site: Site, load: Load) -> None:
        site.weather()

    async def end(self, site: Site, load: Load) -> None:
        pass


def _names(states: frozenset[str]) -> str:
    return "+".join(sorted(states))


# --- drawing -------------------------------------------------------------------------------------

Draw = Callable[[random.Random, Site], Fault]


def minority(chance: random.Random, site: Site) -> Fault:
    away = _some(chance, site)
    rest = frozenset(site.states) - away
    pairs = frozenset(product(away, rest)) | frozenset(product(rest, away))
    return Partition(text=f"{_names(away)} cut off", hurt=away, stops_all=False, pairs=pairs)


def halves(chance: random.Random, site: Site) -> Fault:
    """More than f on either side: neither has a quorum."""
    away = frozenset(chance.sample(site.states, len(site.states) // 2))
    rest = frozenset(site.states) - away
    pairs = frozenset(product(away, rest)) | frozenset(product(rest, away))
    return Partition(
        text=f"{_names(away)} against {_names(rest)}",
        hurt=frozenset(site.states),
        stops_all=True,
        pairs=pairs,
    )


def islands(chance: random.Random, site: Site) -> Fault:
    return Partition(
        text="everybody alone",
        hurt=frozenset(site.states),
        stops_all=True,
        pairs=frozenset(permutations(site.states, 2)),
    )


def one_way(chance: random.Random, site: Site) -> Fault:
    away = _some(chance, site)
    rest = frozenset(site.states) - away
    mute = chance.random() < 0.5
    pairs = frozenset(product(away, rest) if mute else product(rest, away))
    how = "is not heard" if mute else "hears nobody"
    return Partition(text=f"{_names(away)} {how}", hurt=away, stops_all=False, pairs=pairs)


def kill(chance: random.Random, site: Site) -> Fault:
    return Kill(hurt=_some(chance, site))


def kill_all(chance: random.Random, site: Site) -> Fault:
    return Kill(hurt=frozenset(site.states), stops_all=True)


def freeze(chance: random.Random, site: Site) -> Fault:
    return Freeze(hurt=_some(chance, site))


def disk_full(chance: random.Random, site: Site) -> Fault:
    return DiskFull(hurt=frozenset((site.small,)))


def disk_read_only(chance: random.Random, site: Site) -> Fault:
    return DiskReadOnly(hurt=frozenset((site.brittle,)))


def clock(chance: random.Random, site: Site) -> Fault:
    return ClockSet(
        hurt=frozenset((site.astray,)),
        offset_s=chance.choice((-CLOCK_S, CLOCK_S)),
        restarted=chance.random() < 0.5,
    )


def corrupt(chance: random.Random, site: Site) -> Fault:
    return Corrupt(hurt=frozenset((chance.choice(site.states),)), at=chance.uniform(0.05, 0.9))


def rolling(chance: random.Random, site: Site) -> Fault:
    return Rolling()


def weather(chance: random.Random, site: Site) -> Fault:
    return Weather()


def _some(chance: random.Random, site: Site) -> frozenset[str]:
    """From one to f members."""
    return frozenset(chance.sample(site.states, chance.randint(1, site.f)))


EVERY: tuple[Draw, ...] = (
    *(minority, halves, one_way, kill, kill_all, freeze),
    *(disk_full, disk_read_only, clock, corrupt, rolling),
)
MORE: tuple[Draw, ...] = (*EVERY, islands, weather)
__all__ = ["EVERY", "MORE", "READY_S", "Fault"]
