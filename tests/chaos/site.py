"""The hosts of one run: a network namespace each, cables between them, three special disks and clocks, and the nodes on them.

Hosts 0..n-1 are the members', the last one is the world: this process, from where clients call. Three members, drawn by the
seed, have what most hosts have not: `small`, a disk that can be full (tmpfs); `brittle`, a disk that can turn read-only as
after an I/O error (ext4 in a file); `astray`, a wall clock that can be set.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from tests.chaos.names import CLOCK_VARIABLE
from tests.chaos.sandbox import NAMESPACES, ROOT, sh
from tests.chaos.wires import address
from tests.e2e.cluster import Cluster, found_cluster

STATES = ("US", "CN", "GB", "KE", "BR", "IN", "FR")
PORTS = (7450, 7451, 7452, 7453)  # peers, clients, HTTP, metrics: the usual ones
DELAY_MS = (50.0, 250.0)  # one way, between members
LOSS_MAX = 0.01
JITTER_PART = 0.2  # of the delay
WORLD_MS = 10.0
SMALL_DISK = "256m"
BRITTLE_MIB = 512
READY_S = 90.0  # a restart may have to read and fetch a good deal on a busy machine
EXIT_FATAL = 1
REMOUNTS_MAX = 50
DECISIONS = "decisions.jsonl"

Pair = tuple[str, str]  # from, to
_RECONNECT = (
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


@dataclass(kw_only=True)
class Hosts(Cluster):
    """A cluster whose nodes run on the site's hosts."""

    astray: str

    def command(self, state: str) -> list[str]:
        module = "tests.chaos.astray" if state == self.astray else "node.main"
        return ["nsenter", f"--net={NAMESPACES / state}", sys.executable, "-m", module]

    def channel(self, state: str, *, options: Iterable[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        return super().channel(state, options=(*_RECONNECT, *options))


@dataclass(kw_only=True)
class Site:
    """See the module's text."""

    folder: Path
    chance: random.Random
    cluster: Hosts
    wires: subprocess.Popen[str]
    small: str
    brittle: str
    astray: str
    cut: set[Pair] = field(default_factory=set)
    lost_disks: int = 0
    real_ext4: bool = True

    @property
    def states(self) -> tuple[str, ...]:
        return self.cluster.states

    @property
    def f(self) -> int:
        return (len(self.states) - 1) // 3

    def running(self) -> tuple[str, ...]:
        return tuple(s for s, home in self.cluster.homes.items() if home.process is not None)

    def data(self, state: str) -> Path:
        return self.cluster.homes[state].folder / "data"

    # Cables

    def weather(self) -> None:
        """Every way between members drawn anew: 50 to 250 ms, jitter, up to 1 % lost."""
        ways: list[tuple[int, int, float, float, float]] = []
        world = len(self.states)
        for source in range(world):
            ways += [(source, world, WORLD_MS, 1.0, 0.0), (world, source, WORLD_MS, 1.0, 0.0)]
            for target in range(world):
                if source != target:
                    delay = self.chance.uniform(*DELAY_MS)
                    loss = self.chance.uniform(0.0, LOSS_MAX)
                    ways.append((source, target, delay, delay * JITTER_PART, loss))
        self.tell_wires({"ways": ways})

    def cut_ways(self, pairs: Iterable[Pair]) -> None:
        """These ways carry nothing from now on, all others do."""
        self.cut = set(pairs)
        number = {state: host for host, state in enumerate(self.states)}
        self.tell_wires({"cut": [(number[source], number[target]) for source, target in self.cut]})

    def tell_wires(self, wish: dict[str, Any]) -> dict[str, int]:
        assert self.wires.stdin is not None
        assert self.wires.stdout is not None
        self.wires.stdin.write(json.dumps(wish) + "\n")
        self.wires.stdin.flush()
        answer: dict[str, int] = json.loads(self.wires.stdout.readline())
        return answer

    # Disks and clocks

    def set_clock(self, offset_s: int) -> None:
        write_whole(clock_file(self.folder), str(offset_s))

    def fill_disk(self) -> None:
        """The small disk has no byte left; what is written stays."""
        place = self.data(self.small)
        for attempt in range(REMOUNTS_MAX):
            disk = os.statvfs(place)
            used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
            try:
                sh("mount", "-o", f"remount,size={used}", str(place))
            except RuntimeError:
                # The node wrote meanwhile: a size below what is used is refused.
                if attempt == REMOUNTS_MAX - 1:
                    raise
            else:
                return

    def empty_disk(self) -> None:
        sh("mount", "-o", f"remount,size={SMALL_DISK}", str(self.data(self.small)))

    def break_disk(self) -> None:
        """The brittle disk turns read-only under the running node, as ext4 does after an I/O error."""
        sh("mount", "-o", "remount,abort", str(self.data(self.brittle)))

    def repair_disk(self) -> None:
        """After its node has ended: checked and mounted again."""
        sh("umount", str(self.data(self.brittle)))
        done = subprocess.run(
            ["e2fsck", "-fy", str(image_file(self.folder))], capture_output=True, check=False
        )
        assert done.returncode in {0, 1, 2}, done.stdout.decode()
        mount_image(image_file(self.folder), self.data(self.brittle))

    # Nodes

    async def expect_end(self, state: str, seconds: float) -> None:
        """The node must end by itself, with the status that says it cannot go on, and with a reason."""
        home = self.cluster.homes[state]
        process = home.process
        assert process is not None, f"{state} does not run"
        await self.cluster.until(
            lambda: process.poll() is not None, f"{state} ends by itself", seconds
        )
        assert process.returncode == EXIT_FATAL, f"{state}: {process.returncode}: {home.log_tail()}"
        reasons = [line for line in home.log_lines() if line.get("event") == "node cannot go on"]
        assert reasons, f"{state} ended without a reason:\n{home.log_tail()}"
        home.process = None

    async def restart(self, *states: str) -> None:
        for state in states:
            self.cluster.start(state)
        await self.cluster.wait_ready(*states, seconds=READY_S)

    async def start_damaged(self, state: str) -> str:
        """Start on a damaged store, which the node may refuse at once, or find out about later; end it. Says which it was.

        A node that ends must say why; with status 0 only if it was told to stop.
        """
        home = self.cluster.homes[state]
        self.cluster.start(state)
        process = home.process
        assert process is not None

        def is_decided() -> bool:
            return process.poll() is not None or any(
                line.get("event") == "ready" for line in home.log_lines()
            )

        await self.cluster.until(is_decided, f"{state} starts or refuses", READY_S)
        if process.poll() is not None:
            await self.expect_end(state, 1.0)
            return "refused"
        process.send_signal(signal.SIGTERM)
        await self.cluster.until(lambda: process.poll() is not None, f"{state} stops", READY_S)
        if process.returncode == 0:
            home.process = None
            return "not noticed before it was stopped"
        await self.expect_end(state, 1.0)
        return "noticed as it was stopped"

    async def rebuild(self, state: str) -> None:
        """RUNBOOK.md, Rebuild: the store is set aside, the sign state stays."""
        store = self.data(state) / "rocksdb"
        self.lost_disks += 1
        store.rename(store.with_name(f"rocksdb.damaged{self.lost_disks}"))
        await self.restart(state)

    def unmount(self) -> None:
        """Once no node runs: then the folder is like any other."""
        for state in (self.small, self.brittle) if self.real_ext4 else (self.small,):
            sh("umount", str(self.data(state)))

    def close(self) -> None:
        self.wires.kill()
        self.wires.wait(10)


def found_site(folder: Path, *, nodes: int, seed: int, pace: str, authors: int) -> Site:
    """Hosts, cables, disks, and a genesis signed by all. No node runs yet."""
    chance = random.Random(seed)
    states = STATES[:nodes]
    small, brittle, astray = chance.sample(states, 3)
    wires = _lay_wires(states, seed)
    hosts = [f"{address(host)}:{port}" for host in range(nodes) for port in PORTS]
    hosts[3::4] = [f"127.0.0.1:{PORTS[3]}"] * nodes
    founded = found_cluster(
        folder / "homes", states=states, operators=authors, pace=pace, addresses=hosts
    )
    environment = {
        CLOCK_VARIABLE: str(clock_file(folder)),
        "FOEDUS_LOG_DECISIONS": DECISIONS,
    }
    cluster = Hosts(
        genesis=founded.genesis,
        document=founded.document,
        homes=founded.homes,
        operators=founded.operators,
        environment=environment,
        astray=astray,
    )
    site = Site(
        folder=folder,
        chance=chance,
        cluster=cluster,
        wires=wires,
        small=small,
        brittle=brittle,
        astray=astray,
    )
    for state in states:
        site.data(state).mkdir(mode=0o700)
    sh("mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "small", str(site.data(small)))
    site.real_ext4 = _format_brittle(site)
    site.set_clock(0)
    site.weather()
    return site


def _lay_wires(states: tuple[str, ...], seed: int) -> subprocess.Popen[str]:
    names = [f"host{number}" for number in range(len(states))] + ["world"]
    wires = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.wires", str(seed), *names],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert wires.stdout is not None
    assert wires.stdout.readline() == "ready\n", "the wires did not start: see above"
    for number, state in enumerate(states):
        sh("ip", "netns", "add", state)
        sh("ip", "link", "set", names[number], "netns", state)
        sh("ip", "-n", state, "link", "set", "lo", "up")
        _up(["ip", "-n", state], number, names[number])
    _up(["ip"], len(states), "world")
    return wires


def _up(ip: list[str], number: int, name: str) -> None:
    sh(*ip, "addr", "add", f"{address(number)}/24", "dev", name)
    sh(*ip, "link", "set", name, "up")


def _format_brittle(site: Site) -> bool:
    """False where no file can be mounted (no loop devices): then that disk is an ordinary folder."""
    image = image_file(site.folder)
    with image.open("wb") as file:
        file.truncate(BRITTLE_MIB << 20)
    sh("mkfs.ext4", "-q", "-E", "lazy_itable_init=1", str(image))
    try:
        mount_image(image, site.data(site.brittle))
    except RuntimeError as err:
        print(f"no disk that can turn read-only: {err}", flush=True)
        return False
    return True


def mount_image(image: Path, place: Path) -> None:
    sh("mount", "-o", "loop", str(image), str(place))


def image_file(folder: Path) -> Path:
    return folder / "brittle.img"


def clock_file(folder: Path) -> Path:
    return folder / "clock"


def write_whole(path: Path, text: str) -> None:
    """A reader sees the old text or the new one."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="ascii")
    fresh.rename(path)


async def grows(read: Any, above: int, seconds: float) -> bool:
    """Whether `read()` (awaitable, an integer) passes `above` in time; answers that fail count as no."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if await read() > above:
                return True
        except grpc.aio.AioRpcError:
            pass
        await asyncio.sleep(0.2)
    return False
