"""`foedus law QUESTION`: one command for each question of the records, all with the same options.

An answer comes from a member's node, from the home's own store, or from a copy that somebody hands over: an archive or a store.
Such a copy is not believed: the law is run over it up to the moment asked about, and the answer says which cosigned checkpoint
it stands on. Who opens copies (`node.audit`) is handed in, since faces do not know one another (decision 0191).
"""

import asyncio
from collections.abc import Callable, Sequence
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
from node.cli.law.records import OpenCopy, Question, of_home, of_node, pages
from node.ledger.questions.answer import QUESTIONS
from node.ledger.questions.moment import THE_END, parse_moment, time_text, told_time
from node.reporting import JsonOption, Report, reporting, table

LISTED_MAX: Final = 100_000

AboutArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="ABOUT", help="Narrows it, where the text above says by what.", show_default=False
    ),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        help="As of the last commit up to this index of the log, or this second or end of this day, UTC (2026-03-31,"
        " 2026-03-31T12:00:00Z); else of the newest.",
        metavar="INDEX|DATE",
        show_default=False,
    ),
]
ArchiveOption = Annotated[
    Path | None,
    typer.Option(
        "--archive",
        help="From this archive, or a node's home or data folder, offline: the law is run again over it, every signature is"
        " checked, and the cosigned checkpoint that the answer stands on is shown. Judged by --genesis, else by the copy's own.",
        metavar="DIR",
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


def register_questions(app: typer.Typer, open_copy: OpenCopy) -> None:
    """One command each."""
    for name, view in QUESTIONS.items():
        app.command(name)(_command(name, view.__doc__ or "", open_copy))


def _command(name: str, told: str, open_copy: OpenCopy) -> Callable[..., None]:
    def command(
        about: AboutArgument = None,
        *,
        at: AtOption = None,
        archive: ArchiveOption = None,
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
            moment = None if at is None else parse_moment(at)
            question = Question(name=name, about=about or "", moment=moment, limit=limit)
            if archive is not None:
                pinned = None if genesis is None else ledger_of(home, genesis).document
                with open_copy(archive, pinned, moment or THE_END, report.note) as copy:
                    page = {**pages(copy.sight, question), "stands_on": copy.stands_on}
                    _show(report, page, copy.told)
                return
            founded = ledger_of(home, genesis)
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

      foedus law {name} --archive archive-us --genesis genesis.cbor --at 2026-03-31
    """
    return command


def _home_of(home: Path, genesis: Path | None) -> Path:
    """With a genesis by itself no home is meant, unless it is that home's own."""
    return home if genesis is None else genesis.parent


def _show(report: Report, page: dict[str, Any], told: Sequence[str] = ()) -> None:
    rows = page["rows"]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[_cell(told_time(name, row.get(name))) for name in columns] for row in rows]
    more = "" if page["next_after"] is None else f"; more follow {page['next_after']}"
    rows_of = f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}{more}"
    head = (
        f"{page['question']} after {page['size']} entries, {time_text(page['time_s'])}: {rows_of}"
    )
    report.show(page, [head, *([table("", columns, lines)] if rows else []), *told])


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return "-" if value is None else str(value)
