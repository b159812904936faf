"""`foedus beacon`: a member's hash chain for drawing lots: made, anchored, and revealed link by link (RULINGS R63)."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

import typer

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
from node.cli.errors import ClientError, CouldNot
from node.cli.law.records import Note, Question, of_client
from node.cli.nodes import Nodes
from node.cli.outbox import write_durably
from node.cli.passphrases import new_passphrase, read_passphrase
from node.reporting import JsonOption, reporting
from node.signing.chain import LINKS_MAX, LINKS_USUAL, BeaconChain
from node.signing.keystore import read_chain, write_chain
from node.treaty.bodies import is_name

ASKED_S: Final = 30.0
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Write the draft here, for `foedus file note --from FILE`.",
        show_default=False,
        metavar="FILE",
    ),
]
ChainArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The chain's file.")]


def new_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Chain file to make.")],
    *,
    state: Annotated[str, typer.Option(help="The member state whose chain it is.")],
    links: Annotated[
        int, typer.Option(help="Rounds it lasts.", min=1, max=LINKS_MAX)
    ] = LINKS_USUAL,
    out: OutOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a hash chain for the beacon, encrypted like a key file, and the draft of the note that anchors it.

    Make a new one for each anchor: a chain whose links have left it is never anchored again. An existing file is never
    overwritten.

    Exit status: 0 made, 2 not.

    For example:

      foedus beacon new ke.chain --state KE --out anchor.json

      foedus file note --from anchor.json --home ke-home
    """
    with reporting(json_output) as report:
        if not is_name(state):
            raise CouldNot(f"--state {state!r}: want letters, digits, '.', '_', '-', at most 64")
        passphrase = new_passphrase(passphrase_file, str(file))
        if not file.parent.is_dir():
            raise CouldNot(f"{file.parent}: no such folder: make it first")
        chain = BeaconChain.generate(links)
        write_chain(file, state, chain, passphrase)
        draft = _draft("anchor", chain.anchor)
        _write(out, draft)
        document = {"file": str(file), "state": state, "links": links, "draft": draft}
        report.show(document, f"{file}: {links} links for {state}; anchor {chain.anchor.hex()}")


def anchor_command(
    file: ChainArgument,
    *,
    out: OutOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write the anchor's draft again. A chain that has shown a link gives none: whoever saw it knows what would come.

    Exit status: 0 written, 2 not.

    For example:

      foedus beacon anchor ke.chain --out anchor.json
    """
    with reporting(json_output) as report:
        state, chain = read_chain(file, read_passphrase(passphrase_file, str(file)))
        if not chain.is_fresh:
            raise CouldNot(
                f"{file}: has shown its link for round {chain.round}: make a new chain to anchor"
            )
        draft = _draft("anchor", chain.anchor)
        _write(out, draft)
        report.show({"state": state, "draft": draft}, f"anchor {chain.anchor.hex()} of {state}")


def reveal_command(
    file: ChainArgument,
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    reader_keys: ReaderOption = None,
    out: OutOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Give the link for the round that is open now, as the draft of a note.

    f+1 nodes must say that the round is open and where the ledger holds the chain: a single one that lies could have a link
    shown that gives away the rounds before it. That the link leaves is written into the chain's file first; asked again for
    the same round, the same link is given.

    Exit status: 0 given, 1 no round is open or none of this state's links is wanted, 2 it could not be.

    For example:

      foedus beacon reveal ke.chain --home ke-home --out reveal.json

      foedus file note --from reveal.json --home ke-home
    """
    with reporting(json_output) as report:
        passphrase = read_passphrase(passphrase_file, str(file))
        state, chain = read_chain(file, passphrase)
        founded = ledger_of(home, genesis)
        nodes = open_nodes(founded, home, node, reader_of(reader_keys, passphrase_file))
        rows = asyncio.run(_agreed(nodes, state, report.note))
        opened, held = rows["round"], rows["anchor"]
        why = _not_wanted(state, opened, held, revealed=rows["reveal"] is not None)
        if why or opened is None or held is None:
            report.show({"state": state, "round": None, "draft": None, "why": why}, why)
            report.answer_is_no(why)
            return
        number = opened["number"]
        value, after = chain.reveal(
            number, held=bytes.fromhex(held["tip"]), held_round=held["round"]
        )
        if after != chain:
            write_chain(file, state, after, passphrase, replace=True)
        draft = _draft("reveal", value, about=str(number))
        _write(out, draft)
        told = f"link for round {number}, due by ledger second {opened['due']}: {value.hex()}"
        document = {"state": state, "round": number, "due": opened["due"], "left": after.shown}
        report.show({**document, "draft": draft}, f"{told}; {after.shown} links are left")


def _not_wanted(
    state: str, opened: dict[str, Any] | None, held: dict[str, Any] | None, *, revealed: bool
) -> str:
    """Empty if the open round waits for this state's link."""
    if opened is None:
        return "no round of the beacon is open"
    if held is None:
        return f"the ledger holds no anchor of {state}"
    if state not in opened["expected"]:
        return f"round {opened['number']} does not expect {state}"
    return f"{state} has revealed in round {opened['number']}" if revealed else ""


async def _agreed(nodes: Nodes, state: str, note: Note) -> dict[str, dict[str, Any] | None]:
    """The rows of the open round and of the state's chain, as f+1 nodes say them alike. Raises CouldNot."""
    async with nodes:
        said: Counter[str] = Counter()
        for client in nodes.clients:
            try:
                rows = await _rows(client, state, note)
            except ClientError as err:
                note(f"{client.state}: {err}")
                continue
            told = json.dumps(rows, sort_keys=True)
            said[told] += 1
            if said[told] >= nodes.enough:
                return rows
        most = max(said.values(), default=0)
        raise CouldNot(
            f"{sum(said.values())} nodes answered, {most} alike: {nodes.enough} must say which round is open. Ask again, or name"
            " more by --node"
        )


async def _rows(client: LedgerClient, state: str, note: Note) -> dict[str, dict[str, Any] | None]:
    found: dict[str, dict[str, Any] | None] = {}
    for table, key in (("round", "open"), ("anchor", state), ("reveal", state)):
        question = Question(name="state", about=table, moment=None, limit=100_000)
        page = await of_client(client, question, ASKED_S, note)
        found[table] = next((row for row in page["rows"] if row["key"] == key), None)
    return found


def _draft(kind: str, value: bytes, **fields: str) -> dict[str, Any]:
    body = {"type": kind, **fields, "hash": value.hex()}
    return {"kind": "note", "class": "R", "body": body}


def _write(out: Path | None, draft: dict[str, Any]) -> None:
    if out is not None:
        write_durably(out, (json.dumps(draft, indent=1) + "\n").encode())


def beacon_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="A member's hash chain for drawing lots: make it, anchor it, reveal its links.\n\n"
        "For example: foedus beacon reveal ke.chain --home ke-home --out reveal.json",
    )
    app.command("new")(new_command)
    app.command("anchor")(anchor_command)
    app.command("reveal")(reveal_command)
    return app
