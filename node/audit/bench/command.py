"""`foedus bench audit`."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from node.reporting import JsonOption, reporting


def bench_audit_command(
    *,
    entries: Annotated[
        int,
        typer.Option(min=4_000, max=100_000_000, help="Length of the longest history."),
    ] = 1_000_000,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Keep the histories here and find them again: making a million entries takes minutes.",
            show_default=False,
        ),
    ] = None,
    ccf: Annotated[
        str | None,
        typer.Option(
            help="An interpreter that has PyPI `ccf`, to measure CCF's Python replay in the same run; else this one, if it has.",
            metavar="PYTHON",
            show_default=False,
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """How fast history is checked: entries a second at two depths, memory, and what a length costs.

    Makes archives of 10,000, 100,000 and --entries entries (signed statements of 300 bytes, blocks, commits, records), the same
    bytes each time, and replays each: structure is all files through all tiles to the cosigned root; full is besides every
    signature, the order and the law. In the same run it measures the signature limit, which is what the cores could do if they
    checked signatures alone, and how fast an archive becomes a node's store and a store an archive. Nothing else should run
    meanwhile.

    Exit status: 0 measured, 2 could not be measured.

    For example:

      foedus bench audit --entries 100000 --json

      foedus bench audit --folder /var/tmp/histories --ccf ccf-env/bin/python
    """
    from node.audit.bench import measure

    with reporting(json_output) as report, tempfile.TemporaryDirectory(prefix="foedus-") as scratch:
        found = measure.run(folder or Path(scratch), entries, ccf, report.note)
        shown = measure.document(found)
        report.show(shown, measure.lines(shown))
