"""`foedus node run` hands over to the node's own process; `foedus status` asks nodes how they stand."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from foedus.v1 import client_pb2 as pb
from node.cli.asking import (
    DEFAULT_HOME,
    GenesisOption,
    HomeOption,
    NodeOption,
    ledger_of,
    open_nodes,
)
from node.cli.client import LedgerClient
from node.cli.errors import ClientError, CouldNot
from node.cli.loss_command import confirm_loss_command
from node.cli.nodes import Nodes
from node.cli.seat_command import seat_command
from node.cli.standing import status_tables, status_view
from node.reporting import JsonOption, Report, reporting
from node.settings import FILE_NAME

NODE_MODULE = "node.main"
WAIT_S_MAX: Final = 3_600


def node_arguments(home: Path, passphrase_file: Path | None = None) -> list[str]:
    """The command line of a node's process, for this command and for those who start several."""
    arguments = [sys.executable, "-m", NODE_MODULE, "--home", str(home)]
    if passphrase_file is not None:
        arguments += ["--passphrase-file", str(passphrase_file)]
    return arguments


def run_command(
    *,
    home: HomeOption = DEFAULT_HOME,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the passphrase of the node's keys; else node.passphrase_file of the settings,"
            " else you are asked.",
            show_default=False,
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Run this home's node until SIGTERM or SIGINT. Its process takes this command's place.

    --json makes the node's log one JSON object a line (as FOEDUS_LOG_FORMAT=json does); it goes to standard error.

    Exit status, the node's own: 0 stopped when told to, 1 it cannot go on and its last line says why, 2 nothing was started.

    For example:

      foedus node run --home us

      FOEDUS_LOG_LEVEL=debug foedus node run --home us --passphrase-file us.pass
    """
    with reporting(json_output):
        if not (home / FILE_NAME).exists():
            raise CouldNot(
                f"{home}: no {FILE_NAME} there: name a home by --home; `foedus init` makes one"
            )
        if json_output:
            os.environ["FOEDUS_LOG_FORMAT"] = "json"
        # gRPC's core, read as it is loaded: else it writes a line of its own for every handshake that a stranger breaks off.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        arguments = node_arguments(home, passphrase_file)
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(arguments[0], arguments)  # noqa: S606 - our own interpreter, no shell


def status_command(
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    wait_s: Annotated[
        int,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0,
            max=WAIT_S_MAX,
            help="Ask again each second until every node asked has answered, at most so long.",
            show_default=False,
        ),
    ] = 0,
    json_output: JsonOption = False,
) -> None:
    """Ask nodes how they stand: all members' by default.

    Of each node: commit, lag behind what a quorum has reached, log, round. Of each member: its round, its turns as leader that
    were committed and skipped, and how long its blocks take to be ordered, as it says and as others see it: a member that is
    kept out shows there. Then what each node refused and which of its queues hold something. --json has all of it.

    Exit status: 0 all answered, without alarm, with one root per size; 1 some did not, or raise an alarm, or differ;
    2 none answered.

    For example:

      foedus status --home us

      foedus status --home us --node US --wait 60

      foedus status --genesis genesis.cbor --node KE --node BR@127.0.0.1:7451 --json
    """
    with reporting(json_output) as report:
        founded = ledger_of(home, genesis)
        answers = asyncio.run(_within(wait_s, lambda: open_nodes(founded, home, node)))
        _show_statuses(report, answers)


async def _within(
    seconds: int, nodes: Callable[[], Nodes]
) -> list[pb.GetStatusResponse | ClientError]:
    """The first answers without a failure, or those when the time is up. Connections are made anew: an old one backs off."""
    deadline = time.monotonic() + seconds
    while True:
        answers = await _statuses(nodes())
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not any(isinstance(answer, ClientError) for answer in answers):
            return answers
        await asyncio.sleep(min(1, left_s))


async def _statuses(nodes: Nodes) -> list[pb.GetStatusResponse | ClientError]:
    async def one(client: LedgerClient) -> pb.GetStatusResponse | ClientError:
        try:
            return await client.status()
        except ClientError as err:
            return err

    async with nodes:
        return list(await asyncio.gather(*map(one, nodes.clients)))


def _show_statuses(report: Report, answers: Sequence[pb.GetStatusResponse | ClientError]) -> None:
    found = [answer for answer in answers if isinstance(answer, pb.GetStatusResponse)]
    failed = [answer for answer in answers if isinstance(answer, ClientError)]
    if not found:
        raise CouldNot("; ".join(map(str, failed)))
    differing = roots_that_differ(found)
    document = {
        "nodes": [status_view(answer) for answer in found],
        "unreachable": [{"state": err.node, "why": err.why} for err in failed],
        "roots_differ_at": differing,
    }
    report.show(document, status_tables(found))
    for err in failed:
        report.answer_is_no(str(err))
    for answer in found:
        for alarm in answer.alarms:
            report.answer_is_no(f"node {answer.state}: ALARM: {alarm}")
    for size in differing:
        report.answer_is_no(
            f"nodes show different roots at size {size}: `foedus audit` names who is wrong"
        )


def roots_that_differ(answers: Sequence[pb.GetStatusResponse]) -> list[int]:
    """Sizes at which two of these nodes show two roots: their logs have parted."""
    roots: dict[int, set[bytes]] = {}
    for answer in answers:
        roots.setdefault(answer.log_size, set()).add(answer.root)
        if answer.final_root:
            roots.setdefault(answer.final_size, set()).add(answer.final_root)
    return sorted(size for size, found in roots.items() if len(found) > 1)


def node_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="The node itself.\n\nFor example: foedus node run --home us",
    )
    app.command("run")(run_command)
    app.command("confirm-loss")(confirm_loss_command)
    app.command("seat")(seat_command)
    return app
