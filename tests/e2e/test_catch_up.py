"""Real processes under load: a node from zero and one killed and long absent catch up by certified commits (SPEC 11)."""

from pathlib import Path

import pytest

from node.cli.bench import catch_up
from node.cli.bench.catch_up import Plan
from tests.e2e import eager_node

pytestmark = pytest.mark.e2e


def test_from_zero_and_after_a_kill_while_entries_keep_coming(tmp_path: Path) -> None:
    plan = Plan(states=4, rate=40.0, away_s=8.0, live_s=1.0, module="tests.e2e.eager_node")
    said: list[str] = []
    found = catch_up.run(plan, tmp_path, said.append)
    # The run itself fails unless both came near the others and all four ended with one log.
    for caught in (found.from_zero, found.absent):
        assert caught.behind > eager_node.BEHIND, said
        assert caught.certified > 0
        assert caught.own.commits >= caught.behind - 16
        assert caught.own.entries > 0
    assert found.log_size > 40.0 * plan.away_s
    logs = [(tmp_path / state / "node.log").read_text() for state in ("US", "CN", "GB", "KE")]
    assert all("Traceback" not in log and "certified otherwise" not in log for log in logs)
    assert logs[3].count("catching up by certified commits") >= 2
    assert not any("peer charged" in log for log in logs)
