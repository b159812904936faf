"""The root of `foedus law`."""

import typer

from node.cli.law.coverage_command import coverage_command
from node.cli.law.question_commands import register_questions
from node.cli.law.records import OpenCopy


def law_app(open_copy: OpenCopy) -> typer.Typer:
    """A fresh object. `open_copy` answers from archives and stores that somebody handed over."""
    app = typer.Typer(
        help="What the law says, at any index or day, and how far it answers the proposal.\n\n"
        "For example: foedus law members --archive archive-us --genesis genesis.cbor --at 2026-03-31",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.command("coverage")(coverage_command)
    register_questions(app, open_copy)
    return app
