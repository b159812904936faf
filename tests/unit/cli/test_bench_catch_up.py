"""`foedus bench catch-up`: what becomes of its readings. No network runs here."""

from node.cli.bench.catch_up import CaughtUp, Found, Plan, Position, Progress
from node.cli.bench.catch_up_figures import document, ratio, tables

LIVE = Progress(seconds=10.0, commits=100, entries=1_000)


def caught(commits: int, seconds: float, *, others: int = 0) -> CaughtUp:
    return CaughtUp(
        behind=commits + 10,
        ready_s=1.5,
        own=Progress(seconds=seconds, commits=commits, entries=30 * commits),
        others=Progress(seconds=seconds, commits=others, entries=30 * others),
        certified=commits,
        cpu_s=2.0,
        rss_peak_bytes=100 * 1024 * 1024,
    )


def test_progress_is_the_difference_of_two_positions() -> None:
    first = Position(at=5.0, commit=10, entries=100)
    later = Position(at=7.5, commit=35, entries=1_100)
    assert later.since(first) == Progress(seconds=2.5, commits=25, entries=1_000)


def test_the_ratio_is_of_the_faster_of_two_readings_of_live() -> None:
    assert ratio(caught(500, 5.0), LIVE) == 10.0
    assert ratio(caught(500, 5.0, others=100), LIVE) == 5.0  # 20 a second meanwhile
    nothing = Progress(seconds=0.0, commits=0, entries=0)
    assert ratio(caught(500, 5.0), nothing) == 0.0


def test_the_document_has_the_lower_ratio_first_and_every_reading() -> None:
    found = Found(
        plan=Plan(states=4, rate=50.0, away_s=20.0, live_s=10.0),
        from_zero=caught(500, 5.0),
        live=LIVE,
        absent=caught(400, 5.0),
        log_size=30_000,
        root="ab" * 32,
        total_s=99.0,
    )
    shown = document(found)
    assert shown["ratio"] == 8.0
    assert shown["from_zero"]["ratio"] == 10.0
    assert shown["from_zero"]["entries_ratio"] == 30.0
    assert shown["long_absent"]["commits_per_second"] == 80.0
    assert shown["long_absent"]["behind_commits"] == 410
    assert shown["live"] == {
        "seconds": 10.0,
        "commits": 100,
        "log_entries": 1_000,
        "commits_per_second": 10.0,
        "log_entries_per_second": 100.0,
    }
    headline = tables(shown)[0]
    assert isinstance(headline, str)
    assert "8 times" in headline
