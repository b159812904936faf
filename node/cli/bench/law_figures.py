"""What becomes of the readings of `foedus bench law`: the document and the tables."""

from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from rich.table import Table

from node.cli.bench import meters
from node.cli.bench.law import Found
from node.reporting import table

MIB: Final = 1024 * 1024
FLAT_PERCENT: Final = 20  # the dearest point may cost so much more than the cheapest
MEASURED: Final = (
    "processor time of one thread: advance, apply, drain_changes and the state digest over the whole map in memory; parsing"
    " of the payload is told beside it; COSE, signatures, tree and disk are not in it"
)


def document(found: Found) -> dict[str, Any]:
    """The figures under their names; times in microseconds a statement."""
    plan = found.plan
    count = found.points[-1].statements
    costs = [point.us for point in found.points]
    spread = (max(costs) - min(costs)) / min(costs) * 100
    return {
        "statements_per_second": round(count / found.seconds),
        "with_parsing_per_second": round(count / (found.seconds + found.parse_seconds)),
        "state_mib": round(found.state_bytes / MIB, 1),
        "curve": [
            {
                "statements": point.statements,
                "us": round(point.us, 2),
                "law_us": round(point.law_us, 2),
                "digest_us": round(point.digest_us, 2),
                "parse_us": round(point.parse_us, 2),
            }
            for point in found.points
        ],
        "spread_percent": round(spread, 1),
        "flat": spread <= FLAT_PERCENT,
        "statements": count,
        "commit": plan.commit,
        "states": plan.size.states,
        "facilities": plan.size.facilities,
        "runs": plan.size.runs,
        "registered_entries": found.registered,
        "state_rows": found.rows,
        "rss_mib_peak": round(found.peak_bytes / MIB, 1),
        "restore": {
            "statements": found.restored.statements,
            "rows": found.restored.rows,
            "seconds": round(found.restored.seconds, 2),
            "replay_seconds": round(found.restored.replay_seconds, 2),
            "digests_equal": found.restored.equal,
        },
        "deadlines": {
            "idle_advance_us": round(found.idle_advance_us, 2),
            "missed": found.deadlines,
            "us_each": round(found.deadline_us, 1),
        },
        "compiled": meters.is_compiled(),
        "measured": MEASURED,
        "machine": meters.machine(),
        "version": metadata.version("foedus"),
    }


def tables(shown: Mapping[str, Any]) -> list[str | Table]:
    """The same document for people."""
    restore, deadlines = shown["restore"], shown["deadlines"]
    rows = [tuple(point.values()) for point in shown["curve"]]
    equal = "equal" if restore["digests_equal"] else "NOT EQUAL"
    headline = (
        f"{shown['statements_per_second']} usage statements a second on one core"
        f" ({shown['with_parsing_per_second']} with parsing), {shown['state_mib']} MiB of state:"
        f" {shown['states']} states, {shown['facilities']} sites, {shown['runs']} runs"
    )
    restored = (
        f"restored from {restore['rows']} rows in {restore['seconds']} s, replayed in"
        f" {restore['replay_seconds']} s: digests {equal}"
    )
    clock = (
        f"a second with nothing due: {deadlines['idle_advance_us']} us;"
        f" {deadlines['missed']} missed slots: {deadlines['us_each']} us each"
    )
    return [
        headline,
        table("Microseconds a statement", ("statements", "all", "law", "digest", "parsing"), rows),
        f"spread {shown['spread_percent']} %: {'flat' if shown['flat'] else 'NOT FLAT'}",
        restored,
        clock,
        shown["measured"],
        f"{shown['machine']}; foedus {shown['version']}{', compiled' if shown['compiled'] else ''}",
    ]
