"""`foedus bench`: measure a network of real nodes on this machine, or the law alone."""

import signal
import tempfile
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from node.cli.bench import catch_up, catch_up_figures, figures, law, law_figures, localnet
from node.cli.bench.law_world import Size
from node.cli.bench.localnet import Plan
from node.reporting import EXIT_HELP, JsonOption, reporting


def localnet_command(
    *,
    states: Annotated[
        int, typer.Option(min=1, max=len(localnet.STATES), help="Member states: a node each.")
    ] = 4,
    seconds: Annotated[
        float, typer.Option(min=1, max=3600, help="Length of each load, full and half.")
    ] = 20,
    in_flight: Annotated[
        int, typer.Option(min=1, max=8192, help="Full load: entries of one node on their way.")
    ] = localnet.IN_FLIGHT,
    generators: Annotated[
        int, typer.Option(min=1, max=16, help="Processes that make the load.")
    ] = 1,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Work in this new folder and keep it: homes, logs, stores.", show_default=False
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Entries a second, latency, processor time, memory and bytes of a network of real processes on loopback.

    Statements of 300 bytes are signed before the clock starts and sent by a process of its own: first as fast as they become
    final (full load, a bounded number on their way), then at half that rate by the clock. In the same run it measures the
    signature limit, which is what the cores could do if nodes did nothing but check signatures: cores x verifications
    per second of one core / nodes. Needs Linux. It stops by itself; nothing else should run meanwhile.

    Exit status: 0 measured, 2 could not be measured.

    For example:

      foedus bench localnet --states 4 --seconds 20 --json

      foedus bench localnet --states 7 --seconds 10 --keep /tmp/bench
    """
    plan = Plan(states=states, seconds=seconds, generators=generators, in_flight=in_flight)
    with reporting(json_output) as report:
        signal.signal(signal.SIGTERM, _end)
        with tempfile.TemporaryDirectory(prefix="foedus-bench-") as temporary:
            if keep is not None:
                keep.mkdir(parents=True)
            found = localnet.run(plan, keep or Path(temporary), report.note)
        document = figures.document(found)
        report.show(document, figures.tables(document))


def catch_up_command(
    *,
    states: Annotated[
        int, typer.Option(min=4, max=len(localnet.STATES), help="Member states: a node each.")
    ] = 4,
    rate: Annotated[
        float, typer.Option(min=1, max=100_000, help="Entries a second, over the other nodes.")
    ] = 100,
    away: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds that the last node stays away, twice.")
    ] = 30,
    live: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds of all nodes, for live speed.")
    ] = 15,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="Work in this new folder and keep it: homes, logs, stores.", show_default=False
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """How fast a node far behind catches up by certified commits, against how fast the network goes, under load.

    All nodes but the last run under load; the last starts from nothing and catches up. Then all run, for live speed. Then the
    last is killed, stays away again, and comes back. Load is a fixed rate and never stops. Needs Linux. It stops by itself;
    nothing else should run meanwhile.

    Exit status: 0 measured, 2 could not be measured.

    For example:

      foedus bench catch-up --states 4 --rate 100 --away 30

      foedus bench catch-up --rate 50 --json
    """
    plan = catch_up.Plan(states=states, rate=rate, away_s=away, live_s=live)
    with reporting(json_output) as report:
        signal.signal(signal.SIGTERM, _end)
        with tempfile.TemporaryDirectory(prefix="foedus-bench-") as temporary:
            if keep is not None:
                keep.mkdir(parents=True)
            found = catch_up.run(plan, keep or Path(temporary), report.note)
        document = catch_up_figures.document(found)
        report.show(document, catch_up_figures.tables(document))


def law_command(
    *,
    statements: Annotated[
        int,
        typer.Option(min=law.WINDOW, max=10**8, help="Usage statements after the registration."),
    ] = 1_000_000,
    commit: Annotated[int, typer.Option(min=1, max=100_000, help="Statements a commit.")] = 2_000,
    states: Annotated[int, typer.Option(min=5, max=195, help="Member states.")] = 195,
    facilities: Annotated[int, typer.Option(min=1, max=100_000, help="Covered sites.")] = 2_000,
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Training runs.")] = 10_000,
    json_output: JsonOption = False,
) -> None:
    """What a usage statement costs the law: statements a second on one core, memory, and how that changes as the history grows.

    In a figure: the law itself and the state digest, in processor time of one thread. Not in it: signatures, the log's tree
    and the disk (see `foedus bench localnet`). At the end it restores the law from rows and replays it from genesis, and says
    whether the digests are equal. A million statements take some three minutes.

    Exit status: 0 measured, 1 measured, and digests differ, 2 could not be measured.

    For example:

      foedus bench law

      foedus bench law --statements 50000 --json
    """
    size = Size(states=states, facilities=facilities, runs=runs)
    with reporting(json_output) as report:
        found = law.run(law.Plan(statements=statements, commit=commit, size=size), report.note)
        document = law_figures.document(found)
        report.show(document, law_figures.tables(document))
        if not found.restored.equal:
            report.answer_is_no("the restored, the replayed and the live law disagree")


def _end(number: int, frame: FrameType | None) -> None:
    """SIGTERM unwinds as Ctrl-C does, so that no node is left behind."""
    del number, frame
    raise KeyboardInterrupt


def bench_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help=f"Measure networks of real nodes on this machine, or the law alone. {EXIT_HELP}\n\n"
        "For example: foedus bench localnet --states 4 --seconds 20",
    )
    app.command("localnet")(localnet_command)
    app.command("catch-up")(catch_up_command)
    app.command("law")(law_command)
    return app
