"""`foedus audit`."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.audit.archive_command import archive_app, genesis_bytes
from node.audit.bench.command import bench_audit_command
from node.audit.blame import evidence_documents, write_documents
from node.audit.evidence import write_evidence
from node.audit.findings import AuditReport, Depth, Verdict
from node.audit.group import audit_app
from node.audit.html_report import html_report
from node.audit.monitor_command import monitor_command
from node.audit.progress_bars import showing_progress
from node.audit.repair_command import repair_command
from node.ledger.questions.moment import Moment
from node.log.tiles import ENTRY_BYTES_MAX
from node.reporting import CouldNot, JsonOption, Report, reporting, sentence, table
from node.settings import FILE_NAME, load_settings

if TYPE_CHECKING:  # the replay comes with it: loaded by who needs it
    from node.audit.travel import Place

SHOWN_MAX = 20  # findings on the screen; all of them are in the evidence file

GenesisOption = Annotated[
    Path | None,
    typer.Option(
        "--genesis",
        help="Judge by this genesis document, which you had before; else by that of the first home or archive named.",
        show_default=False,
        metavar="FILE",
    ),
]


def audit_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR|URL...",
            help="Homes or data folders of nodes (stopped, or running: as they stand now), archives, or https://host:port of"
            " running nodes. Several are compared with each other.",
        ),
    ],
    *,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A copy to compare with; its own history is not run again. May be repeated.",
            show_default=False,
            metavar="DIR|URL",
        ),
    ] = None,
    genesis: GenesisOption = None,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            help="Judge by the genesis of this home.",
            show_default=False,
            metavar="DIR",
        ),
    ] = None,
    depth: Annotated[
        Depth, typer.Option(help="How deep to look; each depth includes those before it.")
    ] = Depth.COMPARE,
    evidence: Annotated[
        Path | None,
        typer.Option(
            help="Where to write evidence if there is any; else foedus-evidence-….json here. Never overwritten.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            help="Write the answer as a page for people who are no engineers as well. Never overwritten.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    acknowledgement: Annotated[
        list[Path] | None,
        typer.Option(
            help="A node's signed promise to include an entry, as `foedus submit` keeps it: was it kept? May be repeated.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Keep here which copies were found clean, and in FILE.points how far the others are: the same audit, interrupted"
            " and run again, goes on from there. Files, trees and certificates are looked at again all the same.",
            show_default=False,
            metavar="FILE",
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Replay a history offline and name what is wrong with it: node, entry, byte range, and whose signature shows it.

    Every copy is looked at in depth: its parts, its tree, the founding signatures and cosignatures, each signature in it, the
    order (the commit rule is run again over the signed blocks), the law (every record and the state are derived again), for a
    node's store every other row, and other copies byte by byte. What a source does not show is said: a node's URL shows no
    blocks, and entries only where publication is `open`.

    Who signed two roots of one log, two blocks for one round, or a promise that was not kept, is named; for each a file is
    written beside the evidence that `foedus-verify evidence` confirms with none of this software.

    A node that does not answer is told; the others are audited all the same.

    Exit status: 0 consistent, 1 inconsistent (evidence is written to a file), 2 could not be checked, or not all that was named.

    For example:

      foedus audit us-home

      foedus audit br-home --against https://ke.example:7452 --evidence br.json

      foedus audit archive-us archive-ke --genesis genesis.cbor --json

    `foedus audit` alone means this. Two places of a history, or two copies, are compared by `foedus audit diff`; that somebody
    filed nothing, or late, is stated and checked by `foedus audit absence`; what the law made of one entry, and by which rule, is
    said by `foedus audit entry`.
    """
    from node.audit.audit import audit_sources

    with reporting(json_output) as report:
        pinned = _genesis(genesis, home)
        for path in filter(None, (html, evidence)):
            if path.exists():  # said before the work, not after it
                raise CouldNot(
                    f"{path}: is there already, and is never overwritten: name another file"
                )
        with showing_progress(report) as progress:
            found = audit_sources(
                sources,
                against=against or (),
                pinned=pinned,
                progress=progress,
                depth=depth,
                acknowledgements=[(str(path), _promise(path)) for path in acknowledgement or ()],
                resume=resume,
                note=report.note,
            )
        made = _write(found, evidence, html)
        document = {
            **found.as_json(),
            "evidence": None if made.evidence is None else str(made.evidence),
            "blame": [str(path) for path in made.blame],
            "unwritten": made.trouble,
        }
        for path in made.blame:
            report.note(f"blame: {path}")
        report.show(document, _text(found))
        _end(report, found, made)


@dataclass(slots=True)
class _Written:
    """What an audit left behind. `trouble`: what could not be written, and why; the answer does not wait for it."""

    evidence: Path | None = None
    blame: list[Path] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)


def _write(found: AuditReport, evidence: Path | None, html: Path | None) -> _Written:
    """Evidence, files of blame and the page. A full or read-only disk must not swallow what was found."""
    made = _Written()
    try:
        if found.findings or found.misdeeds:
            made.evidence = write_evidence(found, evidence)
            made.blame = write_documents(evidence_documents(found, found.genesis), made.evidence)
    except OSError as err:
        made.trouble.append(f"the evidence could not be written: {sentence(err)}")
    try:
        if html is not None:
            with html.open("xb") as page:
                page.write(html_report(found))
    except OSError as err:
        made.trouble.append(f"the page could not be written: {sentence(err)}")
    return made


def register(app: typer.Typer) -> None:
    """Add this face's commands to the root of the command (decision 0031)."""
    app.add_typer(
        audit_app(audit_command),
        name="audit",
        help="Replay a history offline: what is wrong with it?",
    )
    app.add_typer(archive_app(), name="archive")
    app.command("repair")(repair_command)
    app.command("monitor")(monitor_command)


def open_copy(
    path: Path, pinned: bytes | None, moment: Moment, note: Callable[[str], None]
) -> AbstractContextManager["Place"]:
    """The records as a copy shows them at a moment: what `foedus law ... --archive` asks. Raises CannotAudit."""
    from node.audit.travel import travel

    return travel(path, pinned, moment, note)


def register_bench(app: typer.Typer) -> None:
    """Add this face's measurements to `foedus bench`."""
    app.command("audit")(bench_audit_command)


def _genesis(genesis: Path | None, home: Path | None) -> bytes | None:
    """The document to judge by. Raises CouldNot, OSError, BadSettings."""
    if genesis is not None and home is not None:
        raise CouldNot("--genesis and --home both say whom to trust: give one of them")
    path = genesis
    if home is not None:
        path = load_settings(home / FILE_NAME, {}).genesis_path
    if path is None:
        return None
    return genesis_bytes(path)


def _promise(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(ENTRY_BYTES_MAX)


def _text(found: AuditReport) -> Sequence[Any]:
    drill = "DRILL " if found.drill else ""
    parts: list[Any] = [f"{drill}{found.origin or '(no genesis)'}, ledger {found.chain_id}"]
    if not found.pinned:
        parts.append(
            "judged by the genesis that lies in these copies (name yours by --genesis): compare the ledger's number"
        )
    for source in found.sources:
        wrong = found.wrong(source.name)
        rows = [
            (
                depth.value,
                source.checked[depth],
                f"{wrong[depth]} WRONG" if wrong.get(depth) else "",
            )
            for depth in Depth
        ]
        title = f"{source.name} ({source.kind}, {source.where})"
        parts.append(table(title, ("depth", "checked", "found"), rows))
    members = len(found.members)
    if found.cosigned_by:
        missing = [state for state in found.members if state not in found.cosigned_by]
        also = f"; not seen: {', '.join(missing)}" if missing else ""
        parts.append(
            f"cosigned by {len(found.cosigned_by)} of {members} (quorum {found.quorum}):"
            f" {', '.join(found.cosigned_by)}{also}"
        )
    parts.append(f"replayed {found.entries_replayed} entries")
    parts += [f"NOT READ  {why}" for _, why in found.unread]
    for finding in found.findings[:SHOWN_MAX]:
        parts.append(f"WRONG  {finding}")
    if len(found.findings) > SHOWN_MAX:
        parts.append(f"... and {len(found.findings) - SHOWN_MAX} findings more")
    for misdeed in found.misdeeds[:SHOWN_MAX]:
        parts.append(f"MISDEED  {misdeed}")
    parts.append(f"verdict: {found.verdict.value}")
    return parts


def _end(report: Report, found: AuditReport, made: _Written) -> None:
    evidence = "" if made.evidence is None else f"; evidence: {made.evidence}"
    trouble = "".join(f"; {what}" for what in made.trouble)
    match found.verdict:
        case Verdict.INCONSISTENT:
            report.answer_is_no(f"inconsistent: {len(found.findings)} findings{evidence}{trouble}")
        case Verdict.UNCHECKED:
            report.failed(
                f"nothing could be shown: no source has both a whole tree and a final checkpoint{trouble}"
            )
        case Verdict.CONSISTENT:
            if found.misdeeds:
                report.note(f"consistent, but members signed against the rules{evidence}")
            missing = f"{len(found.unread)} of the sources named could not be read"
            incomplete = [*made.trouble, *([missing] if found.unread else [])]
            if incomplete:
                report.failed("; ".join(incomplete))
