"""The story from the first key to the last line, and the end of everything that it started."""

import asyncio
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from node.cli.demo import approval, audit, erasure, founding, reports, violation
from node.cli.demo.cast import STATES
from node.cli.demo.outcome import Outcome
from node.cli.demo.processes import Processes
from node.cli.demo.show import Show, StoryBroke, expect
from node.cli.demo.side_by_side import first_of
from node.cli.demo.story import Story
from node.cli.figures import ATTRIBUTION
from node.reporting import EXPECTED, sentence

Step = Callable[[Story], Awaitable[None]]
Handler = Callable[[int, FrameType | None], Any] | signal.Handlers
STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("Founding", founding.found),
    ("Reports", reports.report),
    ("Approval", approval.approve),
    ("Violation", violation.catch),
    ("Erasure", erasure.erase),
    ("Audit", audit.replay),
)
TITLE: Final = (
    "DRILL: five states, one ledger, on this machine. All operators and events are invented."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the user asked for."""

    deadline_s: int
    keep: bool
    serve: bool


def rehearse(wishes: Wishes, show: Show, told: Callable[[Outcome], None]) -> None:
    """Tell the story; `told` hears what came out once it is whole, before anything is served or ended.

    Whatever happens, no process is left behind; the folder only if it is wanted, or holds the traces of what went wrong. Raises
    StoryBroke where it did not hold, KeyboardInterrupt if it was cut short.
    """
    folder = Path(tempfile.mkdtemp(prefix="foedus-demo-"))  # mode 0700: there are keys in it
    story = Story(
        folder=folder,
        show=show,
        processes=Processes(),
        deadline_s=wishes.deadline_s,
        outcome=Outcome(),
    )
    keep = True
    show.line(TITLE, style="bold")
    show.line(f"{ATTRIBUTION}.")
    try:
        with interruptible():
            asyncio.run(_tell(story, told, serve=wishes.serve))
        keep = wishes.keep
    except KeyboardInterrupt:
        keep = wishes.keep
        if not story.outcome.is_whole:
            raise
    finally:
        with uninterrupted():
            story.processes.end_all()
        if keep:
            show.line(f"\nHomes, logs, stores: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, also where a shell has started us with SIGINT ignored."""
    with (
        _handled(signal.SIGINT, signal.default_int_handler),
        _handled(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)),
    ):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Impatience must not leave a process behind. What stands inside has a deadline of its own."""
    with _handled(signal.SIGINT, signal.SIG_IGN), _handled(signal.SIGTERM, signal.SIG_IGN):
        yield


@contextmanager
def _handled(number: signal.Signals, handler: Handler) -> Iterator[None]:
    previous = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, previous)


async def _tell(story: Story, told: Callable[[Outcome], None], *, serve: bool) -> None:
    """The steps, with what runs beside them: a fault of either ends both."""
    try:
        async with asyncio.TaskGroup() as story.background:
            await _steps(story)
            told(story.outcome)
            if serve:
                story.resume_metering()
                await _serve(story)
    except BaseExceptionGroup as group:
        first = first_of(group)
        if isinstance(first, (*EXPECTED, sqlite3.Error)):
            raise StoryBroke("meters and gateway go on", sentence(first)) from first
        raise first from None
    finally:
        await story.disconnect()


async def _steps(story: Story) -> None:
    for number, (title, step) in enumerate(STEPS, 1):
        with story.show.step(number, title):
            await _held(story, step)
    story.outcome.seconds = round(story.show.seconds, 1)
    expect(story.outcome.is_whole, "every part measured", story.outcome.as_json())


async def _held(story: Story, step: Step) -> None:
    """Run one step. What a node, a disk or a command can do wrong is a story that broke there."""
    try:
        try:
            await step(story)
        except EXPECTED as err:
            raise StoryBroke(story.show.waiting_for, sentence(err)) from err
    except StoryBroke as broke:
        broke.step = story.show.step_name
        raise


async def _serve(story: Story) -> None:
    """The nodes stay until Ctrl-C, for those who want to ask them something."""
    table = Table("node", "process", "gRPC", "HTTPS", "home")
    for state in STATES:
        member = next(one for one in story.founded.genesis.members if one.state == state)
        row = (member.client_endpoint, member.http_endpoint, str(story.homes[state].folder))
        table.add_row(state, str(story.nodes[state].pid), *map(Text, row))
    story.show.table(table)
    home = story.homes["KE"].folder
    for command in (
        f"foedus status --home {home}",
        f"foedus motions --home {home}",
        f"foedus cases --home {home}",
        f"foedus log watch --home {home}",
        f"foedus genesis show {story.genesis_path}",
    ):
        story.show.line(f"  {command}")
    story.show.line("Serving until Ctrl-C.")
    await asyncio.Event().wait()
