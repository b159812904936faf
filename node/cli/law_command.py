"""`foedus motions`, `cases`, `runs`, `facilities`: the law's views of the log, as a node shows them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Protocol, TypeVar

import typer
from google.protobuf.message import Message
from rich.table import Table

from foedus.v1 import client_pb2 as pb
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
from node.cli.client import LedgerClient
from node.cli.errors import BadAnswer
from node.cli.nodes import Nodes
from node.ledger.questions.moment import told_time
from node.reporting import JsonOption, reporting, table

PAGE: Final = 500
LISTED_MAX: Final = 10_000
LimitOption = Annotated[int, typer.Option(help="At most so many.", min=1, max=LISTED_MAX)]
OpenOption = Annotated[bool, typer.Option("--open", help="Only those not decided yet.")]

Item = TypeVar("Item", bound=Message)


class Page(Protocol):
    """What every list of the client service answers beside its items."""

    @property
    def next_first(self) -> int: ...

    def HasField(self, field_name: Any) -> bool: ...  # noqa: N802 - protobuf's name


def motions_command(
    motion: Annotated[
        str | None, typer.Argument(metavar="MOTION", help="One motion's id.", show_default=False)
    ] = None,
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    open_only: OpenOption = False,
    limit: LimitOption = 100,
    reader_keys: ReaderOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """List motions, or show one: rule, threshold, who may vote, votes so far, decision.

    Exit status: 0 shown, 2 no such motion, or no node answered.

    For example:

      foedus motions --home us --open

      foedus motions BREACH:C15:US:lineage:acme/base --home us --json
    """
    with reporting(json_output) as report:
        nodes = _nodes(home, genesis, node, reader_keys, passphrase_file)
        if motion is not None:
            one = asyncio.run(_one(nodes, lambda client: client.motion(motion)))
            report.show(view(one), _motion_text(one))
            return

        async def page(
            client: LedgerClient, first: int, count: int
        ) -> tuple[Sequence[pb.Motion], Page]:
            request = pb.ListMotionsRequest(open_only=open_only, first=first, limit=count)
            answer = await client.motions(request)
            return answer.motions, answer

        found = asyncio.run(_all(nodes, page, limit))
        rows = [
            (
                m.index,
                m.motion,
                m.kind,
                m.rule,
                f"{m.threshold} of {len(m.eligible)}",
                len(m.votes),
                _outcome(m),
            )
            for m in found
        ]
        columns = ("index", "motion", "kind", "rule", "threshold", "votes", "outcome")
        report.show({"motions": list(map(view, found))}, table("Motions", columns, rows))


def cases_command(
    case: Annotated[
        str | None, typer.Argument(metavar="CASE", help="One case's id.", show_default=False)
    ] = None,
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    open_only: OpenOption = False,
    limit: LimitOption = 100,
    reader_keys: ReaderOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """List cases, or show one: what was found, about whom, how grave, each step so far.

    Exit status: 0 shown, 2 no such case, or no node answered.

    For example:

      foedus cases --home us --open

      foedus cases C15:US:lineage:acme/base --home us --json
    """
    with reporting(json_output) as report:
        nodes = _nodes(home, genesis, node, reader_keys, passphrase_file)
        if case is not None:
            one = asyncio.run(_one(nodes, lambda client: client.case(case)))
            report.show(view(one), _case_text(one))
            return

        async def page(
            client: LedgerClient, first: int, count: int
        ) -> tuple[Sequence[pb.Case], Page]:
            request = pb.ListCasesRequest(open_only=open_only, first=first, limit=count)
            answer = await client.cases(request)
            return answer.cases, answer

        found = asyncio.run(_all(nodes, page, limit))
        rows = [
            (c.case, c.check, c.subject, c.severity, c.status, c.result, c.reply_due, c.motion)
            for c in found
        ]
        columns = ("case", "check", "about", "severity", "status", "result", "reply due", "motion")
        report.show({"cases": list(map(view, found))}, table("Cases", columns, rows))


def runs_command(
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    limit: LimitOption = 100,
    reader_keys: ReaderOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """List training runs: status, tier and the gates that decided it, compute of the whole lineage.

    Exit status: 0 listed, 2 no node answered, or it refused.

    For example:

      foedus runs --home us --json
    """
    with reporting(json_output) as report:
        nodes = _nodes(home, genesis, node, reader_keys, passphrase_file)

        async def page(
            client: LedgerClient, first: int, count: int
        ) -> tuple[Sequence[pb.RunSummary], Page]:
            answer = await client.runs(pb.ListRunsRequest(first=first, limit=count))
            return answer.runs, answer

        found = asyncio.run(_all(nodes, page, limit))
        rows = [(r.run, r.status, r.tier, r.lineage_pflop, ", ".join(r.gates)) for r in found]
        columns = ("run", "status", "tier", "lineage PFLOP", "gates")
        report.show({"runs": list(map(view, found))}, table("Runs", columns, rows))


def facilities_command(
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    limit: LimitOption = 100,
    reader_keys: ReaderOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """List declared facilities: operator, capacity, memory, power.

    Exit status: 0 listed, 2 no node answered, or it refused.

    For example:

      foedus facilities --home us --json
    """
    with reporting(json_output) as report:
        nodes = _nodes(home, genesis, node, reader_keys, passphrase_file)

        async def page(
            client: LedgerClient, first: int, count: int
        ) -> tuple[Sequence[pb.FacilitySummary], Page]:
            answer = await client.facilities(pb.ListFacilitiesRequest(first=first, limit=count))
            return answer.facilities, answer

        found = asyncio.run(_all(nodes, page, limit))
        rows = [(f.facility, f.operator, f.capacity_mh, f.mem_gb, f.max_w, f.cell) for f in found]
        columns = ("facility", "operator", "capacity mH", "memory GB", "max W", "cell")
        report.show({"facilities": list(map(view, found))}, table("Facilities", columns, rows))


def view(message: Message) -> dict[str, Any]:
    """A message as JSON under the schema's names: integers as numbers (all below 2^53), bytes in hex, unset as null.

    Not protobuf's own JSON, which writes 64-bit integers as texts and bytes in base64.
    """
    found: dict[str, Any] = {}
    for descriptor in message.DESCRIPTOR.fields:
        value = getattr(message, descriptor.name)
        if descriptor.is_repeated:
            found[descriptor.name] = [_plain_value(item) for item in value]
        elif descriptor.message_type is not None and not message.HasField(descriptor.name):
            found[descriptor.name] = None
        else:
            found[descriptor.name] = _plain_value(value)
    return found


def _plain_value(value: Any) -> Any:
    if isinstance(value, Message):
        return view(value)
    return value.hex() if isinstance(value, bytes) else value


def _nodes(
    home: Path,
    genesis: Path | None,
    node: list[str] | None,
    reader_keys: Path | None,
    passphrase_file: Path | None,
) -> Nodes:
    founded = ledger_of(home, genesis)
    return open_nodes(founded, home, node, reader_of(reader_keys, passphrase_file))


async def _one(nodes: Nodes, ask: Callable[[LedgerClient], Awaitable[Item]]) -> Item:
    async with nodes:
        return await nodes.first(ask)


async def _all(
    nodes: Nodes,
    page: Callable[[LedgerClient, int, int], Awaitable[tuple[Sequence[Item], Page]]],
    limit: int,
) -> list[Item]:
    """Pages until the limit, all from the node that answered first."""
    async with nodes:
        client = await nodes.first_reachable()
        found: list[Item] = []
        first = 0
        while len(found) < limit:
            items, answer = await page(client, first, min(PAGE, limit - len(found)))
            found += items
            if not answer.HasField("next_first"):
                break
            if answer.next_first <= first and first:
                raise BadAnswer(client.state, f"its pages do not go on after {first}")
            first = answer.next_first
        return found


def _outcome(motion: pb.Motion) -> str:
    return motion.decision.outcome if motion.HasField("decision") else "open"


def _motion_text(motion: pb.Motion) -> list[str | Table]:
    head = [
        f"{motion.kind} {motion.motion}",
        f"about {motion.about}; recused: {', '.join(motion.subjects) or 'nobody'}",
        f"rule {motion.rule}, threshold {motion.threshold} of {len(motion.eligible)}",
        f"if nobody acts: {motion.default_outcome}",
    ]
    if motion.HasField("decision"):
        decided = motion.decision
        counts = f"{decided.yes} yes, {decided.no} no, {decided.abstain} abstain, {decided.absent} absent"
        head.append(
            f"DECIDED {decided.outcome}: {counts}{'; ' * bool(decided.reason)}{decided.reason}"
        )
    else:
        head.append(f"open until {told_time('closes_at', motion.closes_at)}")
    votes = [(vote.state, vote.choice) for vote in motion.votes]
    return ["\n".join(head), table("Votes", ("state", "choice"), votes)]


def _case_text(case: pb.Case) -> list[str | Table]:
    head = [
        f"case {case.case}: {case.status}{' ' * bool(case.result)}{case.result}",
        f"about {case.subject}, severity {case.severity}, check {case.check or 'none'}",
        f"reply due by {told_time('reply_due', case.reply_due)}; motion {case.motion or 'none'}",
    ]
    steps = [(step.status, told_time("at", step.time_s), step.index) for step in case.steps]
    return ["\n".join(head), table("Steps", ("status", "ledger time", "leaf"), steps)]
