"""`foedus audit absence`: that somebody filed nothing for a period, or filed late; or to check such a statement."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from node.audit.archive_command import genesis_bytes
from node.audit.diff_command import GenesisOption
from node.ledger.questions.moment import THE_END, parse_moment, parse_time, time_text
from node.reporting import CouldNot, JsonOption, Report, reporting

STATEMENT_BYTES_MAX: Final = 64 * 1024 * 1024
SECOND = "2026-03-31, 2026-03-31T12:00:00Z, or unix seconds"


def absence_command(
    who: Annotated[
        str | None,
        typer.Argument(
            metavar="WHO",
            help="A state, with all parties under it; or one party.",
            show_default=False,
        ),
    ] = None,
    *,
    source: Annotated[
        Path,
        typer.Option("--from", help="An archive, or a node's home or data folder.", metavar="DIR"),
    ],
    since: Annotated[
        str | None,
        typer.Option(
            help=f"Begin of the period: {SECOND}. A day begins at 00:00 UTC.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="End of the period, likewise. A day is in it; a second is the first that is not.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="The last second, or day, in time. Outages of the ledger move it.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str, typer.Option(help="Statement or motion, as `foedus template` names it; else any.")
    ] = "",
    about: Annotated[
        str,
        typer.Option(help="Site, run, model ... as the register names it (acme/dc1); else any."),
    ] = "",
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            help="As of this index or date; else of the end of what is certified.",
            metavar="INDEX|DATE",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the statement here. Never overwritten.", show_default=False),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            help="Check this statement, whoever made it, by the copy named; give no WHO and no period.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    genesis: GenesisOption = None,
    json_output: JsonOption = False,
) -> None:
    """State what somebody did not file, or filed late: no entry in a whole, cosigned log that goes on past the deadline.

    The statement names the entries that came, if any, the time that none speaks for, where each author's own chain stands (proven
    by the state digest), outages that moved the deadline, what the treaty made that state owe by then, and what the law itself
    found missing. Period and deadline are yours to choose; it accuses nobody of what the treaty did not make him owe by then,
    nobody whose report is there, none before the deadline has passed in the log, and no state of whose node no block was ordered
    meanwhile. Its bounds stand in it. Anybody with an archive that goes as far makes the same statement, or checks this one. What
    the file alone shows, how far the log goes and where chains stand there, `foedus-verify evidence` confirms with none of this
    software.

    Exit status: 0 nothing came, or it came late or for a part only (with --check: the statement holds); 1 it was filed in time
    (the statement does not hold); 2 undecided: the certified log ends before the deadline, or it cannot be read.

    For example:

      foedus audit absence US --kind usage --about acme/dc1 --since 2026-07-01 --until 2026-09-30 --by 2026-10-07 --from ke

      foedus audit absence acme --since 2026-07-01 --until 2026-09-30 --by 2026-10-07 --from archive-ke --out absence.json

      foedus audit absence --check absence.json --from archive-br --genesis genesis.cbor
    """
    from node.audit.absence import Claim, state_absence

    with reporting(json_output) as report:
        pinned = None if genesis is None else genesis_bytes(genesis)
        if check is not None:
            if who is not None or since or until or by:
                raise CouldNot(
                    "--check reads what is claimed from its file: give neither WHO nor a period"
                )
            _check(report, source, pinned, check)
            return
        if who is None or since is None or until is None or by is None:
            raise CouldNot("want WHO, --since, --until and --by; or --check FILE")
        claim = Claim(
            who=who,
            kind=kind,
            about=about,
            start_s=_second(since),
            end_s=_second(until, end_of_day=True) + ("T" not in until and not until.isdigit()),
            by_s=_second(by, end_of_day=True),
        )
        if out is not None and out.exists():  # said before the work, not after it
            raise CouldNot(f"{out}: is there already, and is never overwritten: name another file")
        moment = THE_END if at is None else parse_moment(at)
        made = state_absence(source, pinned, claim, moment, report.note)
        if out is not None:
            with out.open("x", encoding="utf-8") as file:
                file.write(json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        report.show(made, _text(made))
        if made["verdict"] == "filed":
            report.answer_is_no("it was filed in time")
        elif made["verdict"] == "undecided":
            report.failed("undecided: the certified log ends before the deadline")


def _check(report: Report, source: Path, pinned: bytes | None, path: Path) -> None:
    from node.audit.absence import check_absence

    with path.open("rb") as file:
        data = file.read(STATEMENT_BYTES_MAX)
    try:
        statement = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise CouldNot(f"{path}: not JSON: {err}") from err
    if not isinstance(statement, dict):
        raise CouldNot(f"{path}: want a JSON object")
    differing = check_absence(source, pinned, statement, report.note)
    holds = not differing
    what = (
        statement["what"] if holds else f"this copy gives other values of: {', '.join(differing)}"
    )
    report.show({"holds": holds, "differing": differing, "what": statement.get("what")}, str(what))
    if not holds:
        report.answer_is_no("the statement does not hold")


def _second(text: str, *, end_of_day: bool = False) -> int:
    """Raises NoMoment."""
    if text.isascii() and text.isdigit() and len(text) < 13:
        return int(text)
    return parse_time(text, end_of_day=end_of_day)


def _owed(one: dict[str, Any]) -> str:
    more = f" and {one['count'] - 1} slots more" if one["count"] > 1 else ""
    by = f" by {time_text(one['due_s'])}"
    found = f", found by the law: {one['finding']}" if one["finding"] else ""
    return f"{one['what']} about {one['about']}{by}{more}{found}"


def _text(made: dict[str, Any]) -> list[str]:
    from node.audit.absence import stand_lines

    lines = [made["what"], f"verdict: {made['verdict']}"]
    lines.append("accuses" if made["accuses"] else f"accuses nobody: {made['why_not']}")
    lines += [f"  owed {_owed(one)}" for one in made["owed"]]
    for one in made["filed"]:
        time = "in time" if one["in_time"] else "late"
        lines.append(
            f"  entry {one['index']} by {one['author']} #{one['seq']}, {one['kind']}: {time}"
        )
    lines += [
        f"  refused: entry {one['index']} by {one['author']}: {one['code']}"
        for one in made["refused"]
    ]
    lines += [
        f"  found by the law: {one['finding']}, entry {one['index']}" for one in made["findings"]
    ]
    lines += [f"bound: {bound}" for bound in made["bounds"]]
    return lines + stand_lines(made["stands_on"])
