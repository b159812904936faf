"""What becomes of the readings: latencies weighted by entries, the ratio to the limit, the document and the tables.

Nothing here reads the machine; every figure is a function of its arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from node.reporting import table

MIB: Final = 1024 * 1024
PERCENTILES: Final = (50, 95, 99)
LATENCY_IS: Final = (
    "from the submitting call (half load: from its scheduled time) until the submitting node says that the call's last entry"
    " is final; polled every 20 ms"
)
LIMIT_IS: Final = (
    "cores x verifications per second of one core / nodes: every node checks every signature"
)
WIRE_IS: Final = "bytes of the machine's loopback interface, all processes, packet headers included"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUse:
    """What one node used in one phase."""

    state: str
    cpu_s: float
    rss_peak_bytes: int  # since its start


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One load, and what came of it, over all generators."""

    seconds: float
    submitted: int
    final_in_time: int  # final before `seconds` were over: what the rate counts
    final: int
    retried_calls: int
    late_calls: int
    calls: tuple[tuple[float, int], ...]  # latency in ms, entries
    nodes: tuple[NodeUse, ...]
    generator_cpu_s: float
    wire_bytes: int

    @property
    def entries_per_second(self) -> float:
        return self.final_in_time / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """All of one bench."""

    machine: str
    version: str
    cores: int
    statement_bytes: int
    verifications_per_second: float  # one core
    full: Phase
    half: Phase
    half_rate: float  # offered, entries a second
    log_size: int
    root: str
    total_s: float


def joined(
    answers: Sequence[Mapping[str, Any]],
    *,
    nodes: Sequence[NodeUse],
    generator_cpu_s: float,
    wire_bytes: int,
) -> Phase:
    """One phase from the documents of its generators (`load.Tally.document`)."""
    return Phase(
        seconds=max(answer["seconds"] for answer in answers),
        submitted=sum(answer["submitted"] for answer in answers),
        final_in_time=sum(answer["final_in_time"] for answer in answers),
        final=sum(answer["final"] for answer in answers),
        retried_calls=sum(answer["retried_calls"] for answer in answers),
        late_calls=sum(answer["late_calls"] for answer in answers),
        calls=tuple((ms, entries) for answer in answers for ms, entries in answer["calls"]),
        nodes=tuple(nodes),
        generator_cpu_s=generator_cpu_s,
        wire_bytes=wire_bytes,
    )


def percentile(calls: Sequence[tuple[float, int]], percent: int) -> float | None:
    """The least latency that `percent` of the entries did not exceed (nearest rank); None without entries."""
    total = sum(entries for _, entries in calls)
    seen = 0
    for ms, entries in sorted(calls):
        seen += entries
        if seen * 100 >= total * percent:
            return ms
    return None


def signature_limit(cores: int, verifications_per_second: float, nodes: int) -> float:
    """Entries a second at which the machine would do nothing but check signatures, once at each node."""
    return cores * verifications_per_second / nodes


def document(run: Run) -> dict[str, Any]:
    """The answer of `foedus bench localnet --json`."""
    states = len(run.full.nodes)
    limit = signature_limit(run.cores, run.verifications_per_second, states)
    rate = run.full.entries_per_second
    everyone = (*run.full.nodes, *run.half.nodes)
    return {
        "entries_per_second": round(rate, 1),
        "signature_limit_per_second": round(limit, 1),
        "ratio_to_signature_limit": round(rate / limit, 4),
        "latency_ms": {"full": _latency(run.full), "half": _latency(run.half)},
        "rss_mib_max": round(max(node.rss_peak_bytes for node in everyone) / MIB, 1),
        "states": states,
        "seconds": run.full.seconds,
        "statement_bytes": run.statement_bytes,
        "entries_final": run.full.final + run.half.final,
        "cores": run.cores,
        "verifications_per_second_per_core": round(run.verifications_per_second, 1),
        "full": _phase(run.full),
        "half": {"offered_per_second": round(run.half_rate, 1), **_phase(run.half)},
        "log_size": run.log_size,
        "root": run.root,
        "machine": run.machine,
        "version": run.version,
        "total_seconds": round(run.total_s, 1),
        "measured": {"limit": LIMIT_IS, "latency": LATENCY_IS, "wire": WIRE_IS},
    }


def _latency(phase: Phase) -> dict[str, float | None]:
    return {f"p{percent}": percentile(phase.calls, percent) for percent in PERCENTILES}


def _phase(phase: Phase) -> dict[str, Any]:
    return {
        "entries_per_second": round(phase.entries_per_second, 1),
        "submitted": phase.submitted,
        "final": phase.final,
        "retried_calls": phase.retried_calls,
        "late_calls": phase.late_calls,
        "wire_bytes": phase.wire_bytes,
        "wire_bytes_per_entry": round(phase.wire_bytes / max(1, phase.final)),
        "generator_cpu_seconds": round(phase.generator_cpu_s, 2),
        "nodes": [
            {
                "state": node.state,
                "cpu_seconds": round(node.cpu_s, 2),
                "rss_mib_peak": round(node.rss_peak_bytes / MIB, 1),
            }
            for node in phase.nodes
        ],
    }


def tables(shown: Mapping[str, Any]) -> list[str | Table]:
    """The same document for people."""
    loads = [("full", shown["full"]), ("half", shown["half"])]
    rates = [
        [
            name,
            round(load["entries_per_second"]),
            *(_whole(shown["latency_ms"][name][f"p{percent}"]) for percent in PERCENTILES),
            load["wire_bytes_per_entry"],
            load["generator_cpu_seconds"],
        ]
        for name, load in loads
    ]
    nodes = [
        [full["state"], full["cpu_seconds"], half["cpu_seconds"], half["rss_mib_peak"]]
        for full, half in zip(shown["full"]["nodes"], shown["half"]["nodes"], strict=True)
    ]
    headline = (
        f"{shown['entries_per_second']:.0f} entries a second final on {shown['states']} nodes:"
        f" {shown['ratio_to_signature_limit']:.2f} of the signature limit,"
        f" {shown['signature_limit_per_second']:.0f} ({shown['cores']} cores x"
        f" {shown['verifications_per_second_per_core']:.0f} / {shown['states']})"
    )
    return [
        headline,
        table(
            f"{shown['statement_bytes']}-byte statements, {shown['seconds']:g} s each load",
            ("load", "final/s", "p50 ms", "p95 ms", "p99 ms", "wire B/entry", "generator CPU s"),
            rates,
        ),
        table("nodes", ("node", "CPU s full", "CPU s half", "peak MiB"), nodes),
        f"{shown['machine']}; foedus {shown['version']}",
    ]


def _whole(ms: float | None) -> object:
    return "none" if ms is None else round(ms)
