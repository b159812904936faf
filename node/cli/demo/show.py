"""Progress for those who watch, and the one error of a story that did not hold."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

STEPS: Final = 6


class StoryBroke(Exception):
    """Something came out otherwise than the treaty promises."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected: {expected}; seen: {seen}")
        self.expected = expected
        self.seen = seen
        self.step = ""  # filled where the step is known


def expect(holds: bool, expected: str, seen: object) -> None:  # noqa: FBT001 - reads as a sentence
    """Raises StoryBroke unless it holds."""
    if not holds:
        raise StoryBroke(expected, str(seen))


class Show:
    """What is printed. `waiting_for` is what the story is about to see, for the message if it does not."""

    def __init__(self, *, to_stderr: bool = False) -> None:
        """`to_stderr` when standard output belongs to a JSON document."""
        stream = sys.stderr if to_stderr else sys.stdout
        self.console = Console(
            file=stream, highlight=False, soft_wrap=True, width=None if stream.isatty() else 120
        )
        self.waiting_for = "the story begins"
        self.step_name = ""
        self._began = time.monotonic()
        self._status = self.console.status("")

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[None]:
        """One step: its heading, a line that says what is awaited now, and how long it took."""
        self.step_name = f"{number} {title}"
        began = time.monotonic()
        self.console.print(Text(f"\n{number}/{STEPS} {title}", style="bold"))
        self._status.start()
        try:
            yield
        finally:
            self._status.stop()
        took = time.monotonic() - began
        self.console.print(Text(f"      {took:.1f} s, {self.seconds:.1f} s in all", style="dim"))

    def doing(self, what: str) -> None:
        """What happens now; shown while it lasts, and named if it does not come about."""
        self.waiting_for = what
        self._status.update(Text(f"    … {what}", style="cyan"))

    def fact(self, text: str) -> None:
        """Something just seen."""
        self.console.print(Text.assemble(("    ✓ ", "green"), text))

    def note(self, text: str) -> None:
        """Something worth saying that proves nothing."""
        self.console.print(Text(f"      {text}", style="dim"))

    def line(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style))

    def table(self, table: Table) -> None:
        self.console.print(table)
