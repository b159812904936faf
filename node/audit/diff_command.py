"""`foedus audit diff`: two places of a history, or two copies, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from node.audit.archive_command import genesis_bytes
from node.ledger.questions.moment import THE_END, parse_moment
from node.reporting import CouldNot, JsonOption, reporting

GenesisOption = Annotated[
    Path | None,
    typer.Option(
        "--genesis",
        help="Judge by this genesis document, which you had before; else by that of the first copy.",
        show_default=False,
        metavar="FILE",
    ),
]
PLACE_HELP = (
    "With --from an index of the log or a date (2026-03-31, 2026-03-31T12:00:00Z). Else an archive or a node's home or data"
    " folder, as of its end, or as of DIR@INDEX or DIR@DATE."
)


def diff_command(
    first: Annotated[str, typer.Argument(metavar="A", help=PLACE_HELP)],
    second: Annotated[str, typer.Argument(metavar="B", help="Likewise.")],
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="The archive, or node's home or data folder, that A and B are places in.",
            show_default=False,
            metavar="DIR",
        ),
    ] = None,
    genesis: GenesisOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show what changed from A to B: members, policy, registers of sites, chips and runs, motions, decisions, cases, findings.

    Offline. For both places the law is run again and the cosigned checkpoint that the answer stands on is shown. Of two copies
    it is also said whether the log of one begins with that of the other; if not, `foedus audit` names who signed both.

    Exit status: 0 nothing changed, 1 something did, 2 a place is not certified by its copy.

    For example:

      foedus audit diff 1200 2400 --from archive-us

      foedus audit diff 2026-01-01 2026-03-31 --from archive-us --genesis genesis.cbor --json

      foedus audit diff archive-us archive-ke@2026-03-31
    """
    from node.audit.diff import Spot, diff_spots, lines_of

    with reporting(json_output) as report:
        pinned = None if genesis is None else genesis_bytes(genesis)
        spots = [_spot(text, source) for text in (first, second)]
        one, other = (
            Spot(path=path, moment=parse_moment(at) if at else THE_END) for path, at in spots
        )
        found = diff_spots(one, other, pinned, report.note)
        text = ["A " + found.before.told()[0], "B " + found.after.told()[0]]
        if not found.one_log:
            text.append("A and B are of TWO LOGS: neither begins with the other")
        stands = [
            f"{name}: {line}"
            for name, stand in (("A", found.before), ("B", found.after))
            for line in stand.told()[1:]
        ]
        report.show(found.as_json(), [*text, *lines_of(found), *stands])
        if found.differs:
            report.answer_is_no("A and B differ")


def _spot(text: str, source: Path | None) -> tuple[Path, str]:
    """(copy, moment as told). Raises CouldNot."""
    if source is not None:
        return source, text
    folder, _, at = text.partition("@")
    if Path(text).is_dir():
        return Path(text), ""
    if not Path(folder).is_dir():
        raise CouldNot(f"{text}: no folder; name the copy that it is a place in by --from DIR")
    return Path(folder), at
