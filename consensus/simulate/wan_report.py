"""`python -m consensus.simulate wan`: `wan` and `fed` for several sizes, each without faults, with f/2 and with f crashed."""

import json
from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from consensus.committee import Committee, quorum_of
from consensus.pace import between_states
from consensus.simulate import fed, wan
from consensus.simulate.capitals import capitals, four_hops_ms, matrix_of, median_link_ms, some
from consensus.simulate.console import Parser, Progress, text_table
from consensus.types import Digest, Millis

STATES: Final = (20, 50, 100, 195)
CORES_UP_TO: Final = 10
Row = dict[str, Any]

SAID: Final = tuple(
    """\
Simulated, not run between capitals. One-way time = 5 ms + 1.8 x great circle / (200 km/ms), constant; nothing lost; no bandwidth.
p50 and p99: from a member's block to its order at that member. An entry waits half a round before, on average.
From: cores = every member runs the shipping core; schedule = its rules as arithmetic on arrival times, tested against cores.
Crashed members were so for two leader timeouts before: their turns to lead are not waited for (decision 0166).
Floor: block to leader, leader to all, a quorum of votes to all, a quorum of certificates back, over the same links, no waiting.
Processor time, bytes, memory, deciding: one shipping core on this machine, fed with the others' blocks. No signatures, no ledger.
Deciding a slot: the longest step that ordered a commit, all that it does included, by the slots it decided: several at once after
leaders that are down. Memory: at the full depth of 128 rounds.
""".splitlines()
)


def main(arguments: Sequence[str]) -> int:
    parser = Parser(prog="foedus simulate wan")
    parser.add_argument("--states", type=_sizes, default=list(STATES), metavar="20,50,100,195")
    parser.add_argument("--rounds", type=int, default=20, metavar="N")
    parser.add_argument("--min-round-ms", type=int, metavar="MS")
    parser.add_argument("--cores-up-to", type=int, default=CORES_UP_TO, metavar="N")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    for name in ("rounds", "min_round_ms"):
        given = getattr(args, name)
        if given is not None and given < 1:
            parser.error(f"--{name.replace('_', '-')} {given}: at least 1")
    document = examine(
        args.states,
        rounds=args.rounds,
        cores_up_to=args.cores_up_to,
        min_round_ms=args.min_round_ms,
    )
    print(json.dumps(document) if args.json else as_text(document))
    return 0


def _sizes(text: str) -> list[int]:
    parts = text.split(",")
    most = len(capitals())
    if not all(part.isdigit() and 4 <= int(part) <= most for part in parts):
        raise ArgumentTypeError(f"{text!r}: numbers from 4 to {most}, as 20,50")
    return sorted({int(part) for part in parts})


def examine(
    sizes: Sequence[int], *, rounds: int, cores_up_to: int, min_round_ms: int | None = None
) -> Row:
    progress = Progress(3 * len(sizes), "wan")
    found: dict[str, dict[str, Row]] = {}
    done = 0
    for size in sizes:
        faults = size - quorum_of(size)
        found[str(size)] = {}
        for name, count in (("0", 0), ("f/2", faults // 2), ("f", faults)):
            progress.at(done, f"{size} states, {count} crashed")
            found[str(size)][name] = _row(size, count, rounds, cores_up_to, min_round_ms)
            done += 1
    progress.end()
    return {"sizes": found, "said": list(SAID)}


def _row(size: int, count: int, rounds: int, cores_up_to: int, min_round_ms: int | None) -> Row:
    parameters = between_states(size)
    if min_round_ms is not None:
        parameters = replace(parameters, min_round_delay_ms=min_round_ms)
    matrix = matrix_of(some(size))
    crashed = wan.crashed_of(size, count)
    alive = [index for index in range(size) if index not in crashed]
    committee = Committee.found(
        chain_id=Digest(b"wan".ljust(32, b"\0")),
        block_keys=[index.to_bytes(32, "big") for index in range(size)],
        genesis_time_ms=Millis(fed.GENESIS_MS),
    )
    schedule = wan.scheduled(matrix, crashed, parameters, committee, rounds)
    latencies = schedule.measure(settled=bool(crashed))
    by_cores = size <= cores_up_to
    if by_cores:
        cluster = wan.WanCluster(matrix, crashed, parameters, rounds, first=schedule.first)
        latencies = cluster.measure()
    cost = fed.cost_alone(size, alive, parameters, rounds=8)
    floor = four_hops_ms(matrix, alive, quorum_of(size))
    link = median_link_ms(matrix)
    p50, p99 = (latencies[-(-percent * len(latencies) // 100) - 1] for percent in (50, 99))
    return {
        "crashed": count,
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "floor_ms": round(floor, 1),
        "p50_over_floor": round(p50 / floor, 2),
        "p50_message_delays": round(p50 / link, 1),
        "p99_message_delays": round(p99 / link, 1),
        "round_ms": round(schedule.round_ms, 1),
        "latency_from": "cores" if by_cores else "schedule",
        "blocks": len(latencies),
        "decide_slot_ms": round(cost.decide_slot_ms, 3),
        "bytes_per_round": cost.bytes_per_round,
        "cpu_ms_per_round": round(cost.cpu_ms_per_round, 1),
        "memory_mib": round(cost.memory_mib, 1),
    }


def as_text(document: Mapping[str, Any]) -> str:
    columns = ("states", "crashed", "p50 ms", "p99 ms", "delays p50", "p99", "floor ms", "p50/floor", "round ms", "from",
               "decide ms", "bytes/round", "cpu ms/round", "MiB")  # fmt: skip
    keys = ("crashed", "p50_ms", "p99_ms", "p50_message_delays", "p99_message_delays", "floor_ms", "p50_over_floor", "round_ms",
            "latency_from", "decide_slot_ms", "bytes_per_round", "cpu_ms_per_round", "memory_mib")  # fmt: skip
    rows = [
        (int(size), *(row[key] for key in keys))
        for size, by_crashed in document["sizes"].items()
        for row in by_crashed.values()
    ]
    said = "\n".join(f"  - {each}" for each in document["said"])
    return f"States at their capitals\n\n{text_table(columns, rows)}\n\nWhat this is\n{said}"
