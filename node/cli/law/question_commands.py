"""`foedus law QUESTION`: one command for each question of the records, all with the same options."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from node.cli.asking import (
    DEFAULT_HOME,
    GenesisOption,
    HomeOption,
    NodeOption,
    PassphraseOption,
    ReaderOption,
    ledger_of,
    open_nodes,
    reader_of,
)
from node.cli.law.records import Question, of_home, of_node
from node.ledger.questions.answer import QUESTIONS
from node.reporting import JsonOption, Report, reporting, table

LISTED_MAX: Final = 100_000

AboutArgument = Annotated[
    str | None, typer.Argument(metavar="ABOUT", help="Narrows it: see above.", show_default=False)
]
AtOption = Annotated[
    int | None,
    typer.Option(
        "--at",
        help="As of the last commit at or below this index of the log.",
        metavar="INDEX",
        min=0,
        show_default=False,
    ),
]
OfflineOption = Annotated[
    bool,
    typer.Option(
        "--offline", help="From the home's own store (or the genesis alone), asking no node."
    ),
]
LimitOption = Annotated[int, typer.Option(help="At most so many rows.", min=1, max=LISTED_MAX)]
WithinOption = Annotated[
    float,
    typer.Option("--within", help="Seconds to wait for a node's replay.", min=0.1, max=86_400),
]


def register_questions(app: typer.Typer) -> None:
    """One command each."""
    for name, view in QUESTIONS.items():
        app.command(name)(_command(name, view.__doc__ or ""))


def _command(name: str, told: str) -> Callable[..., None]:
    def command(
        about: AboutArgument = None,
        *,
        at: AtOption = None,
        offline: OfflineOption = False,
        home: HomeOption = DEFAULT_HOME,
        genesis: GenesisOption = None,
        node: NodeOption = None,
        limit: LimitOption = 1_000,
        within: WithinOption = 600,
        reader_keys: ReaderOption = None,
        passphrase_file: PassphraseOption = None,
        json_output: JsonOption = False,
    ) -> None:
        with reporting(json_output) as report:
            founded = ledger_of(home, genesis)
            question = Question(name=name, about=about or "", index=at, limit=limit)
            if offline:
                page = of_home(_home_of(home, genesis), founded, question, report.note)
            else:
                reader = reader_of(reader_keys, passphrase_file)
                nodes = open_nodes(founded, home, node, reader)
                page = asyncio.run(of_node(nodes, question, within, report.note))
            _show(report, page)

    command.__doc__ = f"""{told.strip()}

    Exit status: 0 answered, 2 no node answered or it refused, or the store cannot be read.

    For example:

      foedus law {name} --home us --json

      foedus law {name} --home us --at 1200 --offline
    """
    return command


def _home_of(home: Path, genesis: Path | None) -> Path:
    """With a genesis by itself no home is meant, unless it is that home's own."""
    return home if genesis is None else genesis.parent


def _show(report: Report, page: dict[str, Any]) -> None:
    rows = page["rows"]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[_cell(row.get(name)) for name in columns] for row in rows]
    more = "" if page["next_after"] is None else f"; more follow {page['next_after']}"
    head = f"{page['question']} at entry {page['size']}, ledger second {page['time_s']}: {len(rows)} rows{more}"
    report.show(page, [head, table("", columns, lines)] if rows else head)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return "-" if value is None else str(value)
