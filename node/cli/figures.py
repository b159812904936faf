"""The demo's figures: some thirty models and twenty facilities, in the integer units of the law.

The tables lie beside this file and say where each row comes from: Epoch AI (CC BY 4.0), or invented
and marked so. They are read as strictly as a stranger's file would be, and exactly: a figure that is
not whole in its unit is an error of the table, never rounded.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from node.cli.assess import parse_figure
from node.treaty.tiers import FLOP_PER_PFLOP

MILLI: Final = 1_000  # mH in one H100 equivalent
WATTS_PER_MW: Final = 1_000_000
ORIGINS: Final = ("epoch", "illustrative")
ATTRIBUTION: Final = "Figures: Epoch AI, epoch.ai, CC BY 4.0; rows marked illustrative are invented"


class DamagedFigures(Exception):
    """A table that came with this program does not read; the message names table, row and column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """One model. None: not known."""

    name: str
    developer: str
    country: str  # ISO 3166-1 alpha-2
    parameters: int | None
    pflop: int | None  # 10^15 FLOP of training
    mmlu_bp: int | None  # 1/10000
    illustrative: bool  # invented, not of the source


@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityFigures:
    """One computing facility."""

    name: str
    owner: str
    country: str  # ISO 3166-1 alpha-2
    capacity_mh: int  # 1/1000 H100 equivalent
    power_w: int
    illustrative: bool


def load_models() -> tuple[ModelFigures, ...]:
    """All models, in the order of the table. Raises DamagedFigures."""
    return tuple(
        ModelFigures(
            name=row.text("name"),
            developer=row.text("developer"),
            country=row.country(),
            parameters=row.whole("parameters"),
            pflop=row.whole("flop", divisor=FLOP_PER_PFLOP),
            mmlu_bp=row.whole("mmlu_bp"),
            illustrative=row.illustrative(),
        )
        for row in _rows("models")
    )


def load_facilities() -> tuple[FacilityFigures, ...]:
    """All facilities, in the order of the table. Raises DamagedFigures."""
    return tuple(
        FacilityFigures(
            name=row.text("name"),
            owner=row.text("owner"),
            country=row.country(),
            capacity_mh=row.known("h100e", factor=MILLI),
            power_w=row.known("mw", factor=WATTS_PER_MW),
            illustrative=row.illustrative(),
        )
        for row in _rows("clusters")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    where: str
    cells: Mapping[str, str | None]

    def text(self, column: str) -> str:
        cell = self.cells.get(column)
        if not cell:
            raise DamagedFigures(f"{self.where}, {column}: empty")
        return cell

    def country(self) -> str:
        code = self.text("country")
        if not (len(code) == 2 and code.isascii() and code.isupper()):
            raise DamagedFigures(f"{self.where}, country={code!r}: expected a code such as KE")
        return code

    def illustrative(self) -> bool:
        origin = self.text("origin")
        if origin not in ORIGINS:
            raise DamagedFigures(f"{self.where}, origin={origin!r}: expected one of {ORIGINS}")
        return origin == "illustrative"

    def known(self, column: str, *, factor: int) -> int:
        value = self.whole(column, factor=factor)
        if value is None:
            raise DamagedFigures(f"{self.where}, {column}: empty")
        return value

    def whole(self, column: str, *, factor: int = 1, divisor: int = 1) -> int | None:
        """The cell times factor / divisor, which must be whole; None if empty."""
        cell = (self.cells.get(column) or "").strip()
        # An exponent in the text keeps the product exact: 0.549786 MW is 0.549786e6 W.
        shift = len(str(factor)) - len(str(divisor))
        mantissa, _, exponent = cell.partition("e")
        try:
            figure = parse_figure(f"{mantissa}e{int(exponent or 0) + shift}" if cell else "")
        except ValueError as err:
            raise DamagedFigures(f"{self.where}, {column}: {err}") from err
        if figure is None:
            return None
        if figure.floor != figure.ceiling:
            raise DamagedFigures(f"{self.where}, {column}={cell!r}: not whole in the law's unit")
        return figure.floor


def _rows(table: str) -> Iterator[_Row]:
    source = resources.files("node.cli") / "figures" / f"{table}.csv"
    lines = source.read_text(encoding="utf-8").splitlines()
    header = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    for at, cells in enumerate(csv.DictReader(lines[header:], strict=True), start=1):
        yield _Row(where=f"figures/{table}.csv, row {at}", cells=cells)
