"""Which test shows which measure of the treaty: read from the marks that tests bear.

    @pytest.mark.measure("M10", "X04")          on a test function
    MEASURES = {"tier_boundary": ("M15",)}      in a module: of what its `test_scenario` runs
    "measures": ["M10"]                         in a scenario of tests/scenarios/law

    python -m tests.measures                    writes the table that `foedus law coverage` shows

Files are parsed, never imported, so a mark is found wherever the tests themselves can run.
"""

import ast
import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from node.cli.measures.coverage import SHOWN_FILE, rows_of

TESTS: Final = Path(__file__).resolve().parent
SCENARIOS: Final = TESTS / "scenarios" / "law"
SCENARIO_TEST: Final = "tests/scenarios/test_law.py::test_scenario"
MARK: Final = "measure"
BY_NAME: Final = "MEASURES"  # a module's table of what its `test_scenario` shows


def collect(folder: Path = TESTS) -> list[tuple[str, str]]:
    """All (measure, test id) pairs below `folder`, sorted. Raises ValueError naming a mark that is none."""
    found = set(_of_scenarios())
    for path in sorted(folder.rglob("test_*.py")):
        name = path.relative_to(folder.parent).as_posix()
        found.update(_of_module(ast.parse(path.read_text(encoding="utf-8")), name))
    return sorted(found)


def _of_scenarios() -> Iterator[tuple[str, str]]:
    for path in sorted(SCENARIOS.glob("*.json")):
        for form in json.loads(path.read_text(encoding="utf-8")):
            for measure in form.get("measures", ()):
                yield measure, f"{SCENARIO_TEST}[{form['name']}]"


def _of_module(module: ast.Module, name: str) -> Iterator[tuple[str, str]]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for measure in _marks(node, name):
                yield measure, f"{name}::{node.name}"
        elif isinstance(node, ast.Assign) and _target(node) == BY_NAME:
            for case, measures in ast.literal_eval(node.value).items():
                for measure in measures:
                    yield measure, f"{name}::test_scenario[{case}]"


def _target(node: ast.Assign) -> str:
    (target,) = node.targets
    return target.id if isinstance(target, ast.Name) else ""


def _marks(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[str]:
    """The measures that a function's decorators name."""
    for decorator in function.decorator_list:
        if not isinstance(decorator, ast.Call) or not ast.unparse(decorator.func).endswith(
            f"mark.{MARK}"
        ):
            continue
        if not function.name.startswith("test_"):
            raise ValueError(f"{name}::{function.name} bears a mark and is no test")
        for argument in decorator.args:
            measure = ast.literal_eval(argument)
            if not isinstance(measure, str):
                raise ValueError(f"{name}::{function.name}: {measure!r} is no measure")
            yield measure


def as_csv(shown: list[tuple[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("measure", "test"))
    writer.writerows(shown)
    return out.getvalue()


def main() -> int:
    shown = collect()
    rows_of(shown)  # refuses a measure that is none
    SHOWN_FILE.write_text(as_csv(shown), encoding="utf-8")
    print(f"{SHOWN_FILE}: {len(shown)} lines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
