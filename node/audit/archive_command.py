"""`foedus archive`: a node's history as plain files, out of a store and into one."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.audit.findings import Depth, Verdict
from node.audit.progress_bars import showing_progress
from node.ledger.genesis import GENESIS_BYTES_MAX
from node.reporting import EXIT_HELP, CouldNot, JsonOption, reporting

if TYPE_CHECKING:  # the replay comes with them: loaded by who needs it, not by every command
    from node.audit.export import Exported
    from node.audit.findings import AuditReport
    from node.audit.importing import Imported

SHOWN_MAX = 20

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="FOEDUS_HOME", help="Home of the node.", metavar="DIR")
]


def export_command(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    *,
    home: HomeOption = Path(),
    size: Annotated[
        int | None,
        typer.Option(
            help="Up to this final checkpoint, so that archives of several nodes can be equal; else the newest.",
            min=1,
            show_default=False,
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Write a node's final history as plain files: genesis, checkpoint, tiles, entries, commits, signed blocks, manifests.

    Two honest nodes' archives of one size have the same manifest.json, byte for byte; cosignatures and block signatures lie
    beside what it covers. The node may be stopped or running. The folder appears when it is complete, and never in place of
    another; the same command goes on where an interrupted one stopped. Any static web server can serve the folder: its
    checkpoint and tiles stand where clients of c2sp.org/tlog-tiles look.

    Exit status: 0 written, 2 not: nothing is final, the store is damaged, or OUT exists.

    For example:

      foedus archive export --home us-home archive-us

      foedus archive export --home ke-home --size 412 archive-ke --json
    """
    from node.audit.export import export_home

    with reporting(json_output) as report:
        with showing_progress(report) as progress:
            made = export_home(home, out, size=size, progress=progress)
        report.show(_exported_view(made), _exported_text(made))


def import_command(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="An archive's folder.")],
    *,
    home: HomeOption = Path(),
    json_output: JsonOption = False,
) -> None:
    """Make the store of a node that has none out of an archive; started, the node fetches only what came after.

    Nothing in the archive is believed: the genesis is the home's own, every signature is checked, order and law are run again,
    and what comes out must be what a quorum cosigned. That takes as long as `foedus archive verify` at full depth. If the home
    has no sign state, the node's cosigner stays silent until it is past everything that its peers have seen from it.

    Exit status: 0 imported, 2 not: the home has a store, or the archive is damaged or of another ledger.

    For example:

      foedus archive import archive-us --home ke-home
    """
    from node.audit.importing import import_archive

    with reporting(json_output) as report:
        with showing_progress(report) as progress:
            made = import_archive(archive, home, progress=progress)
        report.show(_imported_view(made), _imported_text(made))


def verify_command(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="An archive's folder.")],
    *,
    genesis: Annotated[
        Path | None,
        typer.Option(
            "--genesis",
            help="Judge by this genesis document, which you had before; else by the archive's own.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    depth: Annotated[
        Depth,
        typer.Option(
            help="How deep: each depth includes those before it.",
        ),
    ] = Depth.CERTIFICATES,
    json_output: JsonOption = False,
) -> None:
    """Check an archive, offline: every byte against the manifests, entries through tiles to the root, root against cosignatures.

    That is the depth `certificates`. Deeper, `signatures` checks who signed each block, `order` runs the commit rule again over
    the blocks, `law` every record. `foedus audit` does all of it, for several copies at once, and writes evidence.

    Exit status: 0 it is whole, 1 something is wrong with it, 2 it could not be checked.

    For example:

      foedus archive verify archive-us --genesis genesis.cbor

      foedus archive verify archive-us --depth law --json
    """
    from node.audit.archive import is_archive
    from node.audit.audit import audit_sources

    with reporting(json_output) as report:
        if not is_archive(archive):
            raise CouldNot(f"{archive}: no archive: want manifest.json and tile/")
        pinned = None if genesis is None else genesis_bytes(genesis)
        with showing_progress(report) as progress:
            found = audit_sources([str(archive)], pinned=pinned, progress=progress, depth=depth)
        report.show(found.as_json(), _verified_text(found))
        if found.verdict is Verdict.INCONSISTENT:
            report.answer_is_no(f"{archive}: {len(found.findings)} findings")
        elif found.verdict is Verdict.UNCHECKED and depth is not Depth.PARSE:
            report.failed(f"{archive}: nothing could be shown")


def archive_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help=f"The ledger's history as plain files that need none of this software to be held. {EXIT_HELP}\n\n"
        "For example: foedus archive export --home us-home archive-us",
    )
    app.command("export")(export_command)
    app.command("import")(import_command)
    app.command("verify")(verify_command)
    return app


def genesis_bytes(path: Path) -> bytes:
    """The document to judge by. Raises CouldNot, OSError."""
    with path.open("rb") as file:
        data = file.read(GENESIS_BYTES_MAX + 1)
    if len(data) > GENESIS_BYTES_MAX:
        raise CouldNot(f"{path}: more than {GENESIS_BYTES_MAX} bytes: no genesis document")
    return data


def _exported_view(made: "Exported") -> dict[str, Any]:
    view = asdict(made)
    return {
        **view,
        "folder": str(made.folder),
        "cosigned_by": list(made.cosigned_by),
        "manifest_sha256": view.pop("manifest_digest"),
    }


def _exported_text(made: "Exported") -> str:
    again = f" ({made.reused} stood already)" if made.reused else ""
    return (
        f"{made.folder}: {made.size} entries, {made.commits} commits, {made.files} files{again}, {made.bytes} bytes;"
        f" cosigned by {', '.join(made.cosigned_by)}\nroot {made.root}\nSHA-256 of manifest.json {made.manifest_digest}"
    )


def _imported_view(made: "Imported") -> dict[str, Any]:
    return {**asdict(made), "home": str(made.home), "cosigned_by": list(made.cosigned_by)}


def _imported_text(made: "Imported") -> str:
    return (
        f"{made.home}: {made.size} entries, {made.commits} commits, {made.blocks} blocks, as cosigned by"
        f" {', '.join(made.cosigned_by)}\nroot {made.root}\nnext: foedus node run --home {made.home}"
    )


def _verified_text(found: "AuditReport") -> list[str]:
    (source,) = found.sources
    parts = [f"{found.origin or '(no genesis)'}, ledger {found.chain_id}"]
    parts += [f"{depth.value:13} {checked}" for depth, checked in source.checked.items()]
    parts += [f"WRONG  {finding}" for finding in found.findings[:SHOWN_MAX]]
    if len(found.findings) > SHOWN_MAX:
        parts.append(f"... and {len(found.findings) - SHOWN_MAX} findings more")
    parts.append(f"verdict: {found.verdict.value}")
    return parts
