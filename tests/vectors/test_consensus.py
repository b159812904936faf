"""The published cases of the commit rule, run as `python -m consensus.conformance` runs them; and that it can fail."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consensus.conformance import main
from tests.shared import shared_path

CASES = "vectors/consensus/commit_rule.json"
FORM: dict[str, Any] = {
    "wave_length": 3,
    "leaders": 1,
    "pipelined": True,
    "leader_rule": "(round+offset) mod n",
    "blame": ["author", "slot", "block"],
    "wire_valid": True,
}


def full_round(n: int, round_: int) -> list[list[Any]]:
    return [
        [a, round_, [[a, round_ - 1], *([b, round_ - 1] for b in range(n) if b != a)]]
        for a in range(n)
    ]


def direct_commit() -> dict[str, Any]:
    """Three full rounds of four: the leader of round 1 is committed."""
    blocks = [listed for round_ in (1, 2, 3) for listed in full_round(4, round_)]
    step = {"blocks": 12, "last_decided": None, "expect": [["commit", 1, 1, 0, "direct"]]}
    return FORM | {"id": "plain", "kind": "decide", "n": 4, "blocks": blocks, "steps": [step]}


def run(
    folder: Path, capsys: pytest.CaptureFixture[str], *cases: dict[str, Any]
) -> tuple[int, list[dict[str, Any]]]:
    path = folder / "cases.json"
    path.write_text(json.dumps({"format": 1, "cases": cases}), encoding="utf-8")
    status = main([str(path)])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_every_published_case_passes(capsys: pytest.CaptureFixture[str]) -> None:
    path = shared_path(CASES)
    status = main([str(path)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    published = json.loads(path.read_text(encoding="utf-8"))["cases"]
    assert [line["id"] for line in lines] == [case["id"] for case in published]
    assert [line["id"] for line in lines if line["pass"] is not True] == []
    assert status == 0
    assert Counter(case["kind"] for case in published).keys() >= {"decide", "linearize", "validity"}


def test_every_case_of_a_second_reading_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """Written from the text and answered by a naive twin of the rule (own/README.md); none is skipped."""
    status = main([str(Path(__file__).parent / "own/consensus/commit_rule.json")])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines if line["pass"] is not True] == []
    assert status == 0
    kinds = Counter(line["id"].split("-")[0] for line in lines)
    assert kinds["decide"] >= 130
    assert kinds.keys() == {"decide", "linearize", "validity", "clock", "quorum_index"}


def test_every_published_decision_fails_if_it_is_not_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One entry of each case's expectation turned round: no case passes whatever the rule says."""
    spoilt = []
    for case in json.loads(shared_path(CASES).read_text(encoding="utf-8"))["cases"]:
        match case["kind"]:
            case "decide":
                steps = [step for step in case["steps"] if step["expect"]]
                if not steps:
                    continue
                wrong = {"commit": "skip", "skip": "undecided", "undecided": "skip"}
                steps[-1]["expect"][-1][0] = wrong[steps[-1]["expect"][-1][0]]
            case "linearize":
                case["expect"][-1].reverse()
            case "validity":
                case["expect"] = "bad-slot" if case["expect"] == "ok" else "ok"
            case _:
                case["expect"] += 1
        spoilt.append(case)
    status, lines = run(tmp_path, capsys, *spoilt)
    assert status == 1
    assert [line["id"] for line in lines if line["pass"] is not False] == []
    assert len(lines) >= 30


def test_a_case_of_ours_passes_and_its_opposite_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(tmp_path, capsys, direct_commit()) == (
        0,
        [
            {
                "id": "plain",
                "pass": True,
                "got": [[["commit", 1, 1, 0, "direct"]]],
                "expect": [[["commit", 1, 1, 0, "direct"]]],
            }
        ],
    )
    wrong = direct_commit()
    wrong["steps"][0]["expect"] = [["commit", 1, 1, 0, "indirect"]]
    status, lines = run(tmp_path, capsys, wrong, direct_commit())
    assert (status, [line["pass"] for line in lines]) == (1, [False, True])


def test_an_order_may_be_written_with_short_references(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    blocks = [*full_round(4, 1), *full_round(4, 2)]
    order = [[[0, 1], [1, 1], [2, 1], [3, 1], [2, 2]]]
    case = {"id": "short", "kind": "linearize", "n": 4, "mode": "set", "gc_depth": 0}
    case |= {"blocks": blocks, "leaders": [[2, 2]], "expect": order}
    wrong = case | {"expect": [[*order[0][:-1], [2, 2, 1]]]}
    status, lines = run(tmp_path, capsys, case, wrong)
    assert (status, [line["pass"] for line in lines]) == (1, [True, False])


def other(**changes: Any) -> Callable[[], dict[str, Any]]:
    return lambda: direct_commit() | changes


SKIPPED: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("wave_length=4", other(wave_length=4)),
    ("leaders=2", other(leaders=2)),
    ("pipelined=false", other(pipelined=False)),
    ("leader_rule=", other(leader_rule="stake")),
    ("blame=", other(blame=["author", "slot"])),
    ("kind='schedule'", other(kind="schedule")),
    (
        "mode='watermark'",
        lambda: {"id": "old", "kind": "linearize", "n": 4, "mode": "watermark"},
    ),
]


@pytest.mark.parametrize(("why", "case"), SKIPPED, ids=[why for why, _ in SKIPPED])
def test_a_rule_that_we_have_not_is_skipped_and_never_passed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, why: str, case: Callable[[], dict[str, Any]]
) -> None:
    status, (line,) = run(tmp_path, capsys, case())
    assert (status, line["pass"]) == (0, None)
    assert line["skipped"].startswith(why)


def test_a_block_called_valid_that_we_refuse_fails_the_case(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    case = direct_commit()
    case["blocks"][8][2] = case["blocks"][8][2][:2]  # two parents: no quorum
    status, (line,) = run(tmp_path, capsys, case)
    assert (status, line["pass"]) == (1, False)
    assert "parents-below-quorum" in line["got"]["refused"][0][2]
    status, (line,) = run(tmp_path, capsys, case | {"wire_valid": False})
    assert line["got"] == [[["commit", 1, 1, 0, "direct"]]]
    assert status == 0


def test_two_outcomes_for_one_slot_fail_the_case(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """More than f equivocate: the rule stops, and the case says so instead of the script falling over."""
    case = direct_commit()
    blocks = full_round(4, 1)
    blocks.append([1, 1, [[1, 0], [0, 0], [2, 0]], 1])
    for e in (0, 1):
        blocks += [[a, 2, [[1, 1, e], *([b, 1] for b in (0, 2, 3))], e] for a in range(4)]
    for e in (0, 1):
        blocks += [[a, 3, [[b, 2, e] for b in range(4)], e] for a in range(4)]
    case |= {"blocks": blocks, "wire_valid": False}
    case["steps"][0]["blocks"] = len(blocks)
    status, (line,) = run(tmp_path, capsys, case)
    assert (status, line["pass"]) == (1, False)
    assert line["got"].startswith("Forked: ")


@pytest.mark.parametrize(
    ("start", "blocks", "expect"),
    [
        # A quorum of authors moves on by one; a second block of one author does not count again.
        (1, [[0, 1], [1, 1], [1, 1], [2, 1], [3, 1]], [1, 1, 1, 2, 2]),
        # One block above jumps, and blocks below count for nothing.
        (1, [[0, 5], [1, 4], [1, 5], [2, 5]], [5, 5, 5, 6]),
    ],
)
def test_the_production_clock(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    start: int,
    blocks: list[list[int]],
    expect: list[int],
) -> None:
    case = {"id": "c", "kind": "clock", "n": 4, "start": start, "blocks": blocks, "expect": expect}
    status, (line,) = run(tmp_path, capsys, case)
    assert (status, line["got"]) == (0, expect)
    status, _ = run(tmp_path, capsys, case | {"expect": [*expect[:-1], expect[-1] + 1]})
    assert status == 1


UNREADABLE = [
    "",
    "[]",
    '{"format": 2, "cases": []}',
    '{"format": 1}',
    '{"format": 1, "cases": [1]}',
    '{"format": 1, "cases": [{"id": "a", "kind": "decide", "n": 4}]}',
    '{"format": 1, "cases": [{"id": "a", "kind": "quorum_index", "n": "4"}]}',
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_file_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    assert main([str(path)]) == 2
    assert capsys.readouterr().err


def test_a_case_that_cannot_be_read_hides_no_other(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = direct_commit()
    del broken["steps"]
    status, lines = run(tmp_path, capsys, broken | {"id": "broken"}, direct_commit())
    assert (status, [line["pass"] for line in lines]) == (2, [False, True])
    assert lines[0]["got"].startswith("cannot be read: case broken: KeyError: 'steps'")


def test_a_missing_file_does_not_hide_the_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "good.json"
    path.write_text(json.dumps({"format": 1, "cases": [direct_commit()]}), encoding="utf-8")
    assert main([str(tmp_path / "none.json"), str(path)]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["pass"] is True
    assert "none.json" in captured.err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert "Exit status" in capsys.readouterr().out
