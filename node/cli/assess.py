"""`foedus assess`: which tier each model of a table would fall into, and by which gate.

Reads Epoch AI's model table or any CSV with the plain columns name, parameters, flop and optionally
mmlu_bp and country. The tier is the law's own answer (node/treaty/tiers.py); this file only reads
numbers exactly and counts. What is read comes from anywhere, so everything is bounded, and

  - a file that is no such table gives `UnreadableTable`, the one error of this module;
  - a row that is malformed is listed with its line and column, has no tier, and stops nothing.

    line 7 of a table says  Example,1.8e12,2.1e25   ->  Tier 3, gates params and flop
"""

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Final, NamedTuple

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from node.treaty.policy import Policy
from node.treaty.tiers import FLOP_PER_PFLOP, Tier, tier_of_model

# A line is what is held while looking for its end; a record is one row, whose quoted fields may
# span lines. The csv module itself refuses a field above 131,072 characters.
LINE_CHARS_MAX: Final = 1 << 20
RECORD_CHARS_MAX: Final = 1 << 20
# Epoch's table has about 3,000 rows and 3 million characters. The limits keep a report, which holds
# all models at once, within a few hundred MiB.
ROWS_MAX: Final = 200_000
FILE_CHARS_MAX: Final = 64 << 20
LISTED_MAX: Final = 5_000  # rows that the table for people shows; --json has them all
PROGRESS_EVERY_ROWS: Final = 2_000

FIGURE_CHARS_MAX: Final = 64
FIGURE_DIGITS_MAX: Final = 40  # before the point: the largest training run known has 26
FIGURE_PLACES_MAX: Final = 100  # after it
MMLU_BP_MAX: Final = 10_000
QUOTED_CHARS_MAX: Final = 40

BLANK: Final = "(blank)"  # where a row names no country
DEFAULT_POLICY: Final = Policy(schedules={})

_FIGURE: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")


class UnreadableTable(Exception):
    """The file is no table of models; the message says what was expected."""


class MalformedFigure(ValueError):
    """A cell that is no figure; the message names text and rule, the caller line and column."""


class Exact(NamedTuple):
    """A figure between two integers that are equal if it is whole: floor and ceiling."""

    floor: int
    ceiling: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One row. `tier` is None if it could not be judged; `why` says so, or what decided."""

    row: int  # 1 is the first row below the header; blank lines do not count
    name: str
    countries: tuple[str, ...]  # distinct, in the order of the row; empty if none is named
    tier: int | None
    gates: tuple[str, ...]  # the law's names: params, flop, bench
    why: str
    malformed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All models, in file order. Totals have the keys "0", "1", "2", "3" and "unjudged"."""

    models: tuple[Model, ...]
    totals: Mapping[str, int]
    by_country: Mapping[str, Mapping[str, int]]  # a model counts once for each distinct country

    @property
    def malformed(self) -> int:
        return sum(model.malformed for model in self.models)


class _Columns(NamedTuple):
    """Where the header has what we read; the labels as the file spells them."""

    labels: tuple[str, ...]
    name: int
    parameters: int
    flop: int
    mmlu_bp: int | None
    country: int | None


# Field -> spellings, compared without regard to case: Epoch AI's first, the plain one second.
_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("model", "name"),
    "parameters": ("parameters",),
    "flop": ("training compute (flop)", "flop"),
    "mmlu_bp": ("mmlu_bp",),
    "country": ("country (of organization)", "country"),
}
_REQUIRED: Final = ("name", "parameters", "flop")


def assess(
    lines: Iterable[str],
    *,
    policy: Policy = DEFAULT_POLICY,
    progress: Callable[[int], None] = lambda _rows: None,
) -> Report:
    """Judge every row of a CSV text under `policy` as it stands at ledger second 0.

    `lines` are the text's lines with their ends, as an open file yields them (newline=""). Lines at
    the top that begin with # are comments. `progress` is told the number of rows now and then.
    Raises UnreadableTable: no header, a column missing or twice, or a file beyond the limits.
    """
    records = _Records(lines)
    columns = _header(records)
    models: list[Model] = []
    totals = _no_models()
    by_country: dict[str, dict[str, int]] = {}
    for record in records:
        if len(models) == ROWS_MAX:
            raise UnreadableTable(f"more than {ROWS_MAX} rows: split the file")
        model = _judge(len(models) + 1, record, columns, policy)
        models.append(model)
        key = "unjudged" if model.tier is None else str(model.tier)
        totals[key] += 1
        for country in model.countries or (BLANK,):
            by_country.setdefault(country, _no_models())[key] += 1
        if len(models) % PROGRESS_EVERY_ROWS == 0:
            progress(len(models))
    return Report(
        models=tuple(models),
        totals=totals,
        by_country=dict(
            sorted(by_country.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        ),
    )


def _no_models() -> dict[str, int]:
    return {"0": 0, "1": 0, "2": 0, "3": 0, "unjudged": 0}


class _Record(NamedTuple):
    line: int  # where it begins
    fields: Sequence[str]
    fault: str  # why it could not be split into fields, to stand behind "line 7"; empty if it could


class _Records:
    """Splits bounded lines into records; goes on with the next line after a record that is broken."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._line = 0  # lines taken so far
        self._chars = 0
        self._record_chars = 0
        # strict: text after a closing quote, or a quote left open at the end, is an error
        self._reader = csv.reader(self._bounded(), strict=True)

    def __iter__(self) -> Iterator[_Record]:
        while True:
            first = self._line + 1
            self._record_chars = 0
            try:
                fields = next(self._reader)
            except StopIteration:
                return
            except csv.Error as err:
                yield _Record(first, (), f": {err}; is a quote left open or doubled?")
                continue
            if fields:  # an empty line gives none
                yield _Record(first, fields, "")

    def _bounded(self) -> Iterator[str]:
        in_head = True
        for line in self._lines:
            self._line += 1
            self._chars += len(line)
            self._record_chars += len(line)
            if len(line) > LINE_CHARS_MAX or self._record_chars > RECORD_CHARS_MAX:
                raise UnreadableTable(
                    f"line {self._line}: a row of more than {RECORD_CHARS_MAX} characters"
                )
            if self._chars > FILE_CHARS_MAX:
                raise UnreadableTable(f"more than {FILE_CHARS_MAX} characters: split the file")
            in_head = in_head and line.startswith("#")
            # a comment becomes an empty line, so that the numbers of lines stay true
            yield "\n" if in_head else line


def _header(records: _Records) -> _Columns:
    first = next(iter(records), None)
    if first is None:
        raise UnreadableTable("an empty file: expected a header line")
    if first.fault:
        raise UnreadableTable(f"line {first.line}, the header{first.fault}")
    labels = tuple(" ".join(label.split()) for label in first.fields)
    found: dict[str, int] = {}
    for field, spellings in _SPELLINGS.items():
        places = [at for at, label in enumerate(labels) if label.casefold() in spellings]
        if len(places) > 1:
            twice = " and ".join(repr(_shown(labels[at])) for at in places)
            raise UnreadableTable(f"line {first.line}: {field} has two columns, {twice}")
        if places:
            found[field] = places[0]
    missing = [" or ".join(map(repr, _SPELLINGS[f])) for f in _REQUIRED if f not in found]
    if missing:
        raise UnreadableTable(f"line {first.line}, the header: no column {', none '.join(missing)}")
    return _Columns(
        labels=labels,
        name=found["name"],
        parameters=found["parameters"],
        flop=found["flop"],
        mmlu_bp=found.get("mmlu_bp"),
        country=found.get("country"),
    )


def _judge(row: int, record: _Record, columns: _Columns, policy: Policy) -> Model:
    fields = record.fields
    fault = record.fault
    if not fault and len(fields) != len(columns.labels):
        fault = _wrong_width(fields, columns.labels)
    if fault:
        name = clean(fields[columns.name]) if columns.name < len(fields) else ""
        return _malformed(row, name, (), f"line {record.line}{fault}")
    name = clean(fields[columns.name])
    countries = _countries(fields[columns.country]) if columns.country is not None else ()
    figures: list[Exact | None] = []
    for column in (columns.parameters, columns.flop, columns.mmlu_bp):
        try:
            figures.append(None if column is None else parse_figure(fields[column]))
            if column == columns.mmlu_bp and figures[-1] and figures[-1].ceiling > MMLU_BP_MAX:
                raise MalformedFigure(f"more than {MMLU_BP_MAX} bp, that is 100 %")
        except MalformedFigure as err:
            label = columns.labels[column or 0]
            why = f"line {record.line}, column {_shown(label)!r}: {err}"
            return _malformed(row, name, countries, why)
    parameters, flop, mmlu_bp = figures
    tier = tier_of_exact(parameters, flop, mmlu_bp, policy)
    return Model(
        row=row,
        name=name,
        countries=countries,
        tier=None if tier is None else tier.tier,
        gates=() if tier is None else tier.gates,
        why=_why(tier, parameters, flop, mmlu_bp, policy),
        malformed=False,
    )


def _wrong_width(fields: Sequence[str], labels: Sequence[str]) -> str:
    """A row that is not as wide as the header, named by the first column that is missing or too many."""
    counts = f"{len(fields)} columns where the header has {len(labels)}"
    if len(fields) < len(labels):
        return f", column {_shown(labels[len(fields)])!r}: missing; {counts}"
    return f", column {len(labels) + 1}: {_shown(fields[len(labels)])!r} is too many; {counts}"


def _malformed(row: int, name: str, countries: tuple[str, ...], why: str) -> Model:
    return Model(
        row=row, name=name, countries=countries, tier=None, gates=(), why=clean(why), malformed=True
    )


def parse_figure(text: str) -> Exact | None:
    """A cell as exact integers; None if it is empty. No float is ever made of it.

    Decimal notation with an optional exponent, zero or more, below 10^40. Raises MalformedFigure.
    """
    text = text.strip()
    if not text:
        return None
    if len(text) > FIGURE_CHARS_MAX or not _FIGURE.fullmatch(text):
        raise MalformedFigure(f"{_shown(text)!r} is no number such as 175000000000 or 2.1e+25")
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int), f"{text!r} passed the pattern but is not finite"
    mantissa = int("".join(map(str, digits)))
    if mantissa == 0:
        return Exact(0, 0)
    if sign:
        raise MalformedFigure(f"{_shown(text)!r} is negative")
    # Before any power is taken: 1e9999 would be a number of ten thousand digits.
    if len(str(mantissa)) + exponent > FIGURE_DIGITS_MAX:
        raise MalformedFigure(f"{_shown(text)!r} is 10^{FIGURE_DIGITS_MAX} or more")
    if -exponent > FIGURE_PLACES_MAX:
        raise MalformedFigure(f"{_shown(text)!r} has more than {FIGURE_PLACES_MAX} decimal places")
    if exponent >= 0:
        return Exact(mantissa * 10**exponent, mantissa * 10**exponent)
    whole, rest = divmod(mantissa, 10**-exponent)
    return Exact(whole, whole + (rest > 0))


def tier_of_exact(
    parameters: Exact | None, flop: Exact | None, mmlu_bp: Exact | None, policy: Policy
) -> Tier | None:
    """The law's tier for figures that need not be whole; None if neither of the first two is known.

    For an integer T, x > T exactly if ceiling(x) > T, and x >= T exactly if floor(x) >= T. So the
    upper gates, all "more than", are put to the ceilings and the lower ones to the floors: nothing
    is rounded across a gate. The published tables hold such figures (256999999.99999997).
    """
    upper = tier_of_model(
        parameters and parameters.ceiling,
        flop and flop.ceiling,
        mmlu_bp and mmlu_bp.ceiling,
        policy,
    )
    if upper is None or upper.tier == 3:
        return upper
    return tier_of_model(
        parameters and parameters.floor, flop and flop.floor, mmlu_bp and mmlu_bp.floor, policy
    )


# (tier, gate) -> the words between figure and threshold, the parameter of the law, its unit. Only to
# tell people what the law has decided.
_TOLD: Final[Mapping[tuple[int, str], tuple[str, str, str]]] = {
    (3, "params"): ("parameters, more than", "param_cap", ""),
    (3, "flop"): ("FLOP, more than", "horizon_flop", "PFLOP"),
    (3, "bench"): ("bp of MMLU, more than", "bench_cap", ""),
    (2, "flop"): ("FLOP, from", "frontier_flop", "PFLOP"),
    (1, "params"): ("parameters, from", "t1_params", ""),
    (1, "flop"): ("FLOP, from", "t1_flop", "PFLOP"),
}


def _why(
    tier: Tier | None,
    parameters: Exact | None,
    flop: Exact | None,
    mmlu_bp: Exact | None,
    policy: Policy,
) -> str:
    if tier is None:
        return "neither parameters nor training compute known"
    unknown = [
        name for name, known in (("parameters", parameters), ("FLOP", flop)) if known is None
    ]
    if tier.tier == 0:
        return "below every gate" + "".join(f"; {name} not known" for name in unknown)
    figures = {"params": parameters, "flop": flop, "bench": mmlu_bp}
    told = []
    for gate in tier.gates:
        words, param, unit = _TOLD[tier.tier, gate]
        threshold = policy.value(param, 0) * (FLOP_PER_PFLOP if unit == "PFLOP" else 1)
        figure = figures[gate]
        assert figure is not None, f"the law decided by {gate}, which is not known"
        told.append(f"{_written(figure)} {words} {scientific(threshold)}")
    return "; ".join(told)


def _written(figure: Exact) -> str:
    whole = figure.floor == figure.ceiling
    return scientific(figure.floor) if whole else f"{scientific(figure.floor)} and a fraction"


def scientific(number: int) -> str:
    """The number in full below a million, else with an exponent and all its digits: 2.1e25."""
    digits = str(number)
    if len(digits) < 7:
        return digits
    rest = digits[1:].rstrip("0")
    return f"{digits[0]}{'.' if rest else ''}{rest}e{len(digits) - 1}"


def _countries(cell: str) -> tuple[str, ...]:
    """The distinct countries of a comma-joined list, which repeats one per organisation."""
    names = (clean(name) for name in cell.split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def clean(text: str) -> str:
    """Text from outside on one line that a terminal may show: no control or unpaired characters."""
    flat = " ".join(text.split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in flat)


def _shown(text: str) -> str:
    """Text from outside within a message: one line, not too long."""
    flat = clean(text)
    return flat if len(flat) <= QUOTED_CHARS_MAX else flat[: QUOTED_CHARS_MAX - 3] + "..."


def bounded_lines(file: IO[str]) -> Iterator[str]:
    """The lines of a text file; one that never ends comes in a piece just above the limit.

    Plain iteration would read such a line whole before anyone could refuse it.
    """
    while line := file.readline(LINE_CHARS_MAX + 1):
        yield line


def as_json(report: Report, shown: Iterable[Model]) -> str:
    """The report with the models to be shown; totals are always those of the whole file."""
    return json.dumps(
        {
            "models": [
                {
                    "row": model.row,
                    "name": model.name,
                    "tier": model.tier,
                    "gates": list(model.gates),
                    "why": model.why,
                }
                for model in shown
            ],
            "totals": dict(report.totals),
            "by_country": {name: dict(counts) for name, counts in report.by_country.items()},
        },
        indent=1,
    )


class TierChoice(StrEnum):
    """What --tier takes."""

    ZERO = "0"
    ONE = "1"
    TWO = "2"
    THREE = "3"
    UNJUDGED = "unjudged"


def select(models: Iterable[Model], *, tier: str | None, country: str | None) -> list[Model]:
    """Those of one tier ("0" to "3" or "unjudged") and one country (its name, in any case)."""
    wanted = country.strip().casefold() if country is not None else None
    return [
        model
        for model in models
        if tier in (None, "unjudged" if model.tier is None else str(model.tier))
        and (wanted is None or wanted in (name.casefold() for name in model.countries or (BLANK,)))
    ]


def assess_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="Epoch AI's model table, or plain columns.")
    ],
    *,
    tier: Annotated[
        TierChoice | None, typer.Option(help="List only models of this tier.", show_default=False)
    ] = None,
    country: Annotated[
        str | None,
        typer.Option(
            help="List only models of this country, as the file names it.", show_default=False
        ),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="One JSON object instead of tables.")
    ] = False,
) -> None:
    """Say which tier each model of a table falls into, and by which gate.

    Columns: Model (or name), Parameters, "Training compute (FLOP)" (or flop), and if there, mmlu_bp
    (1/10000) and "Country (of organization)" (or country). Filters act on the list of models, never
    on the totals. A malformed row is listed with its line and column, without a tier, and counts as
    unjudged.

    Exit status: 0 every row was read, 1 some row is malformed, 2 the file is no such table.

    For example:

      foedus assess models.csv

      foedus assess models.csv --tier 3 --json

      foedus assess models.csv --country China
    """
    try:
        report = _assess_file(file)
    except (OSError, UnreadableTable) as err:
        reason = err.strerror or err if isinstance(err, OSError) else err
        typer.echo(f"could not assess {file}: {reason}", err=True)
        raise typer.Exit(2) from err
    shown = select(report.models, tier=tier.value if tier else None, country=country)
    if json_output:
        typer.echo(as_json(report, shown))
    else:
        _print_tables(report, shown)
    if report.malformed:
        typer.echo(f"{report.malformed} malformed rows: not judged, see why", err=True)
        raise typer.Exit(1)


def _assess_file(path: Path) -> Report:
    """The report of one file, with a progress bar where a person looks at stderr.

    A byte that is not UTF-8 is read as U+FFFD: in a name it is seen, in a figure it is refused.
    """
    console = Console(stderr=True)
    with (
        path.open(encoding="utf-8-sig", errors="replace", newline="") as file,
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("rows read", total=None)
        return assess(bounded_lines(file), progress=lambda rows: bar.update(task, completed=rows))


def _print_tables(report: Report, shown: Sequence[Model]) -> None:
    # Into a pipe: wide enough that no line is broken in the middle of a name.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    models = Table("row", "model", "tier", "gates", "why", title="Models")
    for model in shown[:LISTED_MAX]:
        mark = "-" if model.tier is None else str(model.tier)
        # Text: square brackets in a name are no markup
        models.add_row(
            str(model.row), Text(model.name), mark, ", ".join(model.gates), Text(model.why)
        )
    console.print(models)
    if len(shown) > LISTED_MAX:
        console.print(f"and {len(shown) - LISTED_MAX} more: narrow with --tier, or use --json")
    keys = tuple(report.totals)
    totals = Table(
        "country",
        "models",
        *(f"Tier {key}" if key.isdigit() else key for key in keys),
        title="Totals",
    )
    for name, counts in (("all", report.totals), *report.by_country.items()):
        numbers = (sum(counts.values()), *(counts[key] for key in keys))
        totals.add_row(Text(name), *map(str, numbers), end_section=name == "all")
    console.print(totals)
