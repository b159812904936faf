"""The root of the `foedus` command: registers every subcommand. Each lives in a module of its own.

A further command is one import and one line in `_register`.
"""

from importlib import metadata
from typing import Annotated, Final

import typer

from node.cli.assess import assess_command
from node.cli.report import EXIT_HELP

_SUMMARY: Final = f"""Foedus: a shared ledger of compute reports that no single state can veto or erase.

{EXIT_HELP} Every command has --help with examples, and --json for machines.

Begin with: foedus init US-home --state US --peer us.example:7450 --client us.example:7451 --http us.example:7452
"""


def build_app() -> typer.Typer:
    """The whole command, as a fresh object."""
    app = typer.Typer(
        name="foedus",
        help=_SUMMARY,
        no_args_is_help=True,
        rich_markup_mode=None,  # help texts are plain: brackets in them are no markup
        pretty_exceptions_enable=False,  # a trace with local variables could show a passphrase
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    _register(app)
    return app


def _register(app: typer.Typer) -> None:
    app.command("assess")(assess_command)


def _global_options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and stop.",
            callback=lambda wanted: _version(wanted),
        ),
    ] = False,
) -> None:
    pass


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if not wanted:
        return
    try:
        typer.echo(f"foedus {metadata.version('foedus')}")
    except metadata.PackageNotFoundError:
        typer.echo("foedus (not installed: run from a checkout)")
    raise typer.Exit


def main() -> None:
    """What the console script `foedus` runs."""
    build_app()()


if __name__ == "__main__":
    main()
