"""The published scenarios of the law, run as `python -m node.treaty.scenario` runs them."""

import json
from typing import Any

import pytest

from node.treaty.scenario import Scenario, main
from tests.shared import shared_path

IN_FORCE = (
    "amend_loosen",
    "amend_tighten",
    "appeal_overturns",
    "appoint_by_majority",
    "breach_by_finding_stands",
    "breach_set_aside",
    "breach_without_finding",
    "c02_reporting_gap",
    "c04_custody",
    "c07_impossible_report",
    "c14_over_budget",
    "c15_split_run",
    "c28_census_and_meeting",
    "c29_contradictions",
    "chiptype_panel",
    "classify_released",
    "deploy_two_evaluations",
    "early_close_needs_margin",
    "entry_into_force",
    "envelope_rejections",
    "exempt_narrow",
    "halt_by_two_states_lapses",
    "inspect_goes_ahead",
    "inspection_carried_out",
    "last_vote_counts",
    "policy_schedules",
    "suspend_needs_cases",
    "tier_boundary",
    "tighten_now_lapses",
    "train_t1_panel",
    "train_t1_silence",
    "train_t2_plenary",
    "train_t3_horizon_shut",
    "veto_table",
)

# What each shows of the treaty (tests.measures).
MEASURES = {
    "appoint_by_majority": ("M40",),
    "breach_by_finding_stands": ("M10", "M24"),
    "c04_custody": ("M24",),
    "c14_over_budget": ("M35",),
    "c15_split_run": ("M19", "M52", "X07"),
    "c28_census_and_meeting": ("M16", "X12"),
    "c29_contradictions": ("M24",),
    "chiptype_panel": ("M54",),
    "classify_released": ("M49",),
    "deploy_two_evaluations": ("M14", "M36", "M37", "M38"),
    "entry_into_force": ("M07", "M09"),
    "envelope_rejections": ("M53",),
    "exempt_narrow": ("M21", "X03"),
    "halt_by_two_states_lapses": ("M11", "X02"),
    "inspect_goes_ahead": ("M27",),
    "inspection_carried_out": ("M27",),
    "policy_schedules": ("M35",),
    "tier_boundary": ("M15", "X03"),
    "tighten_now_lapses": ("M51", "X02"),
    "train_t1_panel": ("M15",),
    "train_t1_silence": ("M15", "M22"),
    "train_t2_plenary": ("M35",),
    "train_t3_horizon_shut": ("M01", "M22", "X05"),
    "veto_table": ("M10",),
}


def load(name: str) -> dict[str, Any]:
    form = json.loads(shared_path(f"vectors/law/{name}.json").read_text(encoding="utf-8"))
    assert isinstance(form, dict)
    return form


@pytest.mark.parametrize("name", IN_FORCE)
def test_scenario(name: str) -> None:
    assert Scenario(load(name)).run() == []


def test_no_scenario_is_forgotten() -> None:
    folder = shared_path("vectors/law")
    assert {path.stem for path in folder.glob("*.json")} == {*IN_FORCE}


def test_the_command_says_what_failed(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    path = tmp_path / "two.json"
    right = {
        "name": "right",
        "shows": "",
        "members": ["US"],
        "steps": [{"at": 1, "expect": [{"member": "US", "status": "MEMBER"}]}],
    }
    wrong = right | {
        "name": "wrong",
        "steps": [{"at": 1, "expect": [{"member": "US", "status": "LEFT"}]}],
    }
    path.write_text(json.dumps([right, wrong]), encoding="utf-8")
    assert main([str(path)]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["pass"] for line in lines] == [True, False]
    assert "MEMBER" in lines[1]["failures"][0]


def test_a_withheld_countersignature_waits_three_days() -> None:
    """LAW K30 with RULINGS R15: no state can gag its operators."""
    statement = {"kind": "facility", "facility": "dc1", "capacity_mh": 1, "mem_gb": 1}
    form = {
        "name": "offered",
        "members": ["US", "CN", "FR", "DE", "JP"],
        "parties": {"acme": {"role": "operator", "state": "US", "owners": []}},
        "steps": [
            {
                "at": 259_300,
                "by": "acme",
                "offered": 101,
                "statement": statement,
                "rejected": "COUNTERSIGN",
            },
            {
                "at": 259_301,
                "id": "dc1",
                "by": "acme",
                "statement": statement,
                "expect": [{"entry": "dc1", "rejected": None, "uncountersigned": True}],
            },
        ],
    }
    assert Scenario(form).run() == []
