"""How fast a node far behind catches up, while entries keep coming, against how fast the network goes meanwhile (SPEC 11).

    all but one run under load          the last has never run: everything is new to it
    it starts                           from zero: until it is near the others
    all run under load                  live speed
    it is killed (SIGKILL), and away    the others go on
    it starts                           long absent: until it is near the others

Load is a fixed rate by the clock, given to the others' nodes. Positions are asked of the nodes themselves, every `POLL_S`.
"""

import asyncio
import contextlib
import time
import urllib.request
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from consensus.commit_sync import NEAR_COMMITS
from foedus.v1 import client_pb2 as pb
from node.cli.bench import meters
from node.cli.bench.localnet import LANES_PER_NODE, STATES, Generators, declare, hand_over, lanes_of
from node.cli.bench.workload import STATEMENT_BYTES
from node.cli.client import LedgerClient
from node.cli.errors import ClientError, CouldNot
from node.cli.localnet import Localnet

POLL_S: Final = 0.1
START_S: Final = 60.0
CATCH_UP_S: Final = 300.0
AGREE_S: Final = 60.0
SPARE: Final = 1.1  # statements signed, over what the rate needs
CERTIFIED: Final = "foedus_commits_certified_total"

Say = Callable[[str], None]
Answers = list[dict[str, Any]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    states: int
    rate: float  # entries a second, over all nodes that are given any
    away_s: float
    live_s: float
    module: str = ""  # what each node's process runs; empty: node.main


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where one node stood at one moment."""

    at: float  # time.monotonic()
    commit: int
    entries: int  # of its log

    def since(self, before: "Position") -> "Progress":
        return Progress(
            seconds=self.at - before.at,
            commits=self.commit - before.commit,
            entries=self.entries - before.entries,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """From one position to a later one."""

    seconds: float
    commits: int
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtUp:
    """One catching up."""

    behind: int  # commits, when the node answered for the first time
    ready_s: float  # from the start of its process until it answered
    own: Progress
    others: Progress  # in the same time
    certified: int  # commits taken over on a certificate
    cpu_s: float
    rss_peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All of one run."""

    plan: Plan
    from_zero: CaughtUp
    live: Progress
    absent: CaughtUp
    log_size: int
    root: str
    total_s: float


def run(plan: Plan, folder: Path, say: Say) -> Found:
    """Measure. `say` is told each step. Raises CouldNot, OSError."""
    meters.require_proc()
    began = time.monotonic()
    states = STATES[: plan.states]
    say(f"founding a ledger of {plan.states} states")
    net = Localnet.found(
        folder, states=states, operators=plan.states * LANES_PER_NODE, module=plan.module
    )
    with net, Generators(1, folder) as generators:
        for state in states[:-1]:
            net.start(state)
        say(f"starting {plan.states - 1} nodes; {states[-1]} stays away")
        net.wait_ready()
        lanes, facilities = lanes_of(net)
        asyncio.run(declare(net, facilities, nodes=plan.states - 1))
        loaded = [lane for lane in lanes if lane.node != states[-1]]
        hand_over(net, generators, loaded)
        # Enough for the longest that this may take; what is left over is not sent.
        most_s = 2 * (plan.away_s + START_S) + plan.live_s + CATCH_UP_S
        entries = int(SPARE * plan.rate * most_s)
        generators.command([{"do": "prepare", "entries": entries, "bytes": STATEMENT_BYTES}], say)
        found = asyncio.run(_Bench(net, plan, say).measure(generators, most_s, began))
        say("stopping the nodes")
        net.stop()
    return found


class _Bench:
    """The steps of one run; the last state's node is the one that falls behind."""

    def __init__(self, net: Localnet, plan: Plan, say: Say) -> None:
        self._net = net
        self._plan = plan
        self._say = say
        self._late = net.states[-1]

    async def measure(self, generators: Generators, most_s: float, began: float) -> Found:
        plan = self._plan
        command = {"do": "open", "seconds": most_s, "rate": plan.rate}
        load = asyncio.create_task(asyncio.to_thread(generators.command, [command], self._say))
        try:
            self._say(f"{plan.rate:g} entries a second, {plan.away_s:g} s without {self._late}")
            await self._watched(load, asyncio.sleep(plan.away_s))
            from_zero = await self._watched(load, self._catch_up("from zero"))
            self._say(f"all nodes, {plan.live_s:g} s")
            before = await self._position(0)
            await self._watched(load, asyncio.sleep(plan.live_s))
            live = (await self._position(0)).since(before)
            self._net.kill(self._late)
            self._say(f"{self._late} killed; {plan.away_s:g} s without it")
            await self._watched(load, asyncio.sleep(plan.away_s))
            absent = await self._watched(load, self._catch_up("long absent"))
        finally:
            for process in generators.processes:
                process.kill()
            with contextlib.suppress(CouldNot):
                await load
        size, root = await self._agreed()
        return Found(
            plan=plan,
            from_zero=from_zero,
            live=live,
            absent=absent,
            log_size=size,
            root=root,
            total_s=time.monotonic() - began,
        )

    async def _watched(self, load: "asyncio.Task[Answers]", step: Coroutine[None, None, T]) -> T:
        """The step's result. Raises CouldNot if the load ends meanwhile."""
        task = asyncio.ensure_future(step)
        await asyncio.wait((load, task), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await load
            raise CouldNot("the load ended before its time")
        return task.result()

    async def _catch_up(self, how: str) -> CaughtUp:
        """Start the node and follow it until it is near the others. Raises CouldNot."""
        began = time.monotonic()
        self._net.start(self._late)
        number = len(self._net.states) - 1
        first = await self._first_position(number, began + START_S)
        others_first = await self._position(0)
        behind = others_first.commit - first.commit
        self._say(f"{self._late} {how}: {behind} commits behind")
        while True:
            own, others = await self._position(number), await self._position(0)
            if own.commit + NEAR_COMMITS >= others.commit:
                break
            if own.at - first.at > CATCH_UP_S:
                left = others.commit - own.commit
                raise CouldNot(f"{self._late} is {left} commits behind after {CATCH_UP_S:g} s")
            await asyncio.sleep(POLL_S)
        reading = meters.read_process(self._net.nodes[self._late].pid)
        found = CaughtUp(
            behind=behind,
            ready_s=first.at - began,
            own=own.since(first),
            others=others.since(others_first),
            certified=await asyncio.to_thread(self._certified),
            cpu_s=reading.cpu_s,
            rss_peak_bytes=reading.rss_peak_bytes,
        )
        self._say(f"{found.own.commits} commits in {found.own.seconds:.1f} s")
        return found

    async def _first_position(self, number: int, deadline: float) -> Position:
        while True:
            with contextlib.suppress(ClientError):
                return await self._position(number)
            self._net.check_running()
            if time.monotonic() > deadline:
                raise CouldNot(f"{self._late} answers nobody {START_S:g} s after its start")
            await asyncio.sleep(POLL_S)

    async def _position(self, number: int) -> Position:
        status = await self._status(number)
        return Position(at=time.monotonic(), commit=status.commit_index, entries=status.log_size)

    async def _status(self, number: int) -> pb.GetStatusResponse:
        async with LedgerClient(self._net.addresses()[number]) as client:
            return await client.status()

    def _certified(self) -> int:
        """Commits that the late node took over on a certificate, as its metrics say. Raises CouldNot."""
        address = self._net.nodes[self._late].listen.metrics
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        for line in lines:
            if line.startswith(CERTIFIED):
                return int(float(line.split()[-1]))
        raise CouldNot(f"{self._late} shows no metric {CERTIFIED}")

    async def _agreed(self) -> tuple[int, str]:
        """One log on all nodes, once what was sent is in it. Raises CouldNot."""
        deadline = time.monotonic() + AGREE_S
        while True:
            found = [await self._status(number) for number in range(len(self._net.states))]
            logs = {(status.log_size, status.root) for status in found}
            if len(logs) == 1:
                return found[0].log_size, found[0].root.hex()
            if time.monotonic() > deadline:
                sizes = ", ".join(f"{status.state} {status.log_size}" for status in found)
                raise CouldNot(f"the nodes do not agree {AGREE_S:g} s after the end: {sizes}")
            await asyncio.sleep(POLL_S)
