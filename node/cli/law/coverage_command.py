"""`foedus law coverage`: every measure of the proposal, and the tests that show it."""

from collections import Counter
from typing import Annotated, Any

import typer

from node.cli.measures.coverage import Row, Standing, rows_of, shipped
from node.reporting import JsonOption, reporting


def coverage_command(
    only: Annotated[
        Standing | None,
        typer.Option("--only", help="Only rows that stand so.", show_default=False),
    ] = None,
    *,
    json_output: JsonOption = False,
) -> None:
    """List the measures M01 to M57 and X01 to X18: what answers each, and which tests show that it works.

    The list of tests is made from marks that the tests bear, so a row without a test says "not shown", whatever is built.
    "not software" names why no program can answer it.

    Exit status: 0 listed.

    For example:

      foedus law coverage

      foedus law coverage --only "not shown" --json
    """
    with reporting(json_output) as report:
        rows = rows_of(shipped())
        wanted = [row for row in rows if only is None or row.standing is only]
        counts = Counter(row.standing for row in rows)
        document = {
            "measures": [_view(row) for row in wanted],
            "counts": {standing.value: counts[standing] for standing in Standing},
        }
        told = ", ".join(f"{counts[standing]} {standing.value}" for standing in Standing)
        report.show(document, [*map(_text, wanted), f"{len(rows)} measures: {told}"])


def _view(row: Row) -> dict[str, Any]:
    measure = row.measure
    return {
        "measure": measure.name,
        "asks": measure.asks,
        "feature": measure.feature,
        "standing": row.standing.value,
        "tests": list(row.tests),
        "lacks": measure.lacks,
        "outside": measure.outside,
        "not_software": measure.not_software,
        "see": list(measure.see),
    }


def _text(row: Row) -> str:
    measure = row.measure
    lines = [f"{measure.name}  {row.standing.value}: {measure.asks}"]
    if measure.feature:
        lines.append(f"      by   {measure.feature}")
    if measure.see:
        lines.append(f"      see  {', '.join(measure.see)}")
    if measure.not_software:
        lines.append(f"      why  {measure.not_software}")
    if measure.outside:
        lines.append(f"      bar  {measure.outside}: that is not software")
    if measure.lacks:
        lines.append(f"      not  {measure.lacks}")
    lines += [f"      test {test}" for test in row.tests]
    return "\n".join(lines)
