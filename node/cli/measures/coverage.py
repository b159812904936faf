"""The coverage table: each measure with the tests that show it.

`shown.csv` beside this file has one line per (measure, test), made by `python -m tests.measures` from the marks that tests
bear; a test holds it equal to them and looks whether each named test exists. So nothing is claimed here that no test shows.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from node.cli.measures.rows import MEASURES, Measure

SHOWN_FILE: Final = Path(__file__).with_name("shown.csv")


class Standing(StrEnum):
    """How far a measure is answered."""

    SHOWN = "shown"
    IN_PART = "shown in part"  # tests show something of it; `lacks` says what not
    NOT_SHOWN = "not shown"
    NOT_SOFTWARE = "not software"
    SEE = "see others"  # its rows stand for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measure and what shows it. `tests` are ids as pytest takes them, in the order of the table."""

    measure: Measure
    standing: Standing
    tests: tuple[str, ...]


def rows_of(shown: Sequence[tuple[str, str]]) -> list[Row]:
    """The table for these (measure, test) pairs. Raises ValueError for a measure that may have none."""
    by_name: dict[str, list[str]] = {measure.name: [] for measure in MEASURES}
    for name, test in shown:
        if name not in by_name:
            raise ValueError(f"{test} is marked for {name}: there is no such measure")
        by_name[name].append(test)
    return [_row(measure, tuple(by_name[measure.name])) for measure in MEASURES]


def shipped() -> list[tuple[str, str]]:
    """The (measure, test) pairs of the table that comes with the package."""
    with SHOWN_FILE.open(encoding="utf-8", newline="") as file:
        return [(row["measure"], row["test"]) for row in csv.DictReader(file)]


def _row(measure: Measure, tests: tuple[str, ...]) -> Row:
    return Row(measure=measure, standing=_standing(measure, tests), tests=tests)


def _standing(measure: Measure, tests: tuple[str, ...]) -> Standing:
    if measure.not_software or measure.see:
        if tests:
            raise ValueError(f"{tests[0]} is marked for {measure.name}, which no test can show")
        return Standing.NOT_SOFTWARE if measure.not_software else Standing.SEE
    if not tests:
        return Standing.NOT_SHOWN
    return Standing.IN_PART if measure.lacks else Standing.SHOWN
