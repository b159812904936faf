"""The journal: durable when it returns, whole or not at all wherever it is cut off, bounded, and one gateway's alone."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from node.intake.journal import Draft, Journal, JournalError, Outcome, ReportState
from node.intake.reading import Kind, Reading, encode_reading
from node.intake.statements import drafts
from node.intake.tally import unreported
from tests.unit.intake.world import (
    ANCHOR_S,
    AUTHOR,
    LEDGER,
    PERIOD_S,
    Crash,
    device,
    plan,
    source,
)


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    with closing(Journal(path, ledger=LEDGER)) as journal:
        yield journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "intake.journal"


def accept(journal: Journal, *readings: Reading) -> list[Outcome]:
    return [outcome for outcome, _ in journal.accept(readings, hold_s=900, wraps_at={})]


def close(journal: Journal, start_s: int = ANCHOR_S) -> list[Draft]:
    journal.open_period("dc1", start_s)
    made = drafts(
        plan(), journal.meters("dc1"), ledger=LEDGER, start_s=start_s, end_s=start_s + PERIOD_S
    )
    journal.close_period("dc1", end_s=start_s + PERIOD_S, drafts=made)
    return made


class Dying:
    """A connection whose process ends at the nth statement: that one and all later ones never happen."""

    def __init__(self, db: sqlite3.Connection, at: int) -> None:
        self._db = db
        self._left = at

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Crash

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._step()
        return self._db.execute(*arguments)

    def executemany(self, *arguments: Any) -> sqlite3.Cursor:
        self._step()
        return self._db.executemany(*arguments)

    def close(self) -> None:
        self._db.close()


def run_until_crash(path: Path, work: Any, at: int) -> bool:
    """Whether the work ended before statement number `at`. The file is then as a killed process leaves it."""
    journal = Journal(path, ledger=LEDGER)
    journal._db = Dying(journal._db, at)  # type: ignore[assignment]
    try:
        work(journal)
    except Crash:
        return False
    finally:
        journal.close()
    return True


def crashes(path: Path, work: Any) -> Iterator[Journal]:
    """The journal after a crash at each statement of the work in turn, and last after none."""
    at = 0
    before = path.read_bytes()
    while True:
        for leftover in path.parent.glob(f"{path.name}-*"):
            leftover.unlink()
        path.write_bytes(before)
        done = run_until_crash(path, work, at)
        with opened(path) as journal:
            yield journal
        if done:
            assert at > 0, "the work has statements"
            return
        at += 1


def test_a_burst_is_counted_whole_or_not_at_all(path: Path) -> None:
    meter = device()
    first, *burst = (meter.reading(time_s=ANCHOR_S + n, value=10 * n) for n in range(5))
    with opened(path) as journal:
        accept(journal, first)
    seen = set()
    for journal in crashes(path, lambda journal: accept(journal, *burst)):
        row = journal.meter(source().topic)
        assert row is not None
        kept = journal.evidence(source().topic)
        assert (row.total, len(kept)) in ((0, 1), (40, 5))
        seen.add(row.total)
        # The broker delivers all of it again: nothing is lost, nothing counted twice.
        accept(journal, first, *burst)
        again = journal.meter(source().topic)
        assert again is not None
        assert (again.total, journal.evidence(source().topic)) == (
            40,
            [encode_reading(each) for each in (first, *burst)],
        )
    assert seen == {0, 40}


def test_a_period_is_closed_whole_or_not_at_all(path: Path) -> None:
    """Reports written, totals marked, next period open: all three or none."""
    meter, counter = device(), device(source(Kind.PFLOP, "c1"))
    with opened(path) as journal:
        accept(journal, *(meter.reading(time_s=ANCHOR_S + n, value=10 * n) for n in range(4)))
        accept(journal, *(counter.reading(time_s=ANCHOR_S + n, value=7 * n) for n in range(4)))
    seen = set()
    for journal in crashes(path, close):
        open_s = journal.open_period("dc1", ANCHOR_S)
        reports = journal.reports(ReportState.CLOSED, AUTHOR)
        left = [
            unreported(row, kind)
            for row, kind in zip(
                journal.meters("dc1").values(), (Kind.PFLOP, Kind.ENERGY), strict=True
            )
        ]
        assert (open_s, len(reports), left) in (
            (ANCHOR_S, 0, [21, 30]),
            (ANCHOR_S + PERIOD_S, 2, [0, 0]),
        )
        seen.add(len(reports))
    assert seen == {0, 2}


@pytest.mark.parametrize("step", ["intend", "settle", "finish"])
def test_each_step_of_a_report_is_taken_or_not(path: Path, step: str) -> None:
    meter = device()
    with opened(path) as journal:
        accept(journal, *(meter.reading(time_s=ANCHOR_S + n, value=n) for n in range(2)))
        close(journal)

    def walk(journal: Journal) -> None:
        (report,) = journal.reports(ReportState.CLOSED, AUTHOR)
        journal.intend(report, seq=3, entry=b"entry")
        (report,) = journal.reports(ReportState.INTENDED, AUTHOR)
        if step != "intend":
            journal.settle(report, recorded=True)
        if step == "finish":
            (report,) = journal.reports(ReportState.SIGNED, AUTHOR)
            journal.finish(report, log_index=9, code="LATE")

    for journal in crashes(path, walk):
        found = [report for state in ReportState for report in journal.reports(state, AUTHOR)]
        assert len(found) == 1, "never lost, never twice"
        (report,) = found
        assert (report.seq, report.entry) == (
            (0, b"") if report.state is ReportState.CLOSED else (3, b"entry")
        )
    assert (
        report.state
        is {
            "intend": ReportState.INTENDED,
            "settle": ReportState.SIGNED,
            "finish": ReportState.FINAL,
        }[step]
    )
    if step == "finish":
        assert (report.log_index, report.code) == (9, "LATE")


def test_what_was_not_recorded_is_closed_again(path: Path) -> None:
    with opened(path) as journal:
        accept(journal, device().reading(time_s=ANCHOR_S, value=1))
        close(journal)
        (report,) = journal.reports(ReportState.CLOSED, AUTHOR)
        journal.intend(report, seq=3, entry=b"entry")
        (intended,) = journal.reports(ReportState.INTENDED, AUTHOR)
        journal.settle(intended, recorded=False)
        assert journal.reports(ReportState.CLOSED, AUTHOR) == [report]


def test_repeats_are_told_from_contradictions(path: Path) -> None:
    meter, forgetful = device(), device()
    first, second = (meter.reading(time_s=ANCHOR_S + n, value=n) for n in range(2))
    other = forgetful.reading(time_s=ANCHOR_S + 9, value=77)  # its sequence is 1 again
    with opened(path) as journal:
        assert accept(journal, first, first, other) == [
            Outcome.COUNTED,
            Outcome.REPEATED,
            Outcome.REFUSED,
        ]
        assert accept(journal, second, first, other) == [
            Outcome.COUNTED,
            Outcome.REPEATED,
            Outcome.REFUSED,
        ]


def test_a_restarted_counter_is_counted_and_told(path: Path) -> None:
    meter = device()
    with opened(path) as journal:
        outcomes = accept(
            journal,
            *(meter.reading(time_s=ANCHOR_S + n, value=v) for n, v in enumerate((9, 12, 4))),
        )
        assert outcomes == [Outcome.COUNTED, Outcome.COUNTED, Outcome.RESTARTED]
        row = journal.meter(source().topic)
        assert row is not None
        assert (row.total, row.resets) == (7, 1)


def test_totals_beyond_64_bits_are_kept(path: Path) -> None:
    """A site's watt-seconds over decades."""
    with opened(path) as journal:
        accept(journal, device().reading(time_s=ANCHOR_S, value=1))
        journal._db.execute("update meter set total = ?, reported = ?", (str(2**70), str(2**70)))
        row = journal.meter(source().topic)
        assert row is not None
        assert row.total == row.reported == 2**70


def test_evidence_is_forgotten_by_age_and_by_number_and_totals_stay(path: Path) -> None:
    meter = device()
    with opened(path) as journal:
        accept(journal, *(meter.reading(time_s=ANCHOR_S + n, value=n) for n in range(10)))
        assert journal.forget(before_s=ANCHOR_S + 3, readings_max=100) == 3
        assert journal.forget(before_s=0, readings_max=5) == 2
        assert len(journal.evidence(source().topic)) == 5
        assert journal.forget(before_s=0, readings_max=5) == 0
        row = journal.meter(source().topic)
        assert row is not None
        assert row.total == 9


def test_only_final_reports_are_forgotten(path: Path) -> None:
    meter = device()
    with opened(path) as journal:
        for period in range(2):
            start_s = ANCHOR_S + period * PERIOD_S
            accept(journal, meter.reading(time_s=start_s, value=period))
            close(journal, start_s)
        old, _ = journal.reports(ReportState.CLOSED, AUTHOR)
        journal.finish(old, log_index=1, code="")
        assert journal.forget(before_s=ANCHOR_S + 10 * PERIOD_S, readings_max=100) == 2 + 1
        assert [journal.count(state) for state in (ReportState.FINAL, ReportState.CLOSED)] == [0, 1]


def test_it_is_the_owners_alone_and_one_gateways(path: Path) -> None:
    with opened(path) as journal:
        accept(journal, device().reading(time_s=ANCHOR_S, value=1))
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        with pytest.raises(JournalError, match="another gateway"):
            Journal(path, ledger=LEDGER)
    with pytest.raises(JournalError, match="ledger is"):
        Journal(path, ledger=bytes(32))
    with opened(path) as journal:  # the refused ones let go of it
        assert journal.meter(source().topic) is not None


def test_a_damaged_file_is_refused_with_its_name(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(JournalError, match=r"intake\.journal"):
        Journal(path, ledger=LEDGER)
