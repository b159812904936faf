"""`foedus demo`: the whole treaty in one minute and a half, on this machine."""

import json
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.demo.cast import DEADLINE_S
from node.cli.demo.outcome import Outcome
from node.cli.demo.show import Show, StoryBroke
from node.cli.outbox import write_durably
from node.reporting import EXPECTED, Exit, sentence

STDOUT: Final = Path("-")
INTERRUPTED: Final = 130  # as shells say of Ctrl-C


def demo_command(
    *,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Write what was measured into this file as one JSON document; `-`: to standard output.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the homes, logs and stores, and say where.")
    ] = False,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Leave the five nodes running at the end, until Ctrl-C."),
    ] = False,
    deadline: Annotated[
        int,
        typer.Option(
            min=4, max=600, help="Seconds that a motion is open; more for a slow machine."
        ),
    ] = DEADLINE_S,
) -> None:
    """Watch five states found a ledger, approve one training run, catch another, and a veto and an erasure fail.

    Five processes, gRPC, RocksDB and MQTT on loopback; about a minute on two cores. A drill: deadlines are seconds, thresholds
    are the treaty's. Everything it starts is stopped at the end.

    Exit status: 0 the story held, 1 it did not (says where, and keeps the logs), 2 it could not begin, 130 interrupted.

    For example:

      foedus demo

      foedus demo --json out.json --serve
    """
    # Not at the top: nodes, gateway and broker come with it, and every other command would load them.
    from node.cli.demo.run import Wishes, rehearse

    show = Show(to_stderr=json_file == STDOUT)

    def told(outcome: Outcome) -> None:
        if json_file is not None:
            _write(json_file, outcome.as_json())
        show.line(
            f"\nThe story held: no veto, no erasure. {outcome.entries_final} entries final,"
            f" root {(outcome.root or '')[:16]}…, {outcome.seconds} s.",
            style="bold green",
        )

    try:
        if json_file is not None and json_file != STDOUT:
            json_file.parent.resolve(strict=True)  # found out now, and not after a minute
        rehearse(Wishes(deadline_s=deadline, keep=keep, serve=serve), show, told)
    except StoryBroke as broke:
        show.line(f"\nTHE STORY BROKE in step {broke.step or show.step_name}", style="bold red")
        show.line(f"  expected: {broke.expected}")
        show.line(f"  seen:     {broke.seen}")
        show.line("  logs:     */node.log and intake/intake.log in the folder above")
        raise typer.Exit(Exit.NO) from broke
    except EXPECTED as err:
        show.line(f"error: {sentence(err)}", style="bold red")
        raise typer.Exit(Exit.COULD_NOT) from err
    except KeyboardInterrupt as err:
        show.line("\nInterrupted; everything that was started is stopped.")
        raise typer.Exit(INTERRUPTED) from err


def _write(path: Path, document: dict[str, object]) -> None:
    text = json.dumps(document, indent=2) + "\n"
    if path == STDOUT:
        sys.stdout.write(text)
    else:
        write_durably(path, text.encode(), mode=0o644)
