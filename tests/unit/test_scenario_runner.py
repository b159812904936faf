"""What `python -m node.treaty.scenario` says of files and steps that are no scenarios (LAW sections 1 and 2)."""

import json
from pathlib import Path
from typing import Any

import pytest

from node.treaty.scenario import Scenario, main
from node.treaty.scenario_form import MalformedScenario

NOTE: dict[str, Any] = {"kind": "note", "type": "evidence", "hash": "x"}
STEP: dict[str, Any] = {"at": 1, "by": "CN", "statement": NOTE}
MOTION: dict[str, Any] = {
    "at": 1,
    "id": "m",
    "by": "CN",
    "motion": {"kind": "APPOINT", "what": "officer", "name": "ann"},
}


def _form(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "one",
        "shows": "",
        "members": ["US", "CN", "FR", "DE", "JP"],
        "steps": list(steps),
    } | more


@pytest.mark.parametrize(
    ("form", "where"),
    [
        ([], ""),
        ({"name": "one", "members": []}, "steps"),
        (_form(expects=[]), "expects"),
        (_form(members="US"), "members"),
        (_form(members=["US", 5]), "members[1]"),
        (_form(parties={"acme": {"role": "operator"}}), "parties.acme.state"),
        (
            _form(parties={"acme": {"role": "operator", "state": "US", "owner": []}}),
            "parties.acme.owner",
        ),
        (_form(parties={"acme": {"role": "king", "state": "US"}}), ""),
        (_form(policy={"no_such": 5}), ""),
        (_form(beacon="00"), "beacon"),
        (_form(law_version=99), ""),
        (_form({"by": "CN", "statement": NOTE}), "steps[0].at"),
        (_form({"at": True}), "steps[0].at"),
        (_form({"at": -1}), "steps[0].at"),
        (_form({"at": 2}, {"at": 1}), "steps[1].at"),
        (_form(STEP | {"expects": []}), "steps[0].expects"),
        (_form({"at": 1, "rejected": "SCHEMA"}), "steps[0].rejected"),
        (_form(STEP | {"motion": MOTION["motion"]}), "steps[0].motion"),
        (_form({"at": 1, "statement": NOTE}), "steps[0].by"),
        (_form(STEP | {"with": "FR"}), "steps[0].with"),
        (_form(STEP | {"still_since": True}), "steps[0].still_since"),
        (_form(STEP | {"still_since": 2}), "steps[0].still_since"),
        (_form(STEP, {"at": 9, "still_since": 0}), "steps[1].still_since"),
        (_form(STEP | {"seq": "1"}), "steps[0].seq"),
        (_form(STEP | {"offered": 2}), "steps[0].offered"),
        (_form(STEP | {"rejected": "WRONG"}), "steps[0].rejected"),
        (_form(STEP | {"id": "a"}, STEP | {"id": "a"}), "steps[1].id"),
        (_form({"at": 1, "expect": {}}), "steps[0].expect"),
        (_form({"at": 1, "expect": [{"outcome": "adopted"}]}), "steps[0].expect[0]"),
        (_form({"at": 1, "expect": [{"motion": "m", "outcom": "x"}]}), "steps[0].expect[0].outcom"),
        (_form({"at": 1, "expect": [{"motion": "m", "run": "r"}]}), "steps[0].expect[0]"),
        (_form({"at": 1, "expect": [{"policy": "census"}]}), "steps[0].expect[0].at"),
        (_form({"at": 1, "expect": [{"policy": "no_such", "at": 1}]}), "steps[0].expect[0].policy"),
        (_form({"at": 1, "expect": [{"veto_check": "states"}]}), "steps[0].expect[0].veto_check"),
    ],
)
def test_the_place_of_what_is_malformed_is_named(form: Any, where: str) -> None:
    with pytest.raises(MalformedScenario) as caught:
        Scenario(form).run()
    assert caught.value.where == where
    assert caught.value.problem


@pytest.mark.parametrize(
    "payload",
    [
        {"statement": NOTE | {"hash": 5}},
        {"statement": NOTE | {"hash": "hex:zz"}},
        {"statement": NOTE | {"type": 5}},
        {"statement": NOTE | {"kind": 5}},
        {"statement": {"type": "evidence", "hash": "x"}},
        {"statement": NOTE | {"kind": "Note"}},
        {"statement": NOTE | {"type": "Evidence"}},
        {"statement": {"kind": "vote", "motion": "m", "choice": "yes"}},
        {"statement": MOTION["motion"]},
        {"motion": MOTION["motion"] | {"kind": "appoint"}},
        {"motion": MOTION["motion"] | {"what": "Officer"}},
        {"motion": NOTE},
        {"vote": {"kind": "vote", "motion": "m", "choice": "yes"}},
        {"vote": {"motion": "m", "choice": "YES"}},
        {"statement": NOTE | {"about": ["US"]}},
        {"statement": NOTE | {"refs": "x"}},
        {"statement": NOTE | {"refs": [5]}},
        {"statement": NOTE | {"period": [1]}},
        {"statement": NOTE | {"period": ["a", "b"]}},
        {"statement": NOTE | {"period": 7}},
        {"statement": {"kind": "instrument", "type": "accede", "attested_by": "US"}},
        {"statement": {"kind": "instrument", "type": "accede", "attested_by": [1]}},
        {"motion": {"kind": "AMEND", "param": "census", "value": True}},
        {"motion": {"kind": "AMEND", "param": "census", "value": -1}},
        {"motion": {"kind": "AMEND", "param": "census", "schedule": [[1]]}},
        {"motion": {"kind": "AMEND", "param": "census", "schedule": [5]}},
        {"motion": {"kind": "AMEND", "param": "census", "schedule": 5}},
        {"motion": {"kind": "AMEND", "param": "census", "generator": {"t0": 0, "v0": 1, "clamp": [1]}}},
        {"motion": {"kind": "CLASS", "refs": [], "domain": "x", "general_output": 2}},
        {"motion": {"kind": "APPOINT", "what": ["officer"], "name": "x"}},
        {"vote": {"motion": 5, "choice": "yes"}},
        {"vote": {"motion": "m", "choice": ["yes"]}},
        {"vote": {"motion": "m"}},
    ],
)  # fmt: skip
def test_a_payload_of_wrong_types_is_schema(payload: dict[str, Any]) -> None:
    step = {"at": 2, "by": "CN", "rejected": "SCHEMA"} | payload
    assert Scenario(_form(MOTION, step)).run() == []
    accepted = Scenario(_form(MOTION, {"at": 2, "by": "CN"} | payload)).run()
    assert ["SCHEMA" in failure for failure in accepted] == [True]


@pytest.mark.parametrize(
    "expected",
    [
        {"motion": "none", "direction": None},
        {"motion": "none"},
        {"case": "none", "status": "RAISED"},
        {"run": "none"},
        {"entry": "none", "rejected": None},
        {"outcome": "appointed", "motion": "m"},
        {"policy": "census", "value": 1, "at": 0},
        {"eif": "PROVISIONAL"},
        {"member": "US", "status": "LEFT"},
        {"findings": ["C02:US:dc1"]},
        {"veto_check": 4, "k": 2},
    ],
)
def test_an_expectation_of_what_is_not_so_fails(expected: dict[str, Any]) -> None:
    assert Scenario(_form(MOTION | {"expect": [expected]})).run()


def test_the_offer_of_one_statement_counts_once_and_is_no_step() -> None:
    """Tried a second too early, then in time; and by somebody the ledger does not know."""
    facility = {"kind": "facility", "facility": "dc1", "capacity_mh": 1, "mem_gb": 1}
    step = {"by": "acme", "offered": 100, "statement": facility}
    due = 100 + 3 * 86400
    form = _form(
        step | {"at": due - 1, "rejected": "COUNTERSIGN"},
        step | {"at": due, "id": "f", "expect": [{"entry": "f", "uncountersigned": True}]},
        step | {"at": due + 1, "by": "nobody", "rejected": "UNKNOWN_AUTHOR"},
        parties={"acme": {"role": "operator", "state": "US"}},
    )
    assert Scenario(form).run() == []


def test_the_offer_takes_no_seq_of_the_scenario() -> None:
    """An offer is an entry of the author's chain (RULINGS R15), but no step: a scenario counts as if there were none."""
    facility = {"kind": "facility", "facility": "dc1", "capacity_mh": 1, "mem_gb": 1}
    note = {"kind": "note", "type": "publication", "hash": "x"}
    due = 100 + 3 * 86400
    form = _form(
        {"at": 50, "by": "acme", "seq": 1, "statement": note},
        {"at": 100, "by": "acme", "seq": 2, "statement": facility, "rejected": "COUNTERSIGN"},
        {"at": due, "by": "acme", "seq": 2, "offered": 100, "statement": facility},
        {"at": due, "by": "acme", "seq": 4, "statement": note, "rejected": "SEQ_GAP"},
        {"at": due, "by": "acme", "seq": 3, "statement": note},
        {"at": due, "by": "acme", "seq": 1, "statement": note, "rejected": "DUPLICATE"},
        parties={"acme": {"role": "operator", "state": "US"}},
    )
    assert Scenario(form).run() == []
    form["steps"][0]["seq"] = 2
    assert Scenario(form).run()[0].startswith("50 step0: SEQ_GAP")


def test_what_is_tried_again_keeps_its_label() -> None:
    """One try is on the ledger, and that one the label stands for: whether it came before the others or after them."""
    facility = {"kind": "facility", "facility": "dc1", "capacity_mh": 1, "mem_gb": 1}
    step = {"id": "f", "by": "acme", "statement": facility}
    told = [{"entry": "f", "rejected": None, "uncountersigned": False}]
    form = _form(
        step | {"at": 1, "rejected": "COUNTERSIGN", "expect": [{"entry": "f", "rejected": "COUNTERSIGN"}]},
        step | {"at": 2, "with": ["US"], "expect": told},
        step | {"at": 3, "seq": 1, "with": ["US"], "rejected": "DUPLICATE", "expect": told},
        {"at": 4, "id": "m", "by": "CN", "with": ["FR"], "motion": {"kind": "HALT", "refs": ["f"]}},
        parties={"acme": {"role": "operator", "state": "US"}},
    )  # fmt: skip
    assert Scenario(form).run() == []
    form["steps"][2]["rejected"] = "LATE"
    with pytest.raises(MalformedScenario, match="already names an entry"):
        Scenario(form)


def test_no_code_and_a_beacon_in_capitals_are_in_form() -> None:
    assert Scenario(_form(STEP | {"rejected": None}, beacon="AB" * 32)).run() == []


def test_exit_codes_and_the_file_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def written(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    good = written("good.json", json.dumps(_form(STEP)))
    fails = written("fails.json", json.dumps([_form(STEP | {"rejected": "FILER"}), _form(STEP)]))
    broken = written("broken.json", json.dumps([_form({"at": "1"}), _form(STEP)]))
    no_json = written("no.json", "{")
    floats = written("floats.json", json.dumps(_form({"at": 1.5})))
    assert main([good]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "one", "pass": True, "failures": []}
    assert main([fails, good]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["pass"] for line in lines] == [False, True, True]
    assert main([broken, fails]) == 2
    seen = capsys.readouterr()
    assert [json.loads(line)["pass"] for line in seen.out.splitlines()] == [
        False,
        True,
        False,
        True,
    ]
    assert f"{broken}: scenario 0 (one): steps[0].at: '1', not an integer from 0" in seen.err
    for file in (no_json, floats, str(tmp_path / "absent.json")):
        assert main([file, good]) == 2
        seen = capsys.readouterr()
        assert file in seen.err
        assert len(seen.out.splitlines()) == 1
