"""One state's flood and the others' latency, with real processes: `python -m bench.flood [--seconds 10]`.

Four nodes on loopback. Authors of two states give their own nodes a few entries a second; then once more, while the authors of
a third state give those same two nodes as many as they will take. Printed: milliseconds until final, median and 99 of 100, of the
two states alone, quiet and flooded, and the ratios. Nodes and generators share this machine's processors, which a flood fills:
in virtual time, without processors, see tests/simulation/test_flood.py.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any, Final

from node.cli.bench.localnet import Generators, declare, lanes_of
from node.cli.bench.workload import STATEMENT_BYTES, Lane
from node.cli.founding import GENESIS_FILE
from node.cli.localnet import Localnet
from node.signing.keystore import KdfCost

STATES: Final = ("US", "CN", "GB", "KE")
QUIET: Final = ("US", "CN")
FLOODER: Final = "KE"
LANES_PER_NODE: Final = 16
RATE: Final = 40.0  # entries a second of the quiet ones, over both nodes
IN_FLIGHT: Final = 8_192  # of the flood, at each node
FLOOD_PER_S: Final = 3_000  # signed for it, more than two cores take
CHEAP: Final = KdfCost(ops=1, memory_bytes=8 * 1024 * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.flood")
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="foedus-flood-") as temporary:
        quiet, flooded, flood = run(Path(temporary), seconds)
    before, during = latency_ms(quiet), latency_ms(flooded)
    for name, phase, (middle, most) in (("quiet", quiet, before), ("flooded", flooded, during)):
        print(f"{name}: {phase['final']} entries, p50 {middle:.0f} ms, p99 {most:.0f} ms")
    print(f"the flood: {flood['final_in_time'] / seconds:.0f} entries a second final")
    print(f"ratio: p50 {during[0] / before[0]:.2f}, p99 {during[1] / before[1]:.2f}")


def latency_ms(phase: dict[str, Any]) -> tuple[float, float]:
    """Until final: the median of all calls, and what 99 of 100 take at most."""
    found = sorted(ms for ms, _ in phase["calls"])
    return found[len(found) // 2], found[len(found) * 99 // 100]


def run(folder: Path, seconds: float) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What the quiet ones met alone, what they met beside the flood, and the flood's own figures."""
    net = Localnet.found(folder, states=STATES, operators=len(STATES) * LANES_PER_NODE, cost=CHEAP)
    with net, Generators(2, folder) as generators:
        net.start_all()
        net.wait_ready()
        lanes, facilities = lanes_of(net)
        asyncio.run(declare(net, facilities, nodes=len(STATES)))
        calm = [lane for lane in lanes if lane.node in QUIET]
        storm = [lane for lane in lanes if lane.node == FLOODER]
        for number, lane in enumerate(storm):
            lane.node = QUIET[number % len(QUIET)]
        generators.command([_hand_over(net, calm), _hand_over(net, storm)], _silent)
        prepare = {"do": "prepare", "bytes": STATEMENT_BYTES}
        generators.command(
            [
                {**prepare, "entries": int(3 * seconds * RATE)},
                {**prepare, "entries": int(seconds * FLOOD_PER_S)},
            ],
            _silent,
        )
        offered = {"do": "open", "seconds": seconds, "rate": RATE}
        nothing = {"do": "closed", "seconds": 0.0, "in_flight": 1}
        quiet, _ = generators.command([offered, nothing], _silent)
        storming = {"do": "closed", "seconds": seconds, "in_flight": IN_FLIGHT}
        flooded, flood = generators.command([offered, storming], _silent)
    return quiet, flooded, flood


def _hand_over(net: Localnet, lanes: list[Lane]) -> dict[str, Any]:
    return {
        "do": "lanes",
        "genesis": str(net.nodes[STATES[0]].home.folder / GENESIS_FILE),
        "lanes": [
            {
                "author": lane.author,
                "seed": lane.key.seed.hex(),
                "node": lane.node,
                "seq": lane.seq,
                "prev": lane.prev.hex(),
            }
            for lane in lanes
        ],
    }


def _silent(text: str) -> None:
    del text


if __name__ == "__main__":
    main()
