"""The project's own scenarios of the law, in the format of the published ones; all of them also with restarts."""

import json
from pathlib import Path
from typing import Any

import pytest

from node.treaty.derived import VetoCheck
from node.treaty.law import Law
from node.treaty.scenario import Scenario, genesis_of
from tests.shared import shared_path
from tests.vectors.test_law import IN_FORCE

FORMS = [
    form
    for path in sorted((Path(__file__).parent / "law").glob("*.json"))
    for form in json.loads(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("form", FORMS, ids=[form["name"] for form in FORMS])
def test_scenario(form: dict[str, object]) -> None:
    assert Scenario(form).run() == []


class Restarting(Scenario):
    """The law forgets all but its rows after every advance and every entry."""

    def __init__(self, form: dict[str, Any]) -> None:
        super().__init__(form)
        self.rows: dict[bytes, bytes] = {}
        self.restarts = 0

    def _keep(self, derived: tuple[object, ...]) -> None:
        super()._keep(derived)
        for key, value in self.law.drain_changes().items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        now = self.law.book.now
        # The newest rows first: an order of reading must not matter.
        self.law = Law.restore(genesis_of(self.form), self.index, reversed(self.rows.items()))
        again = self.law.advance(now)
        # A change of members asks for a veto check at the clock's next look, which this is. Nothing else may be due twice.
        assert all(isinstance(value, VetoCheck) for value in again), again
        self.restarts += 1


# With 195 states a restart reads so many rows that one history of 400 steps takes as long as all others.
RESTARTED = [form for form in FORMS if len(form["members"]) * len(form["steps"]) < 10_000]


@pytest.mark.parametrize("form", RESTARTED, ids=[form["name"] for form in RESTARTED])
def test_a_restart_after_every_step_changes_nothing(form: dict[str, Any]) -> None:
    scenario = Restarting(form)
    assert scenario.run() == []
    assert scenario.restarts >= len(form["steps"])


@pytest.mark.parametrize("name", [name for name in IN_FORCE if name != "veto_table"])
def test_a_restart_after_every_step_of_a_published_scenario(name: str) -> None:
    form = json.loads(shared_path(f"vectors/law/{name}.json").read_text(encoding="utf-8"))
    assert Restarting(form).run() == []
