"""How every command ends, whichever face owns it: one exit status, one JSON document or text, errors on standard error.

    0  done, or the answer is yes
    1  the answer is no: not proven, refused, inconsistent, not all well
    2  could not be done or not be checked; nothing is known about the question

    with reporting(json_output) as report:
        report.show({"size": 7}, "7 entries")        # stdout: the document or the text
        report.answer_is_no("entry 7 was refused: LATE")

What a stranger's bytes, a disk or a network can do wrong leaves a command by `EXPECTED` and becomes exit status 2 with one
sentence. Anything else is a fault of ours and shows its trace.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from node.ledger.errors import LedgerError
from node.log.errors import MalformedInput, Untrusted
from node.settings import BadSettings
from node.signing.errors import SigningError
from node.treaty.errors import MalformedContent

PIPE_COLUMNS: Final = 200  # into a pipe or file: wide enough that no hash is broken

_SPEAKS_TO_TERMINALS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)

EXIT_HELP: Final = "Exit status: 0 done, 1 the answer is no, 2 could not be done or checked."

JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON document on standard output instead of text.")
]


class CouldNot(Exception):
    """A command could not do what was asked. Each face draws its own tree below it; the message says what to do."""


class Exit(IntEnum):
    """See the module's text."""

    DONE = 0
    NO = 1
    COULD_NOT = 2


EXPECTED: Final = (
    CouldNot,
    OSError,
    BadSettings,
    SigningError,
    LedgerError,
    MalformedInput,
    MalformedContent,
    Untrusted,
)


class Report:
    """What one command says. Standard output belongs to the answer, standard error to everything else."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.exit = Exit.DONE
        self._shown = False
        self.notes = Console(stderr=True, highlight=False, soft_wrap=True)
        self.console = Console(
            highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS, soft_wrap=True
        )

    def show(self, document: Mapping[str, Any], text: str | Table | Sequence[str | Table]) -> None:
        """The answer, once: the document under --json, else the text. Never markup: strangers chose parts of it."""
        assert not self._shown, "a command answers once"
        self._shown = True
        if self.as_json:
            typer.echo(json.dumps(document, ensure_ascii=False))
            return
        for part in [text] if isinstance(text, str | Table) else text:
            self.console.print(Text(plain(part)) if isinstance(part, str) else part)

    def line(self, document: Mapping[str, Any], text: str) -> None:
        """One of many answers of a stream: under --json, one object a line."""
        self._shown = True
        typer.echo(json.dumps(document, ensure_ascii=False) if self.as_json else plain(text))

    def note(self, text: str) -> None:
        """Progress and advice, for people."""
        self.notes.print(Text(plain(text)))

    def answer_is_no(self, why: str) -> None:
        """The command did its work, and the answer is no."""
        self.exit = Exit.NO
        self.note(why)

    def failed(self, why: str) -> None:
        """Could not: one sentence, and under --json still one document."""
        self.exit = Exit.COULD_NOT
        self.note(f"error: {why}")
        if self.as_json and not self._shown:
            typer.echo(json.dumps({"error": why}, ensure_ascii=False))


@contextmanager
def reporting(as_json: bool) -> Iterator[Report]:  # noqa: FBT001 - typer hands the option over by name
    """Run a command's work and end it with the exit status of `Exit`."""
    report = Report(as_json=as_json)
    try:
        yield report
    except EXPECTED as err:
        report.failed(sentence(err))
        raise typer.Exit(Exit.COULD_NOT) from err
    if report.exit is not Exit.DONE:
        raise typer.Exit(report.exit)


def sentence(err: BaseException) -> str:
    """What people read of an error."""
    if isinstance(err, OSError) and err.strerror:
        return f"{err.filename}: {err.strerror}" if err.filename else err.strerror
    return str(err) or type(err).__name__


def plain(text: str) -> str:
    """Strangers choose names and words: what would speak to the terminal, or turn the line round, is spelt out instead."""
    return _SPEAKS_TO_TERMINALS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A table whose title and cells are plain text: square brackets in a name are no markup."""
    made = Table(*columns, title=Text(plain(title)), title_justify="left", title_style="bold")
    for row in rows:
        made.add_row(*(Text(plain(str(cell))) for cell in row))
    return made
