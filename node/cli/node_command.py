"""`foedus node run` hands over to the node's own process; `foedus status` asks nodes how they stand."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

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
from node.cli.client import LedgerClient, Nodes
from node.cli.errors import ClientError, CouldNot
from node.reporting import JsonOption, Report, reporting, table
from node.settings import FILE_NAME

NODE_MODULE = "node.main"
_STATUS_COLUMNS = (
    *("node", "commit", "log", "final", "root", "round", "mempool"),
    *("peers in/out", "MiB", "uptime s", "alarms"),
)


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
    json_output: JsonOption = False,
) -> None:
    """Ask nodes how they stand: all members' by default.

    Exit status: 0 all answered, without alarm, with one root per size; 1 some did not, or raise an alarm, or differ;
    2 none answered.

    For example:

      foedus status --home us

      foedus status --genesis genesis.cbor --node KE --node BR@127.0.0.1:7451 --json
    """
    with reporting(json_output) as report:
        founded = ledger_of(home, genesis)
        answers = asyncio.run(_statuses(open_nodes(founded, home, node)))
        _show_statuses(report, answers)


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
    first = found[0]
    title = (
        f"{'DRILL ' if first.drill else ''}{first.origin}: quorum {first.quorum} of {first.members}"
    )
    report.show(document, table(title, _STATUS_COLUMNS, list(map(_status_row, found))))
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


def status_view(answer: pb.GetStatusResponse) -> dict[str, Any]:
    """One node's answer as JSON: bytes in hex."""
    return {
        "state": answer.state,
        "version": answer.version,
        "chain_id": answer.chain_id.hex(),
        "origin": answer.origin,
        "drill": answer.drill,
        "publication": answer.publication,
        "members": answer.members,
        "quorum": answer.quorum,
        "round": answer.round,
        "commit": answer.commit_index,
        "log_size": answer.log_size,
        "root": answer.root.hex(),
        "final_size": answer.final_size,
        "final_root": answer.final_root.hex(),
        "time_ms": answer.time_ms,
        "state_digest": answer.state_digest.hex(),
        "mempool_entries": answer.mempool_entries,
        "mempool_bytes": answer.mempool_bytes,
        "rss_bytes": answer.rss_bytes,
        "uptime_s": answer.uptime_s,
        "alarms": list(answer.alarms),
        "peers": [
            {
                "state": peer.state,
                "endpoint": peer.endpoint,
                "connected_in": peer.connected_in,
                "connected_out": peer.connected_out,
                "last_round": peer.last_round,
                "last_cosigned_size": peer.last_cosigned_size,
            }
            for peer in answer.peers
        ],
    }


def _status_row(answer: pb.GetStatusResponse) -> list[object]:
    inward = sum(peer.connected_in for peer in answer.peers)
    outward = sum(peer.connected_out for peer in answer.peers)
    return [
        answer.state,
        answer.commit_index,
        answer.log_size,
        answer.final_size,
        answer.root.hex()[:16],
        answer.round,
        answer.mempool_entries,
        f"{inward}/{outward} of {len(answer.peers)}",
        answer.rss_bytes >> 20,
        answer.uptime_s,
        len(answer.alarms) or "none",
    ]


def node_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="The node itself.\n\nFor example: foedus node run --home us",
    )
    app.callback()(_group)  # keeps `run` a subcommand although it is the only one
    app.command("run")(run_command)
    return app


def _group() -> None:
    """The node itself.

    For example: foedus node run --home us
    """
