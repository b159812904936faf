"""How the rehearsal ends when the story breaks, is cut short, or is only half told. The steps here are FAKE."""

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from node.cli.demo import run as room
from node.cli.demo.outcome import (
    Approval,
    ApprovalWithSilence,
    Audit,
    Erasure,
    VetoAttempt,
    Violation,
)
from node.cli.demo.show import StoryBroke
from node.cli.demo.story import Story
from node.cli.errors import Unreachable
from node.cli.main import build_app

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
Demo = Callable[..., Result]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Demo:
    """`foedus demo ARGUMENTS` with one step in place of six."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def invoke(step: room.Step, *arguments: str) -> Result:
        monkeypatch.setattr(room, "STEPS", (("Fake", step),))
        return CliRunner().invoke(build_app(), ["demo", *arguments])

    return invoke


def folder_of(result: Result) -> Path:
    found = re.search(r"Homes, logs, stores: (\S+)", result.output)
    assert found is not None, result.output
    return Path(found.group(1))


def fill(story: Story) -> None:
    """As if every step had measured its part."""
    outcome = story.outcome
    outcome.states = outcome.processes = 5
    outcome.entries_final = outcome.log_size = 7
    outcome.root = "ab" * 32
    votes = {"decision": "approved", "yes": 3, "no": 1, "absent": 0}
    outcome.approval = Approval(**votes, receipt_verified=True)  # type: ignore[arg-type]
    outcome.approval_with_silence = ApprovalWithSilence(**votes)  # type: ignore[arg-type]
    outcome.violation = Violation(
        check="C15",
        subject="US",
        case="UPHELD",
        veto_attempt=VetoAttempt(voted=True, node_stopped=True, blocked=False),
    )
    outcome.erasure = Erasure(node="US", detected=True, named="node US", restored=True)
    outcome.audit = Audit(entries_replayed=7, roots_equal=True, verdict="consistent")


def test_a_story_that_breaks_says_where_and_keeps_the_traces(demo: Demo, tmp_path: Path) -> None:
    started = []

    async def step(story: Story) -> None:
        started.append(story.processes.start("one", SLEEP, story.folder / "one.log"))
        raise StoryBroke("one root", "two roots")

    result = demo(step, "--json", str(tmp_path / "out.json"))
    assert result.exit_code == 1
    for words in ("THE STORY BROKE in step 1 Fake", "expected: one root", "seen:     two roots"):
        assert words in result.output
    assert (folder_of(result) / "one.log").exists()
    assert not started[0].is_running
    assert not (tmp_path / "out.json").exists()


def test_a_node_that_fails_breaks_the_story_at_what_was_awaited(demo: Demo) -> None:
    async def step(story: Story) -> None:
        story.show.doing("all nodes agree")
        raise Unreachable("KE", "connection refused")

    result = demo(step)
    assert result.exit_code == 1
    assert "expected: all nodes agree" in result.output
    assert "node KE: connection refused" in result.output


def test_what_runs_beside_the_steps_breaks_the_story_too(demo: Demo) -> None:
    async def fails() -> None:
        raise OSError(28, "No space left on device")

    async def step(story: Story) -> None:
        assert story.background is not None
        story.background.create_task(fails())
        await story.until("it never comes", lambda: never(), 30)

    async def never() -> str:
        return "not yet"

    result = demo(step)
    assert result.exit_code == 1
    assert "No space left" in result.output


def test_a_story_told_in_part_does_not_hold(demo: Demo) -> None:
    async def step(story: Story) -> None:
        story.outcome.states = 5

    result = demo(step)
    assert result.exit_code == 1
    assert "every part measured" in result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cut_short_it_leaves_nothing(demo: Demo, tmp_path: Path, number: signal.Signals) -> None:
    started = []

    async def step(story: Story) -> None:
        started.append(story.processes.start("one", SLEEP, story.folder / "one.log"))
        signal.raise_signal(number)
        await story.until("it never comes", lambda: never(), 30)

    async def never() -> str:
        return "not yet"

    result = demo(step)
    assert result.exit_code == 130
    assert not started[0].is_running
    assert list(tmp_path.glob("foedus-demo-*")) == []


def test_whole_it_is_told_and_the_folder_goes(demo: Demo, tmp_path: Path) -> None:
    async def step(story: Story) -> None:
        fill(story)

    result = demo(step, "--json", "-")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["seconds"] >= 0
    assert document["violation"]["veto_attempt"]["blocked"] is False
    assert list(tmp_path.glob("foedus-demo-*")) == []
    kept = demo(step, "--keep")
    assert folder_of(kept).is_dir()


def test_no_place_for_the_json_is_found_out_before_anything_starts(demo: Demo) -> None:
    async def step(story: Story) -> None:
        raise AssertionError("started")

    result = demo(step, "--json", "/nowhere/at/all/out.json")
    assert result.exit_code == 2
