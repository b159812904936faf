"""One run of the bench: found, start, warm up, measure at full load and at half, measure the limit, stop.

The warm-up finds roughly what the network does, so that enough statements can be signed before the clock starts. The limit is
measured in the same run, before and after the loads, with the nodes idle; the higher figure counts, since whatever else the
machine did can only have lowered one.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from foedus.v1 import client_pb2 as pb
from node.cli.bench import figures, meters
from node.cli.bench.figures import NodeUse, Phase, Run
from node.cli.bench.workload import STATEMENT_BYTES, Lane
from node.cli.client import LedgerClient
from node.cli.errors import CouldNot, Refused
from node.cli.founding import GENESIS_FILE
from node.cli.localnet import Localnet

STATES: Final = (
    *("US", "CN", "GB", "KE", "BR", "IN", "FR", "DE", "JP", "ZA"),
    *("CA", "AU", "KR", "NG", "MX", "ID", "EG", "AR", "SE", "CL"),
)
LANES_PER_NODE: Final = 16
IN_FLIGHT: Final = 1024  # entries of one node on their way at full load
WARM_UP_S: Final = 3.0
WARM_UP_ENTRIES_PER_S: Final = 4_000  # signed for it; using them up only ends it sooner
SPARE: Final = 1.5  # statements signed for full load, over what the warm-up promises
SPARE_HALF: Final = 1.1
SETTLE_S: Final = 30.0
LIMIT_SAMPLE: Final = 256
GENERATOR_MODULE: Final = "node.cli.bench.load"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    states: int
    seconds: float
    generators: int = 1
    in_flight: int = IN_FLIGHT
    module: str = ""  # what each node's process runs; empty: node.main


class Generators:
    """The load's processes. Each has its own lanes of every node; commands go to all at once."""

    def __init__(self, count: int, folder: Path) -> None:
        self._stack = ExitStack()
        self._folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self._count = count

    def __enter__(self) -> Self:
        for number in range(self._count):
            log = self._stack.enter_context((self._folder / f"load{number}.log").open("wb"))
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", GENERATOR_MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
            self.processes.append(process)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._stack.close()

    def cpu_s(self) -> float:
        return sum(meters.read_process(process.pid).cpu_s for process in self.processes)

    def command(self, documents: Sequence[Mapping[str, Any]], say: Say) -> list[dict[str, Any]]:
        """One command to each; their answers once all have done it. Raises CouldNot with what a generator said."""
        for process, document in zip(self.processes, documents, strict=True):
            assert process.stdin is not None, "opened with a pipe"
            process.stdin.write(json.dumps(document) + "\n")
            process.stdin.flush()
        return [self._done(number, say) for number in range(self._count)]

    def _done(self, number: int, say: Say) -> dict[str, Any]:
        process = self.processes[number]
        assert process.stdout is not None, "opened with a pipe"
        for line in process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "done" in answer:
                done: dict[str, Any] = answer["done"]
                return done
            if "error" in answer:
                raise CouldNot(f"load generator: {answer['error']}")
            say(f"signing statements: {answer['signed']} of {answer['of']}")
        log = (self._folder / f"load{number}.log").read_text(errors="replace")
        raise CouldNot(
            f"load generator ended with status {process.wait()}: {log.splitlines()[-1:]}"
        )


def run(plan: Plan, folder: Path, say: Say) -> Run:
    """Measure. `say` is told each step. Raises CouldNot, OSError."""
    began = time.monotonic()
    meters.require_proc()
    states = STATES[: plan.states]
    say(f"founding a ledger of {plan.states} states")
    net = Localnet.found(
        folder, states=states, operators=plan.states * LANES_PER_NODE, module=plan.module
    )
    with net, Generators(plan.generators, folder) as generators:
        net.start_all()
        say(f"starting {plan.states} nodes")
        net.wait_ready()
        lanes, facilities = lanes_of(net)
        asyncio.run(declare(net, facilities, nodes=plan.states))
        hand_over(net, generators, lanes)
        bench = _Bench(net, generators, say)
        sample = _sample(lanes)
        say("measuring the signature limit")
        before = meters.verifications_per_second(sample)
        full, half, half_rate = bench.loads(plan)
        say("measuring the signature limit again")
        after = meters.verifications_per_second(sample)
        size, root = asyncio.run(_agreed(net, lanes, full, half))
        say("stopping the nodes")
        net.stop()
    return Run(
        machine=meters.machine(),
        version=_version(),
        cores=meters.cores(),
        statement_bytes=STATEMENT_BYTES,
        verifications_per_second=max(before, after),
        full=full,
        half=half,
        half_rate=half_rate,
        log_size=size,
        root=root,
        total_s=time.monotonic() - began,
    )


class _Bench:
    """The loads of one run."""

    def __init__(self, net: Localnet, generators: Generators, say: Say) -> None:
        self._net = net
        self._generators = generators
        self._say = say

    def loads(self, plan: Plan) -> tuple[Phase, Phase, float]:
        """Full load, half load, and the rate offered at half load."""
        in_flight = max(1, plan.in_flight // plan.generators)
        self._say("warming up")
        self._prepare(WARM_UP_S * WARM_UP_ENTRIES_PER_S)
        warm = self._phase({"do": "closed", "seconds": WARM_UP_S, "in_flight": in_flight})
        busy_s = max(answer_s for answer_s in (warm.seconds, 0.1))
        self._prepare(SPARE * plan.seconds * warm.final / busy_s)
        self._say(f"full load, {plan.seconds:g} s")
        full = self._phase({"do": "closed", "seconds": plan.seconds, "in_flight": in_flight})
        rate = full.entries_per_second / 2
        if rate < 1:
            raise CouldNot(
                f"nothing to halve: {full.final_in_time} entries were final in {plan.seconds:g} s"
            )
        self._prepare(SPARE_HALF * plan.seconds * rate)
        self._say(f"half load, {rate:.0f} entries a second, {plan.seconds:g} s")
        share = rate / plan.generators
        half = self._phase({"do": "open", "seconds": plan.seconds, "rate": share})
        return full, half, rate

    def _prepare(self, entries: float) -> None:
        count = len(self._generators.processes)
        command = {"do": "prepare", "entries": int(entries) // count + 1, "bytes": STATEMENT_BYTES}
        self._generators.command([command] * count, self._say)

    def _phase(self, command: Mapping[str, Any]) -> Phase:
        cpu_before = {s: meters.read_process(node.pid).cpu_s for s, node in self._net.nodes.items()}
        generator_before = self._generators.cpu_s()
        wire_before = meters.loopback_bytes()
        answers = self._generators.command([command] * len(self._generators.processes), self._say)
        wire = meters.loopback_bytes() - wire_before
        self._net.check_running()
        readings = {s: meters.read_process(node.pid) for s, node in self._net.nodes.items()}
        return figures.joined(
            answers,
            nodes=[
                NodeUse(
                    state=state,
                    cpu_s=reading.cpu_s - cpu_before[state],
                    rss_peak_bytes=reading.rss_peak_bytes,
                )
                for state, reading in readings.items()
            ],
            generator_cpu_s=self._generators.cpu_s() - generator_before,
            wire_bytes=wire,
        )


def lanes_of(net: Localnet) -> tuple[list[Lane], list[bytes]]:
    """One lane for each operator, given to its own state's node; and each one's first entry, its facility."""
    lanes, facilities = [], []
    for number, keys in enumerate(net.operators):
        state = net.state_of_operator(number)
        lane = Lane(
            author=keys.author_id, key=keys.author, node=state, chain_id=net.founded.chain_id
        )
        facilities.append(lane.declare(net.nodes[state].home.agency_keys))
        lanes.append(lane)
    return lanes, facilities


async def declare(net: Localnet, facilities: Sequence[bytes], *, nodes: int) -> None:
    """The facilities on the ledger, by the first `nodes` nodes, before anything is measured. Raises CouldNot."""
    addresses = net.addresses()[:nodes]
    for number, address in enumerate(addresses):
        async with LedgerClient(address) as client:
            taken = await client.submit_many(facilities[number :: len(addresses)])
            for answer in taken:
                if isinstance(answer, Refused):
                    raise answer
                progress = await client.wait_final(answer.entry_hash, within_s=SETTLE_S)
                if progress.code:
                    raise CouldNot(f"a facility of the bench was refused: {progress.code}")


def hand_over(net: Localnet, generators: Generators, lanes: Sequence[Lane]) -> None:
    """Tell each generator its lanes: every node's, in turn."""
    genesis = str(next(iter(net.nodes.values())).home.folder / GENESIS_FILE)
    count, nodes = len(generators.processes), len(net.nodes)
    documents = [
        {
            "do": "lanes",
            "genesis": genesis,
            "lanes": [
                {
                    "author": lane.author,
                    "seed": lane.key.seed.hex(),
                    "node": lane.node,
                    "seq": lane.seq,
                    "prev": lane.prev.hex(),
                }
                for place, lane in enumerate(lanes)
                if place // nodes % count == number
            ],
        }
        for number in range(count)
    ]
    generators.command(documents, lambda _: None)


def _sample(lanes: Sequence[Lane]) -> list[tuple[bytes, bytes]]:
    """Statements as the load's, by authors of the load, that nobody sends: to measure the limit with."""
    lane = lanes[0]
    spare = Lane(author=lane.author, key=lane.key, node=lane.node, chain_id=lane.chain_id)
    spare.sign_more(LIMIT_SAMPLE, STATEMENT_BYTES)
    return [(spare.key.public, entry) for entry in spare.ready]


async def _agreed(
    net: Localnet, lanes: Sequence[Lane], full: Phase, half: Phase
) -> tuple[int, str]:
    """One root on all nodes, no entry refused by the law. Raises CouldNot if the run proves nothing."""
    if (full.final, half.final) != (full.submitted, half.submitted):
        raise CouldNot(
            f"sent {full.submitted} and {half.submitted}, final {full.final}, {half.final}"
        )
    deadline = time.monotonic() + SETTLE_S
    while True:
        answers = [await _status(net, number) for number in range(len(net.nodes))]
        found = {(answer.log_size, answer.final_size, answer.root) for answer in answers}
        if len(found) == 1 and all(size == final for size, final, _ in found):
            break
        if time.monotonic() > deadline:
            shown = ", ".join(
                f"{answer.state} {answer.final_size}/{answer.log_size} {answer.root.hex()[:16]}"
                for answer in answers
            )
            raise CouldNot(f"the nodes do not agree {SETTLE_S:g} s after the last entry: {shown}")
        await asyncio.sleep(0.1)
    async with LedgerClient(net.addresses()[0]) as client:
        refused = await client.list_entries(pb.ListRequest(kind="rejected", limit=1))
        if refused.entries:
            raise CouldNot(f"the law refused a statement of the bench: {refused.entries[0].json}")
    assert len(lanes) == len(net.operators), "every operator is a lane"
    return answers[0].log_size, answers[0].root.hex()


async def _status(net: Localnet, number: int) -> pb.GetStatusResponse:
    async with LedgerClient(net.addresses()[number]) as client:
        return await client.status()


def _version() -> str:
    try:
        return metadata.version("foedus")
    except metadata.PackageNotFoundError:
        return "not installed"  # run from a checkout
