"""`foedus log list|show|watch|reader-proof`: the log through a node. What a node shows is its word; a receipt is proof."""

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from foedus.v1 import client_pb2 as pb
from node.cli.asking import (
    DEFAULT_HOME,
    GenesisOption,
    HomeOption,
    NodeOption,
    PassphraseOption,
    ReaderOption,
    addresses,
    ledger_of,
    open_nodes,
    reader_of,
)
from node.cli.client import state_word
from node.cli.errors import BadAnswer, CouldNot
from node.cli.nodes import Nodes
from node.reporting import JsonOption, Report, reporting, table

PAGE: Final = 500
READER_HEADER: Final = "foedus-reader"  # of HTTP requests for entry bundles
READER_VALID_S_MAX: Final = 3600  # nodes take no longer ones
LISTED_MAX: Final = 100_000
_COLUMNS: Final = ("index", "kind", "author", "state", "about", "rejected")

KindOption = Annotated[
    str, typer.Option(help="Only this kind: usage, TRAIN, vote, decision, ...", show_default=False)
]
AuthorOption = Annotated[str, typer.Option(help="Only this author's.", show_default=False)]


def list_command(
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    kind: KindOption = "",
    author: AuthorOption = "",
    subject: Annotated[
        str, typer.Option(help="Only about this, as in the entry.", show_default=False)
    ] = "",
    case: Annotated[str, typer.Option(help="Only of this case.", show_default=False)] = "",
    first: Annotated[int, typer.Option(help="First index wanted.", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=LISTED_MAX)] = 100,
    newest: Annotated[
        bool, typer.Option("--newest", help="The last ones of the whole log; no filters then.")
    ] = False,
    reader_keys: ReaderOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """List leaves of the log: signed entries, and the records that every node derives from them.

    Exit status: 0 listed, though it may be nothing; 2 no node answered, or it refused.

    For example:

      foedus log list --home us --newest --limit 20

      foedus log list --home us --kind decision --json

      foedus log list --home us --author acme --first 1000
    """
    with reporting(json_output) as report:
        if newest and (kind or author or subject or case):
            raise CouldNot("--newest reads the whole log: leave out the filters, or --newest")
        founded = ledger_of(home, genesis)
        reader = reader_of(reader_keys, passphrase_file)
        request = pb.ListRequest(
            author=author, kind=kind, subject=subject, case=case, first=first, newest=newest
        )
        nodes = open_nodes(founded, home, node, reader)
        entries = asyncio.run(_list(nodes, request, limit))
        document = {"entries": [entry_view(entry) for entry in entries]}
        rows = [_row(entry) for entry in entries]
        report.show(document, table(f"{len(entries)} leaves", _COLUMNS, rows))


async def _list(nodes: Nodes, request: pb.ListRequest, limit: int) -> list[pb.LogEntry]:
    """Pages until the limit; all of them from the node that answered the first."""
    async with nodes:
        found: list[pb.LogEntry] = []
        client = await nodes.first_reachable()
        while len(found) < limit:
            request.limit = min(PAGE, limit - len(found))
            page = await client.list_entries(request)
            found += page.entries
            if request.newest or not page.HasField("next_first"):
                break
            if page.next_first <= request.first and page.entries:
                raise BadAnswer(client.state, f"its pages do not go on after {request.first}")
            request.first = page.next_first
        return found


def show_command(
    key: Annotated[
        str, typer.Argument(metavar="INDEX|HASH", help="A leaf's index or an entry's hash.")
    ],
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Also write the leaf's bytes here.", show_default=False),
    ] = None,
    reader_keys: ReaderOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show one leaf: what it says, who signed it, how far it has come, why it was rejected if it was.

    Exit status: 0 shown, 2 not: no such leaf, withheld, or no node answered.

    For example:

      foedus log show 17 --home us

      foedus log show 5f0c... --home us --out entry.cose --json
    """
    with reporting(json_output) as report:
        wanted = leaf_key(key)
        founded = ledger_of(home, genesis)
        nodes = open_nodes(founded, home, node, reader_of(reader_keys, passphrase_file))
        answer = asyncio.run(_get(nodes, wanted))
        if answer.entry.withheld:
            raise CouldNot(
                f"leaf {answer.entry.index} is restricted: name a member's, inspector's or evaluator's keys"
                " by --reader-keys"
            )
        if out is not None:
            out.write_bytes(answer.entry.leaf)
        view = entry_view(answer.entry)
        report.show(
            {**view, "log_size": answer.at.size}, json.dumps(view, indent=2, ensure_ascii=False)
        )


async def _get(nodes: Nodes, key: int | bytes) -> pb.GetResponse:
    async with nodes:
        return await nodes.first(lambda client: client.get(key))


def watch_command(
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only this kind; may be repeated.", show_default=False),
    ] = None,
    author: AuthorOption = "",
    first: Annotated[
        int | None,
        typer.Option(
            help="Begin at this index; else with what comes now.", min=0, show_default=False
        ),
    ] = None,
    integrated: Annotated[
        bool, typer.Option("--integrated", help="Do not wait until entries are final.")
    ] = False,
    count: Annotated[
        int | None, typer.Option(help="Stop after so many.", min=1, show_default=False)
    ] = None,
    reader_keys: ReaderOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Watch the log grow: every leaf as it becomes final, until Ctrl-C or --count. Under --json one object a line.

    When the node goes away the watch goes on at the next one, from where it was.

    Exit status: 0 stopped by you or by --count, 2 no node is left.

    For example:

      foedus log watch --home us

      foedus log watch --home us --kind finding --kind decision --json
    """
    with reporting(json_output) as report:
        founded = ledger_of(home, genesis)
        request = pb.WatchRequest(integrated=integrated, kinds=kind or (), author=author)
        if first is not None:
            request.first = first
        nodes = open_nodes(founded, home, node, reader_of(reader_keys, passphrase_file))
        try:
            asyncio.run(_watch(nodes, request, count, report))
        except KeyboardInterrupt:
            report.note("stopped")


async def _watch(nodes: Nodes, request: pb.WatchRequest, count: int | None, report: Report) -> None:
    seen = 0
    async with nodes:
        async for batch in nodes.watch(request, lost=lambda err: report.note(str(err))):
            for entry in batch.entries:
                view = entry_view(entry)
                report.line(view, "  ".join(str(cell) for cell in _row(entry) if cell != ""))
                seen += 1
                if seen == count:
                    return


def reader_proof_command(
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: Annotated[
        str, typer.Option(help="The member whose node is to be read; no other can use the proof.")
    ],
    reader_keys: ReaderOption = None,
    passphrase_file: PassphraseOption = None,
    valid: Annotated[
        int, typer.Option(help="Seconds from now on.", min=1, max=READER_VALID_S_MAX)
    ] = READER_VALID_S_MAX,
    json_output: JsonOption = False,
) -> None:
    """Sign the HTTP header with which a registered reader takes entry bundles where publication is `members`.

    Asks nobody: the proof says who reads what node until when, signed by the reader's author key. Whoever has it can read there
    for so long: show it to that node alone, whose certificate the genesis holds.

    Exit status: 0 signed, 2 not: no keys, or no such member.

    For example:

      foedus log reader-proof --node KE --genesis genesis.cbor --reader-keys inspector.key > header

      curl --cacert ke.pem --resolve ke.foedus:7452:10.0.0.7 -H @header https://ke.foedus:7452/tile/entries/000
    """
    with reporting(json_output) as report:
        reader = reader_of(reader_keys, passphrase_file)
        if reader is None:
            raise CouldNot(
                "want --reader-keys: the author's key file of a member, inspector or evaluator"
            )
        (address,) = addresses(ledger_of(home, genesis), home, [node])
        expires_s = int(time.time()) + valid
        proof = base64.b64encode(reader.proof(address, expires_s)).decode()
        shown = {
            "header": READER_HEADER,
            "proof": proof,
            "node": address.state,
            "party": reader.party,
        }
        report.show({**shown, "expires_s": expires_s}, f"{READER_HEADER}: {proof}")


def entry_view(entry: pb.LogEntry) -> dict[str, Any]:
    """A leaf as JSON: the node's facts about it, and its content under `content` unless withheld."""
    return {
        "index": entry.index,
        "kind": entry.kind,
        "author": entry.author,
        "state": state_word(entry.state),
        "rejected": entry.code or None,
        "withheld": entry.withheld,
        "leaf_digest": entry.leaf_digest.hex(),
        "content": _content(entry),
    }


def _content(entry: pb.LogEntry) -> Any:
    try:
        return json.loads(entry.json) if entry.json else None
    except (json.JSONDecodeError, RecursionError):
        return entry.json  # a node of another make: its words as they are


def _row(entry: pb.LogEntry) -> Sequence[object]:
    content = _content(entry)
    about = ""
    if isinstance(content, dict):
        names = ("subject", "motion", "case", "finding", "run", "outcome", "status", "check")
        about = ", ".join(
            str(content[name]) for name in names if content.get(name) not in (None, "")
        )
    kind = "(withheld)" if entry.withheld else entry.kind
    return (entry.index, kind, entry.author, state_word(entry.state), about, entry.code)


def leaf_key(text: str) -> int | bytes:
    """An index, or the 64 hex digits of a hash. Raises CouldNot."""
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise CouldNot(f"{text[:80]!r}: want a leaf's index, or an entry's hash of 64 hex digits")
    return digest


def log_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Read the log through a node: list, show, watch.\n\n"
        "For example: foedus log list --home us --newest",
    )
    app.command("list")(list_command)
    app.command("show")(show_command)
    app.command("watch")(watch_command)
    app.command("reader-proof")(reader_proof_command)
    return app
