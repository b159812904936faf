"""What becomes of the readings of `foedus bench catch-up`: ratios, the document and the tables."""

from collections.abc import Mapping
from typing import Any, Final

from rich.table import Table

from node.cli.bench import meters
from node.cli.bench.catch_up import CaughtUp, Found, Progress
from node.reporting import table

MIB: Final = 1024 * 1024
MEASURED: Final = (
    "commits a second of the node that catches up, from when it first answers until it is within 16 commits of another node;"
    " live: of that other node while all run, under the same load; the higher of that and of what it did meanwhile is"
    " what the ratio is taken of"
)


def per_second(count: int, progress: Progress) -> float:
    """0 where no time passed."""
    return count / progress.seconds if progress.seconds > 0 else 0.0


def ratio(caught: CaughtUp, live: Progress) -> float:
    """Commits a second caught up against live ones: the stricter of two readings of live."""
    fastest = max(per_second(one.commits, one) for one in (live, caught.others))
    return per_second(caught.own.commits, caught.own) / fastest if fastest else 0.0


def entries_ratio(caught: CaughtUp, live: Progress) -> float:
    """The same in entries of the log: commits made while one is away are fewer and larger."""
    fastest = max(per_second(one.entries, one) for one in (live, caught.others))
    return per_second(caught.own.entries, caught.own) / fastest if fastest else 0.0


def document(found: Found) -> dict[str, Any]:
    """The figures under their names."""
    ways = {"from_zero": found.from_zero, "long_absent": found.absent}
    return {
        "ratio": round(min(ratio(way, found.live) for way in ways.values()), 2),
        **{name: _caught(way, found.live) for name, way in ways.items()},
        "live": _progress(found.live),
        "states": found.plan.states,
        "offered_per_second": found.plan.rate,
        "away_seconds": found.plan.away_s,
        "log_size": found.log_size,
        "root": found.root,
        "cores": meters.cores(),
        "machine": meters.machine(),
        "total_seconds": round(found.total_s, 1),
        "measured": MEASURED,
    }


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "seconds": round(progress.seconds, 2),
        "commits": progress.commits,
        "log_entries": progress.entries,
        "commits_per_second": round(per_second(progress.commits, progress), 2),
        "log_entries_per_second": round(per_second(progress.entries, progress), 1),
    }


def _caught(caught: CaughtUp, live: Progress) -> dict[str, Any]:
    return {
        "behind_commits": caught.behind,
        **_progress(caught.own),
        "live_meanwhile_commits_per_second": round(
            per_second(caught.others.commits, caught.others), 2
        ),
        "ratio": round(ratio(caught, live), 2),
        "entries_ratio": round(entries_ratio(caught, live), 2),
        "certified_commits": caught.certified,
        "ready_seconds": round(caught.ready_s, 2),
        "cpu_seconds": round(caught.cpu_s, 2),
        "rss_mib_peak": round(caught.rss_peak_bytes / MIB, 1),
    }


def tables(shown: Mapping[str, Any]) -> list[str | Table]:
    """The same document for people."""
    live = shown["live"]
    ways = (("from zero", shown["from_zero"]), ("long absent", shown["long_absent"]))
    rows: list[list[object]] = [
        [
            name,
            way["behind_commits"],
            way["seconds"],
            way["commits_per_second"],
            way["log_entries_per_second"],
            way["ratio"],
            way["entries_ratio"],
            way["certified_commits"],
            way["rss_mib_peak"],
        ]
        for name, way in ways
    ]
    rows.append(
        ["live", "", live["seconds"], live["commits_per_second"], live["log_entries_per_second"]]
        + [""] * 4
    )
    headline = (
        f"catching up goes {shown['ratio']:g} times as fast as {shown['states']} nodes at"
        f" {shown['offered_per_second']:g} entries a second"
    )
    return [
        headline,
        table(
            f"after {shown['away_seconds']:g} s away",
            (
                "",
                "behind",
                "seconds",
                "commits/s",
                "log/s",
                "ratio",
                "log ratio",
                "certified",
                "peak MiB",
            ),
            rows,
        ),
        shown["machine"],
    ]
