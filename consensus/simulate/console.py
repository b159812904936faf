"""Arguments, tables of plain text, and progress on standard error."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn


class BadArguments(Exception):
    """Names the option, what it was, and what would be right."""


class Parser(argparse.ArgumentParser):
    """Raises instead of ending the process, so that `--json` can answer with a document."""

    def error(self, message: str) -> NoReturn:
        raise BadArguments(message)


def text_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their longest cell, two spaces apart, a rule below the head; numbers stand at the right."""
    cells = [list(map(_cell, row)) for row in rows]
    widths = [
        max(len(column), *(len(row[at]) for row in cells)) if cells else len(column)
        for at, column in enumerate(columns)
    ]
    right = [all(not isinstance(row[at], str) for row in rows) for at in range(len(columns))]
    lines = [list(columns), ["-" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


class Progress:
    """One line that is written over where people look on, and nothing elsewhere."""

    def __init__(self, total: int, what: str) -> None:
        self._total = total
        self._what = what
        self._shown = sys.stderr.isatty()

    def at(self, done: int, doing: str) -> None:
        if self._shown:
            line = f"{self._what}: {done} of {self._total}  {doing}"
            print(f"\r{line[:100]:<100}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._shown:
            print(f"\r{'':<100}\r", end="", file=sys.stderr, flush=True)
