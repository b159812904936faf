"""`foedus repair`: what is wrong with a node's store, and a whole one in its place."""

import getpass
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.audit.archive_command import HomeOption, genesis_bytes
from node.audit.progress_bars import showing_progress
from node.ledger.genesis import parse_genesis
from node.reporting import CouldNot, JsonOption, reporting
from node.settings import FILE_NAME, Settings, load_settings
from node.signing.keystore import read_node_keys

if TYPE_CHECKING:  # the replay comes with them
    from node.audit.repair import Repaired
    from node.audit.source import Source

PASSPHRASE_BYTES_MAX = 4096


def repair_command(
    *,
    home: HomeOption = Path(),
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="Where lost rows come from: an archive, another node's home, host:port of a member's peer listener, or the"
            " word `peers` for all of them. May be repeated; asked in this order, after the own store.",
            show_default=False,
            metavar="DIR|HOST:PORT|peers",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say what is wrong and change nothing.")
    ] = False,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the passphrase of the node's key file: peers are asked under its certificate.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Say what is damaged in a stopped node's store, row by row, and put a whole store in its place.

    What is sound is kept; what is lost is taken from the copies named. Nothing of them is believed: blocks are named by their
    digests and signed, the order and the law are run again, and the root must be the one that a quorum cosigned. What no copy
    holds is cut: the node fetches the rest from its peers when it starts. The damaged store is set aside, never deleted, and
    the sign state is not touched.

    Exit status: 0 the store is sound, or it was put right; 1 with --check: it is damaged; 2 nothing could be done.

    For example:

      foedus repair --home ke-home --check

      foedus repair --home ke-home --from archive-us --from peers --passphrase-file ke.pass
    """
    from node.audit.repair import repair_home

    with reporting(json_output) as report, ExitStack() as stack:
        settings = load_settings(home / FILE_NAME, {})
        others = _sources(source or (), settings, passphrase_file)
        for other in others:
            stack.callback(other.close)
        with showing_progress(report) as progress:
            made = repair_home(home, others, check_only=check, progress=progress)
        report.show(_view(made), _text(made))
        if check and not made.is_sound:
            report.answer_is_no(f"{home}: {made.damage.total} rows are damaged")


def _sources(
    targets: "list[str] | tuple[str, ...]", settings: Settings, passphrase_file: Path | None
) -> "list[Source]":
    from node.audit.peers import ALL, peers_of
    from node.audit.repair import sources_of

    found: list[Source] = []
    for target in targets:
        if Path(target).exists() or (target != ALL and ":" not in target):
            found += sources_of([target])
            continue
        document = genesis_bytes(settings.genesis_path)
        keys = read_node_keys(settings.keys_path, _passphrase(settings, passphrase_file))
        found += peers_of(target, settings, parse_genesis(document), document, keys.transport)
    return found


def _passphrase(settings: Settings, named: Path | None) -> bytes:
    path = named or settings.passphrase_path
    if path is None:
        if not sys.stdin.isatty():
            raise CouldNot("peers are asked under the node's certificate: name --passphrase-file")
        return getpass.getpass("Passphrase of the node's key file: ").encode()
    with path.open("rb") as file:
        return file.read(PASSPHRASE_BYTES_MAX).removesuffix(b"\n").removesuffix(b"\r")


def _view(made: "Repaired") -> dict[str, Any]:
    damage = made.damage
    return {
        "home": str(made.home),
        "chain_id": made.chain_id,
        "is_sound": made.is_sound,
        "replaced": made.replaced,
        "size": made.size,
        "root": made.root,
        "commits": made.commits,
        "commits_before": made.commits_before,
        "final_size": made.final_size,
        "cosigned_by": list(made.cosigned_by),
        "opening_error": made.opening_error,
        "cut": made.cut,
        "set_aside": None if made.set_aside is None else str(made.set_aside),
        "sources": list(made.sources),
        "damaged": [asdict(row) for row in damage.rows],
        "damaged_by_kind": dict(damage.counts),
        "rows_that_nothing_gives": dict(damage.surplus),
    }


def _text(made: "Repaired") -> list[str]:
    damage = made.damage
    parts: list[str] = []
    if made.opening_error is not None:
        parts.append(f"DAMAGED  the database cannot be opened as it is: {made.opening_error}")
    parts += [f"DAMAGED  {row}" for row in damage.rows]
    parts += [f"DAMAGED  {many} {family} rows in all" for family, many in damage.counts.items()]
    parts += [
        f"DAMAGED  {many} {family} rows that nothing gives"
        for family, many in damage.surplus.items()
    ]
    if made.cut is not None:
        parts.append(f"CUT      {made.cut}; the node fetches it from its peers when it starts")
    by = f", cosigned by {', '.join(made.cosigned_by)}" if made.cosigned_by else ""
    held = f"{made.size} entries, {made.commits} commits, root {made.root}{by}"
    if made.is_sound:
        parts.append(f"{made.home}: sound: {held}")
    elif made.replaced:
        aside = "" if made.set_aside is None else f"; what was damaged is in {made.set_aside}"
        parts.append(f"{made.home}: put right: {held}{aside}")
    else:
        parts.append(f"{made.home}: can be put right: {held}")
    return parts
