"""`foedus law coverage` says what the tests say, and nothing else."""

import ast
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli.main import build_app
from node.cli.measures.coverage import SHOWN_FILE, Standing, rows_of, shipped
from node.cli.measures.rows import MEASURES
from tests import measures

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_table_is_what_the_marks_say() -> None:
    """To renew it: python -m tests.measures."""
    assert SHOWN_FILE.read_text(encoding="utf-8") == measures.as_csv(measures.collect())


@pytest.mark.parametrize("path", sorted({test.partition("::")[0] for _, test in shipped()}))
def test_the_named_tests_exist(path: str) -> None:
    module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {
        node.name
        for node in module.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    named = {test.partition("::")[2] for _, test in shipped() if test.startswith(f"{path}::")}
    assert {name.partition("[")[0] for name in named} <= functions
    cases = {match[1] for name in named if (match := re.search(r"\[(.*)\]$", name))}
    known = {node.value for node in ast.walk(module) if isinstance(node, ast.Constant)} | {
        form["name"]
        for file in (ROOT / "tests/scenarios/law").glob("*.json")
        for form in json.loads(file.read_text(encoding="utf-8"))
    }
    assert cases <= known


def test_every_measure_has_a_row_and_an_answer() -> None:
    numbered = [f"M{n:02}" for n in range(1, 58)] + [f"X{n:02}" for n in range(1, 19)]
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)
    assert sorted({name.rstrip("ab") for name in names}) == numbered
    for measure in MEASURES:
        kinds = (measure.feature, measure.not_software, measure.see)
        assert sum(map(bool, kinds)) == 1, measure.name
        assert set(measure.see) <= set(names)


def test_a_row_without_a_test_is_not_shown() -> None:
    assert {row.standing for row in rows_of([])} == {
        Standing.NOT_SHOWN,
        Standing.NOT_SOFTWARE,
        Standing.SEE,
    }
    one = {row.measure.name: row for row in rows_of([("M01", "t"), ("M24", "t")])}
    assert one["M01"].standing is Standing.SHOWN
    assert one["M24"].standing is Standing.IN_PART  # it lacks something
    assert one["M02"].standing is Standing.NOT_SHOWN


@pytest.mark.parametrize("name", ["M58", "M05", "X06"])
def test_a_mark_for_what_no_test_can_show_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        rows_of([(name, "tests/x.py::test_y")])


def test_marks_are_read_from_decorators_and_tables(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_a.py").write_text(
        'MEASURES = {"case": ("M01",)}\n'
        '@pytest.mark.measure("M10", "X04")\n'
        '@pytest.mark.parametrize("x", [1])\n'
        "async def test_one(x): ...\n"
        "@pytest.mark.slow\ndef test_two(): ...\n"
    )
    own = [pair for pair in measures.collect(folder) if pair[1].startswith("tests/test_a")]
    assert own == [
        ("M01", "tests/test_a.py::test_scenario[case]"),
        ("M10", "tests/test_a.py::test_one"),
        ("X04", "tests/test_a.py::test_one"),
    ]
    (folder / "test_a.py").write_text('@pytest.mark.measure("M10")\ndef helper(): ...\n')
    with pytest.raises(ValueError, match="helper"):
        measures.collect(folder)


def test_the_command() -> None:
    answer = CliRunner().invoke(build_app(), ["law", "coverage", "--json"])
    assert answer.exit_code == 0
    document = json.loads(answer.stdout)
    rows = {row["measure"]: row for row in document["measures"]}
    assert len(rows) == len(MEASURES)
    assert sum(document["counts"].values()) == len(MEASURES)
    assert "tests/vectors/test_law.py::test_scenario[tier_boundary]" in rows["M15"]["tests"]
    assert rows["M05"]["standing"] == "not software"
    assert rows["M05"]["not_software"]
    some = CliRunner().invoke(build_app(), ["law", "coverage", "--only", "not software"])
    assert some.exit_code == 0
    assert "M05" in some.stdout
    assert "M15" not in some.stdout
