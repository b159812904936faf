"""The root of the `foedus` command: registers every subcommand. Each lives in a module of its own.

A further command is one import and one line in `_register`.
"""

from importlib import metadata
from typing import Annotated, Final

import typer

from node.audit.command import open_copy, register_bench
from node.audit.command import register as register_audit
from node.cli.assess import assess_command
from node.cli.beacon_command import beacon_app
from node.cli.bench_command import bench_app
from node.cli.demo_command import demo_command
from node.cli.filing.commands import file_command, template_command
from node.cli.genesis_command import genesis_app
from node.cli.init_command import init_command
from node.cli.intake_command import intake_app
from node.cli.keys_command import keys_app
from node.cli.law.app import law_app
from node.cli.law_command import (
    cases_command,
    facilities_command,
    motions_command,
    runs_command,
)
from node.cli.log_command import log_app
from node.cli.node_command import node_app, status_command
from node.cli.receipt_command import receipt_app
from node.cli.sealed_command import open_app, seal_command, tip_app
from node.cli.simulate_command import simulate_app
from node.cli.submit_command import endorse_command, submit_command, vote_command
from node.reporting import EXIT_HELP

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
    app.command("init")(init_command)
    app.add_typer(keys_app(), name="keys")
    app.add_typer(genesis_app(), name="genesis")
    app.add_typer(node_app(), name="node")
    app.command("status")(status_command)
    app.command("submit")(submit_command)
    app.command("template")(template_command)
    app.command("file")(file_command)
    app.command("vote")(vote_command)
    app.command("endorse")(endorse_command)
    app.command("seal")(seal_command)
    app.add_typer(open_app(), name="open")
    app.add_typer(tip_app(), name="tip")
    app.add_typer(log_app(), name="log")
    app.add_typer(receipt_app(), name="receipt")
    app.command("motions")(motions_command)
    app.command("cases")(cases_command)
    app.command("runs")(runs_command)
    app.command("facilities")(facilities_command)
    app.add_typer(law_app(open_copy), name="law")
    app.add_typer(beacon_app(), name="beacon")
    app.command("assess")(assess_command)
    register_audit(app)
    app.add_typer(intake_app(), name="intake")
    bench = bench_app()
    register_bench(bench)
    app.add_typer(bench, name="bench")
    app.add_typer(simulate_app(), name="simulate")
    app.command("demo")(demo_command)


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
