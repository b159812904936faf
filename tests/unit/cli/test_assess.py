"""`foedus assess`: the law's tiers over strangers' tables, exactly, and whatever the bytes are."""

import io
import json
from fractions import Fraction
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from node.cli import assess as assess_module
from node.cli.assess import (
    LINE_CHARS_MAX,
    MalformedFigure,
    Report,
    UnreadableTable,
    assess,
    assess_command,
    bounded_lines,
    clean,
    parse_figure,
    scientific,
    select,
)
from node.cli.figures import DamagedFigures, _Row, load_facilities, load_models
from tests.shared import shared_path

HEADER = "name,parameters,flop,mmlu_bp,country\n"


def report(text: str) -> Report:
    return assess(bounded_lines(io.StringIO(text, newline="")))


def one(
    parameters: str = "", flop: str = "", mmlu_bp: str = ""
) -> tuple[int | None, tuple[str, ...]]:
    (model,) = report(f"{HEADER}x,{parameters},{flop},{mmlu_bp},\n").models
    assert not model.malformed, model.why
    return model.tier, model.gates


def why(text: str) -> str:
    """What is said of the one malformed row."""
    (model,) = [model for model in report(text).models if model.malformed]
    assert (model.tier, model.gates) == (None, ())
    return model.why


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        (("999999999",), (0, ())),
        (("999999999.5",), (0, ())),
        (("1e9",), (1, ("params",))),
        (("1000000000001",), (3, ("params",))),
        (("1e12",), (1, ("params",))),
        (("1000000000000.5",), (3, ("params",))),
        (("", "9999999999999999999999"), (0, ())),
        (("", "9999999999999999999999.9"), (0, ())),
        (("", "1e22"), (1, ("flop",))),
        (("", "999999999999999999999999"), (1, ("flop",))),
        (("", "1E+24"), (2, ("flop",))),
        (("", "1e25"), (2, ("flop",))),
        (("", "10000000000000000000000001"), (3, ("flop",))),  # 1e25 + 1, not a whole PFLOP
        (("", "10000000000000000000000000.1"), (3, ("flop",))),
        (("1", "", "8600"), (0, ())),
        (("1", "", "8600.5"), (3, ("bench",))),
        (("1", "", "8601"), (3, ("bench",))),
        (("2e12", "2e25", "9000"), (3, ("params", "flop", "bench"))),
        (("1e9", "1e22"), (1, ("params", "flop"))),
        (("", "", "8600"), (None, ())),
        (("", "", "8601"), (3, ("bench",))),  # whatever the others are, they cannot lower it
        ((), (None, ())),
        (("0", "0"), (0, ())),
    ],
)
def test_gates(figures: tuple[str, ...], expected: tuple[int | None, tuple[str, ...]]) -> None:
    assert one(*figures) == expected


def test_why_names_figure_and_threshold() -> None:
    models = report(HEADER + "a,1.8e12,2.1e+25,,\nb,5,,,\nc,,,,\nd,,1e22,,\n").models
    assert [model.why for model in models] == [
        "1.8e12 parameters, more than 1e12; 2.1e25 FLOP, more than 1e25",
        "below every gate; FLOP not known",
        "neither parameters nor training compute known",
        "1e22 FLOP, from 1e22",
    ]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("-1", "negative"),
        ("-1e-9", "negative"),
        ("NaN", "no number"),
        ("inf", "no number"),
        ("1e400", "10^40 or more"),
        ("1e9999", "10^40 or more"),
        ("1e-9999", "decimal places"),
        ("1e99999999999", "no number"),
        ("9" * 65, "no number"),
        ("1_000", "no number"),
        ("0x10", "no number"),
        ("\N{ARABIC-INDIC DIGIT ONE}", "no number"),
        ("about 5", "no number"),
        (".", "no number"),
    ],
)
def test_a_malformed_figure_names_line_and_column(cell: str, reason: str) -> None:
    text = f"{HEADER}good,1,1,1,\nbad,1,{cell},,KE\ngood,1,1,1,\n"
    assert why(text).startswith("line 3, column 'flop': ")
    assert reason in why(text)
    assert report(text).totals == {"0": 2, "1": 0, "2": 0, "3": 0, "unjudged": 1}
    assert report(text).by_country["KE"]["unjudged"] == 1


@given(st.integers(0, 10**30), st.integers(-60, 9), st.booleans())
def test_figures_are_exact(mantissa: int, exponent: int, signed: bool) -> None:
    text = f"{'+' if signed else ''}{mantissa}e{exponent}"
    figure = parse_figure(text)
    assert figure is not None
    value = mantissa * Fraction(10) ** exponent
    assert figure.floor <= value <= figure.ceiling
    assert figure.ceiling - figure.floor == (0 if value.denominator == 1 else 1)


def test_zero_has_any_spelling() -> None:
    assert [parse_figure(text) for text in ("0", "-0", "0.0", "0e999", "")] == [(0, 0)] * 4 + [None]
    with pytest.raises(MalformedFigure):
        parse_figure("1e40")
    assert parse_figure("9e39") == (9 * 10**39, 9 * 10**39)


def test_scientific() -> None:
    written = [scientific(n) for n in (0, 8600, 999_999, 10**6, 1_571_000_000_000, 10**25 + 1)]
    assert written == ["0", "8600", "999999", "1e6", "1.571e12", "1.0000000000000000000000001e25"]


def test_epochs_spelling_with_bom_crlf_and_quoted_newlines(tmp_path: Path) -> None:
    path = tmp_path / "epoch.csv"
    path.write_bytes(
        b"\xef\xbb\xbfModel,Parameters,Training compute (FLOP),Country (of organization)\r\n"
        b'"GPT\n",1.8e12,2.1e+25,"China,France,China"\r\n'
        b"\r\n"
        b"Bad,x,,\r\n"
    )
    made = assess_module._assess_file(path)
    first, second = made.models
    assert (first.row, first.name, first.tier, first.countries) == (
        1,
        "GPT",
        3,
        ("China", "France"),
    )
    assert second.row == 2
    assert second.why.startswith("line 5, column 'Parameters'")
    assert {name: sum(counts.values()) for name, counts in made.by_country.items()} == {
        "(blank)": 1,
        "China": 1,
        "France": 1,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty file"),
        ("\n\n", "empty file"),
        ("a,b\n1,2\n", "no column 'model' or 'name'"),
        ("name,flop\n", "no column 'parameters'"),
        ("name,parameters,flop,FLOP\n", "flop has two columns"),
        ("name,Model,parameters,flop\n", "name has two columns"),
        ('"name,parameters\n', "the header"),
        ("x" * (LINE_CHARS_MAX + 1), "a row of more than"),
        (HEADER + '"",' * (LINE_CHARS_MAX // 3 + 1), "a row of more than"),
        (HEADER + '"a\n",' * (LINE_CHARS_MAX // 5 + 1), "a row of more than"),
    ],
)
def test_what_is_no_table_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnreadableTable, match=reason):
        report(text)


def test_rows_and_characters_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assess_module, "ROWS_MAX", 3)
    assert len(report(HEADER + "a,1,1,1,\n" * 3).models) == 3
    with pytest.raises(UnreadableTable, match="more than 3 rows"):
        report(HEADER + "a,1,1,1,\n" * 4)
    monkeypatch.setattr(assess_module, "FILE_CHARS_MAX", len(HEADER) + 10)
    with pytest.raises(UnreadableTable, match="characters: split"):
        report(HEADER + "a,1,1,1,\n" * 2)


def test_broken_rows_stop_nothing() -> None:
    rows = ["a,1\n", 'b"c,1,1,1,\n', '"d"e,1,1,1,\n', f"{'f' * 140_000},1,1,1,\n", "g,1,1,10001,\n"]
    made = report(HEADER + "".join(rows) + "good,1e9,,,\n" + '"open,1,1,1,\n')
    assert [model.malformed for model in made.models] == [
        True,
        False,
        True,
        True,
        True,
        False,
        True,
    ]
    assert [model.why.split(":")[0] for model in made.models if model.malformed] == [
        "line 2, column 'flop'",
        "line 4",
        "line 5",
        "line 6, column 'mmlu_bp'",
        "line 8",
    ]
    assert sum(made.totals.values()) == len(made.models) == 7


def test_comments_stand_at_the_top_only() -> None:
    made = report(f"# source\n# licence\n{HEADER}#a,1,1,1,\nbad,x,,,\n")
    assert [model.name for model in made.models] == ["#a", "bad"]
    assert made.models[1].why.startswith("line 5,")


def test_terminal_controls_do_not_pass() -> None:
    made = report(HEADER + "\x1b[31mred\x07,1,\x1b[2J,,\u202eKE\n").models[0]
    for text in (made.name, made.why, *made.countries):
        assert text.isprintable()
    assert clean("a\n b\t") == "a b"


def cells() -> st.SearchStrategy[str]:
    figures = st.sampled_from(
        ["", "1e9", "1e12", "2.1e+25", "-1", "NaN", "1e400", '"', '""', "\x00", "\r"]
    )
    return st.one_of(figures, st.text(max_size=8), st.integers(0, 10**26).map(str))


@given(
    st.one_of(
        st.text(),
        st.lists(st.lists(cells(), min_size=4, max_size=6).map(",".join)).map(
            lambda rows: HEADER + "\n".join(rows)
        ),
    )
)
def test_any_text_gives_a_report_or_the_one_error(text: str) -> None:
    try:
        made = report(text)
    except UnreadableTable:
        return
    assert sum(made.totals.values()) == len(made.models)
    for row, model in enumerate(made.models, start=1):
        assert model.row == row
        assert model.why
        assert (model.tier is None) or not model.malformed
        assert bool(model.gates) == (model.tier not in (None, 0))


@given(st.binary(max_size=300))
def test_any_bytes_below_a_good_header_give_a_report(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(HEADER.encode() + data)
    made = assess_module._assess_file(path)  # the header is good: broken bytes are broken rows
    assert sum(made.totals.values()) == len(made.models)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command("assess")(assess_command)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "models.csv"
    path.write_text(HEADER + "[bold]a,2e12,,,CN\nb,1,,,US\nc,,,,\n")
    status, out, err = run(path)
    assert (status, err) == (0, "")
    assert "[bold]a" in out  # no markup from a stranger's table
    assert "more than 1e12" in out
    status, out, _ = run(path, "--json", "--tier", "3")
    assert status == 0
    assert json.loads(out) == {
        "models": [
            {
                "row": 1,
                "name": "[bold]a",
                "tier": 3,
                "gates": ["params"],
                "why": "2e12 parameters, more than 1e12",
            }
        ],
        "totals": {"0": 1, "1": 0, "2": 0, "3": 1, "unjudged": 1},
        "by_country": {
            "(blank)": {"0": 0, "1": 0, "2": 0, "3": 0, "unjudged": 1},
            "CN": {"0": 0, "1": 0, "2": 0, "3": 1, "unjudged": 0},
            "US": {"0": 1, "1": 0, "2": 0, "3": 0, "unjudged": 0},
        },
    }


def test_exit_statuses(tmp_path: Path) -> None:
    path = tmp_path / "models.csv"
    path.write_text(HEADER + "a,x,,,CN\nb,1,,,\n")
    status, out, err = run(path, "--json")
    assert status == 1
    assert "1 malformed rows" in err
    assert [model["tier"] for model in json.loads(out)["models"]] == [None, 0]
    path.write_text("no,table\n")
    status, out, err = run(path)
    assert (status, out) == (2, "")
    assert "no column" in err
    status, out, err = run(tmp_path / "absent.csv", "--json")
    assert (status, out) == (2, "")
    assert "No such file" in err
    assert run(path, "--tier", "4")[0] == 2
    assert run(tmp_path)[0] == 2  # a folder


def test_select() -> None:
    models = report(HEADER + 'a,2e12,,,"CN,US"\nb,1,,,US\nc,,,,\n').models
    assert [model.name for model in select(models, tier=None, country="us")] == ["a", "b"]
    assert [model.name for model in select(models, tier="0", country="US")] == ["b"]
    assert [model.name for model in select(models, tier="unjudged", country=None)] == ["c"]
    assert [model.name for model in select(models, tier=None, country="(blank)")] == ["c"]


def test_the_published_table() -> None:
    path = shared_path("data/epoch_models/models.csv")
    status, out, err = run(path, "--json")
    assert (status, err) == (0, "")
    made = json.loads(out)
    assert len(made["models"]) == 1029
    assert made["totals"] == {"0": 417, "1": 321, "2": 46, "3": 16, "unjudged": 229}
    expected = json.loads(shared_path("data/expected_figures.json").read_text())["models"]
    for country, count in expected["models_per_country_top10"].items():
        assert sum(made["by_country"][country].values()) == count
    over_1e25 = [
        model["name"] for model in made["models"] if model["tier"] == 3 and "flop" in model["gates"]
    ]
    assert len(over_1e25) == expected["training_compute_at_least"]["1e+25"]  # none is exactly 1e25


def test_the_demos_figures() -> None:
    models, facilities = load_models(), load_facilities()
    assert len(models) >= 30
    assert len(facilities) >= 20
    assert {"US", "CN", "GB", "KE", "BR"} <= {facility.country for facility in facilities}
    assert {"US", "CN", "GB", "KE", "BR"} <= {model.country for model in models}
    assert {row.country for row in facilities if row.illustrative} == {"KE"}
    assert {row.country for row in models if row.illustrative} == {"KE", "BR"}
    memphis = next(row for row in facilities if row.name == "Colossus Memphis Phase 3")
    assert (memphis.capacity_mh, memphis.power_w) == (275_795_856, 352_352_000)
    gpt4 = next(row for row in models if row.name.startswith("GPT-4 ("))
    assert (gpt4.parameters, gpt4.pflop, gpt4.mmlu_bp) == (1_800_000_000_000, 21_000_000_000, 8640)
    assert all(row.capacity_mh > 0 and row.power_w > 0 for row in facilities)
    assert len({row.name for row in facilities}) == len(facilities)


def test_the_demos_models_can_be_assessed() -> None:
    folder = Path(assess_module.__file__).parent / "figures"
    made = assess_module._assess_file(folder / "models.csv")
    assert made.malformed == 0
    assert all(made.totals[key] for key in ("0", "1", "2", "3", "unjudged"))


@pytest.mark.parametrize("cell", ["0.5", "1e-1", "x", "-1", "1ex"])
def test_a_figure_that_is_not_whole_is_damage(cell: str) -> None:
    with pytest.raises(DamagedFigures, match="row 1, p"):
        _Row(where="row 1", cells={"p": cell}).whole("p")
    assert _Row(where="row 1", cells={"p": "1.5e2"}).whole("p", factor=1000) == 150_000


def test_epochs_rows_are_those_of_its_table() -> None:
    """Each row marked as Epoch's is there with the same figures."""
    source = assess_module._assess_file(shared_path("data/epoch_models/models.csv"))
    published = {model.name: model for model in source.models}
    ours = report_of_ours()
    for figures in load_models():
        if figures.illustrative:
            continue
        matches = [name for name in published if name.startswith(figures.name)]
        assert matches, figures.name
        if figures.mmlu_bp is None:
            assert published[matches[0]].tier == ours[figures.name], figures.name


def report_of_ours() -> dict[str, int | None]:
    folder = Path(assess_module.__file__).parent / "figures"
    return {
        model.name: model.tier for model in assess_module._assess_file(folder / "models.csv").models
    }
