"""The project's own scenarios of the law, in the format of the published ones."""

import json
from pathlib import Path

import pytest

from node.treaty.scenario import Scenario

FORMS = [
    form
    for path in sorted((Path(__file__).parent / "law").glob("*.json"))
    for form in json.loads(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("form", FORMS, ids=[form["name"] for form in FORMS])
def test_scenario(form: dict[str, object]) -> None:
    assert Scenario(form).run() == []
