"""`foedus simulate`: the simulator of the consensus room, in a process of its own.

Nothing here imports it (decision 0005).
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from node.reporting import JsonOption

SIMULATOR: Final = "consensus.simulate"

JobsOption = Annotated[
    int, typer.Option(min=1, max=64, help="Processes; the result does not depend on it.")
]


def veto_command(
    *,
    members: Annotated[
        str, typer.Option(help="Sizes of the network: 7, or 4-10, or 4,7,10; from 4 to 10.")
    ] = "4-10",
    quick: Annotated[
        bool, typer.Option("--quick", help="Three sets of each kind instead of all.")
    ] = False,
    jobs: JobsOption = 1,
    json_output: JsonOption = False,
) -> None:
    """Is any member needed? Make each one, and every tolerated set, silent, lying or cut off, and see whether the others go on.

    For 4 to 10 members, in simulation: every member alone, and for up to 7 every set of f; all others must order every entry
    given to them. Sets of f + 1 may stop the log, and must not split it. Then f colluders who never refer to one member's blocks:
    in how many rounds its entries are ordered all the same. All sets of all sizes take minutes; --quick takes one.

    Exit status: 0 no veto, fork or censorship found; 1 found, with what shows it; 2 could not be run.

    For example:

      foedus simulate veto --members 4 --quick

      foedus simulate veto --json --jobs 4
    """
    arguments = ["veto", "--members", members, "--jobs", str(jobs)]
    _become([*arguments, *(["--quick"] if quick else []), *(["--json"] if json_output else [])])


def wan_command(
    *,
    states: Annotated[
        str, typer.Option(help="Sizes of the network, from 4 to 195, with commas between.")
    ] = "20,50,100,195",
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds measured.")] = 20,
    min_round_ms: Annotated[
        int | None,
        typer.Option(
            min=1, help="Least time of a round; else the nodes' own, 1.", show_default=False
        ),
    ] = None,
    cores_up_to: Annotated[
        int,
        typer.Option(
            min=0, max=195, help="Up to this size every member runs the core: slow, n^2 a round."
        ),
    ] = 10,
    json_output: JsonOption = False,
) -> None:
    """States at their capitals, 20 to 195 of them: how long until an entry is ordered, and what it costs a member.

    In simulation, with none, f/2 and f members crashed: latency against the least that four hops over the same links take,
    processor time, bytes and memory of one member. The text and the document say which figure is from what.

    Exit status: 0 measured, 2 could not be run.

    For example:

      foedus simulate wan --states 20,195

      foedus simulate wan --states 20 --cores-up-to 20 --min-round-ms 50 --json
    """
    arguments = ["wan", "--states", states, "--rounds", str(rounds)]
    arguments += ["--cores-up-to", str(cores_up_to)]
    arguments += [] if min_round_ms is None else ["--min-round-ms", str(min_round_ms)]
    _become([*arguments, *(["--json"] if json_output else [])])


def _become(arguments: Sequence[str]) -> None:
    """The simulator takes this command's place, its exit status included."""
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", SIMULATOR, *arguments]
    os.execv(command[0], command)  # noqa: S606 - our own interpreter, no shell


def simulate_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Simulate a network of states in virtual time, with the protocol code that ships."
        " Exit status: 0 nothing found, 1 found, 2 could not be run.\n\n"
        "For example: foedus simulate veto --members 4 --quick",
    )
    app.command("veto")(veto_command)
    app.command("wan")(wan_command)
    return app
