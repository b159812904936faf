"""X18, CHECKS 2: severity 3 and 4 rest on the subject's own signed word, on two inspectors, or on two groups of sources.

Judged over every Finding that any scenario of this project makes: who wrote its inputs, by state, ultimate owner and role. What
has no input is a silence: a duty of the subject's own that its row names.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from node.treaty.derived import Finding
from node.treaty.scenario import Scenario
from node.treaty.scenario_entries import label_hash
from tests.scenarios.test_law import FORMS
from tests.shared import shared_path
from tests.vectors.test_law import IN_FORCE

SILENCES = {"C02", "C14", "C28"}  # missing slots, missing progress, a duty overdue
COMPUTED = {
    "C10",
    "C14",
    "C15",
}  # from sums of the subject's own reports; or a tier that rose by them
GRAVE = 3


class Watching(Scenario):
    """Remembers who wrote which entry."""

    def __init__(self, form: dict[str, Any]) -> None:
        super().__init__(form)
        self.grave: list[Finding] = []

    def _keep(self, derived: tuple[object, ...]) -> None:
        super()._keep(derived)
        for value in derived:
            if isinstance(value, Finding) and value.severity >= GRAVE:
                self.grave.append(value)

    def unfounded(self) -> list[str]:
        """After the run, when the index knows every input."""
        return [one.finding for one in self.grave if not self.is_founded(one)]

    def is_founded(self, finding: Finding) -> bool:
        book = self.law.book
        facts = [book.index.get(entry) for entry in finding.inputs]
        authors = {one.author for one in facts if one is not None}
        if not authors:
            return finding.check in SILENCES | COMPUTED or bool(
                finding.inputs
            )  # a proof of two blocks
        states = {book.state_of(author) for author in authors}
        if finding.subject in states:
            return True  # its own word, or that of a party it answers for
        if any(book.state.parties[author].role == "inspector" for author in authors):
            return True  # two sign each report, of two states, neither the subject (LAW K29)
        groups = {(book.state_of(one), *book.ultimate_owners(one)) for one in authors}
        return len(groups) >= 2


def _published() -> list[dict[str, Any]]:
    return [
        json.loads(Path(shared_path(f"vectors/law/{name}.json")).read_text(encoding="utf-8"))
        for name in IN_FORCE
    ]


@pytest.mark.measure("X18")
def test_grave_findings_rest_on_an_admission_two_inspectors_or_two_groups() -> None:
    grave = 0
    for form in [*FORMS, *_published()]:
        scenario = Watching(form)
        scenario.run()
        assert scenario.unfounded() == [], form["name"]
        grave += len(scenario.grave)
    assert grave >= 40, "too few to say anything"


def test_one_foreign_source_alone_would_be_seen() -> None:
    """The look itself: a grave finding that rests on one stranger's word (n3 is by FR) is unfounded."""
    scenario = Watching(next(form for form in FORMS if form["name"] == "inspect_requests"))
    scenario.run()
    finding = Finding(
        finding="C21:US:x",
        check="C21",
        subject="US",
        about="x",
        severity=3,
        numbers=(),
        inputs=(label_hash("n3"),),
        at=0,
    )
    assert not scenario.is_founded(finding)
