"""How far a long audit is, shown to whoever watches a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from node.reporting import Report

if TYPE_CHECKING:  # the replay comes with them: loaded by who audits, not by every command
    from node.audit.copies import Progress, Tick


class _Shown:
    """Progress bars on standard error."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars

    def start(self, what: str, total: int | None) -> "Tick":
        task = self._bars.add_task(what, total=total)
        return lambda steps: self._bars.advance(task, steps)


@contextmanager
def showing_progress(report: Report) -> "Iterator[Progress]":
    from node.audit.copies import Silent
    from node.audit.worker import stopped_tidily

    console: Console = report.notes
    with stopped_tidily():
        if report.as_json or not console.is_terminal:
            yield Silent()
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Bars(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
            yield _Shown(bars)
