"""One run, from founding to verdict, inside a sandbox (`python -m tests.chaos` makes it).

    authors submit without pause ─────────────────────────────────────────────────────────┐
    fault ─► does the rest go on? ─► end ─► all final everywhere within a bound? ─► next ──┴─► stop all ─► read the disks

Every draw comes from the seed; the machine's own timing does not.
"""

import argparse
import asyncio
import random
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from tests.chaos.checker import Shown, check
from tests.chaos.faults import EVERY, MORE, Fault
from tests.chaos.load import Load, make_load
from tests.chaos.sandbox import enter
from tests.chaos.site import DECISIONS, READY_S, Site, found_site, grows

ROAMING = 2
HOLD_S = (2.0, 8.0)  # how long a fault lasts at least
GOES_ON_S = 40.0  # with at most f members hurt, the others make something final within this
HEAL_S = (
    60.0  # once all hosts are whole, everything acknowledged until then is final at all within this
)
HEAL_PART = (
    0.25  # and for each second that the ledger has lived: a store begun anew reads all of it again
)
SAMPLE_S = 0.5
QUICK_HOLD_S = (1.0, 2.0)


@dataclass(kw_only=True)
class Run:
    site: Site
    load: Load
    hold_s: tuple[float, float]
    began: float = field(default_factory=time.monotonic)
    shown: set[Shown] = field(default_factory=set)
    healed_s: list[float] = field(default_factory=list)
    episodes: int = 0

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    async def watch(self, over: asyncio.Event) -> None:
        """Keep every root that a node shows for a size."""
        while not over.is_set():
            for state in self.site.running():
                await self._look(state)
            await asyncio.sleep(SAMPLE_S)

    async def _look(self, state: str) -> None:
        try:
            async with asyncio.timeout(3):
                answer = await self.site.cluster.status(state)
        except (grpc.aio.AioRpcError, TimeoutError):
            return
        assert not answer.alarms, f"{state}: {list(answer.alarms)}"
        self.shown.add((state, answer.log_size, answer.root))
        if answer.final_size:
            self.shown.add((state, answer.final_size, answer.final_root))

    async def episode(self, fault: Fault) -> None:
        """One fault: it comes, the others go on, it ends, all agree again."""
        self.episodes += 1
        self.say(fault.text)
        chance = self.site.chance
        hold_s = chance.uniform(*self.hold_s)
        observer = next((s for s in self.site.states if s not in fault.hurt), None)
        start = time.monotonic()
        before = 0 if observer is None else await self._final_size(observer)
        await fault.begin(self.site, self.load)
        if observer is not None and not fault.stops_all:
            went_on = await grows(lambda: self._final_size(observer), before, GOES_ON_S)
            assert went_on, f"{fault.text}: nothing became final at {observer} within {GOES_ON_S} s"
            waited = time.monotonic() - start
            self.say(f"  others go on: something final after {waited:.1f} s")
        await asyncio.sleep(max(0.0, hold_s - (time.monotonic() - start)))
        await fault.end(self.site, self.load)
        self.say(f"  over: {fault.text}")
        await self.heal(fault.text)

    async def heal(self, what: str) -> None:
        promised = self.load.newest_promises()
        start = time.monotonic()
        bound = HEAL_S + HEAL_PART * (start - self.began)
        cluster = self.site.cluster

        async def all_agree() -> bool:
            try:
                found = await asyncio.gather(
                    *(cluster.all_final(promised, state) for state in self.site.states)
                )
            except grpc.aio.AioRpcError:
                return False
            return all(found)

        await cluster.until(all_agree, f"all final everywhere after: {what}", bound, every_s=0.2)
        self.healed_s.append(time.monotonic() - start)
        self.say(f"  all final everywhere {self.healed_s[-1]:.1f} s after the end")

    async def _final_size(self, state: str) -> int:
        return (await self.site.cluster.status(state)).final_size

    async def rest(self) -> None:
        """After the load: everything final, one root, nothing waiting."""
        cluster = self.site.cluster

        async def at_rest() -> bool:
            try:
                if not await cluster.one_root():
                    return False
                answers = (await cluster.statuses()).values()
            except grpc.aio.AioRpcError:
                return False
            return all(answer.mempool_entries == 0 for answer in answers)

        await cluster.until(at_rest, "one root, nothing waiting", HEAL_S, every_s=0.3)


def schedule(site: Site, seconds: float | None) -> Iterator[Fault]:
    """Without a time: each kind once, in an order of the seed's. Else whatever it draws until the time is over."""
    chance = site.chance
    if seconds is None:
        kinds = chance.sample(EVERY, len(EVERY))
        for draw in kinds:
            if draw.__name__ != "disk_read_only" or site.real_ext4:
                yield draw(chance, site)
        return
    end = time.monotonic() + seconds
    pool = [draw for draw in MORE if draw.__name__ != "disk_read_only" or site.real_ext4]
    while time.monotonic() < end:
        yield chance.choice(pool)(chance, site)


async def chaos(site: Site, seconds: float | None) -> Run:
    """Everything until the load is over and the nodes are at rest."""
    load = make_load(site)
    run = Run(site=site, load=load, hold_s=QUICK_HOLD_S if seconds is None else HOLD_S)
    site.cluster.start_all()
    await site.cluster.wait_ready(seconds=READY_S)
    run.say(
        f"{len(site.states)} nodes serve; small disk {site.small}, brittle {site.brittle}, clock {site.astray}"
    )
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load.run(over))
        tasks.create_task(run.watch(over))
        acknowledged = load.records.acknowledged
        await site.cluster.until(
            lambda: len(acknowledged) > len(site.states), "first promises", READY_S
        )
        await run.heal("founding")
        for fault in schedule(site, seconds):
            await run.episode(fault)
        over.set()
    await run.rest()
    await load.close()
    return run


def verdict(run: Run) -> None:
    """Stop everything and read the disks."""
    site, records = run.site, run.load.records
    ends = site.cluster.stop_all()
    assert set(ends.values()) == {0}, f"exit statuses {ends}"
    for state, home in site.cluster.homes.items():
        text = home.log.read_text(encoding="utf-8", errors="replace")
        # A process that broke; a trace inside a log line of a node that ended in order is no such thing.
        at = text.find("\nTraceback")
        assert at < 0, f"{state}:\n{text[at:][:4000]}"
    found = check(
        {state: site.data(state) / "rocksdb" for state in site.states},
        {digest: promise.node for digest, promise in records.acknowledged.items()},
        run.shown,
        {state: home.folder / DECISIONS for state, home in site.cluster.homes.items()},
    )
    wires = site.tell_wires({})
    latency = sorted(records.latency_s) or [0.0]
    run.say(
        f"{run.episodes} episodes; {found.leaves} leaves and {found.blocks} blocks alike in {len(site.states)} stores,"
        f" root {found.root.hex()[:16]}; {found.acknowledged} entries acknowledged, none lost;"
        f" {found.roots_checked} roots shown, all right; {found.slots} leader slots decided alike"
    )
    run.say(
        f"acknowledged to seen final: median {statistics.median(latency):.1f} s, 99 of 100 within"
        f" {latency[int(len(latency) * 0.99)]:.1f} s; healed within {max(run.healed_s):.1f} s at most,"
        f" median {statistics.median(run.healed_s):.1f} s; packets carried {wires['carried']}, lost {wires['lost']}"
    )
    run.say(f"refused: {dict(records.refusals.most_common(12))}")
    assert found.acknowledged > 5 * run.episodes, "hardly any load: the run shows nothing"


@contextmanager
def kept_on_failure(seed: int, again: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="foedus-chaos-"))
    try:
        yield folder
    except BaseException:
        print(f"FAILED with seed {seed}; replay: {again}; the homes are in {folder}", flush=True)
        raise
    shutil.rmtree(folder)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument(
        "--minutes", type=float, help="draw faults for so long; else each kind once"
    )
    parser.add_argument("--nodes", type=int, default=0, choices=(0, 5, 7), help="0: drawn")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--pace", choices=("wan", "drill"), default="wan")
    options = parser.parse_args(argv)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    nodes = options.nodes or random.Random(seed).choice((5, 7))
    minutes = "" if options.minutes is None else f" --minutes {options.minutes:g}"
    again = f"python -m tests.chaos --seed {seed} --nodes {nodes} --pace {options.pace}{minutes}"
    print(f"seed {seed}: {again}", flush=True)
    enter()
    with kept_on_failure(seed, again) as folder:
        site = found_site(
            folder, nodes=nodes, seed=seed, pace=options.pace, authors=nodes + ROAMING
        )
        try:
            with site.cluster:
                seconds = None if options.minutes is None else options.minutes * 60
                verdict(asyncio.run(chaos(site, seconds)))
        finally:
            site.close()
        site.unmount()
    print("chaos: all well", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
