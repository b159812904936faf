"""Children are started, watched and ended by their ids, whatever they do."""

import json
import os
import sys
from pathlib import Path

import pytest

from node.cli.demo import processes as room
from node.cli.demo.processes import Processes, environment, foedus_json
from node.cli.demo.show import StoryBroke

READY = "import json, time; print('noise'); print(json.dumps({'event': 'ready'}), flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY}"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_a_child_is_ready_when_it_says_so_and_ends_when_told(tmp_path: Path) -> None:
    held = Processes()
    child = held.start("one", python(READY), tmp_path / "log")
    await held.until_said(child, "ready", 20)
    assert child.lines()[0] == {"text": "noise"}
    assert await held.stop(child) == -15
    assert not child.is_running


async def test_one_that_ends_by_itself_is_named_with_its_last_words(tmp_path: Path) -> None:
    held = Processes()
    child = held.start("one", python("raise SystemExit('no disk')"), tmp_path / "log")
    with pytest.raises(StoryBroke, match=r"one says `ready`.*status 1: no disk"):
        await held.until_said(child, "ready", 20)


async def test_one_that_says_nothing_in_time_is_named(tmp_path: Path) -> None:
    held = Processes()
    child = held.start("one", python("import time; time.sleep(60)"), tmp_path / "log")
    with pytest.raises(StoryBroke, match="not within"):
        await held.until_said(child, "ready", 0.2)
    held.end_all()
    assert not child.is_running


async def test_at_the_end_nobody_is_left_not_even_who_heeds_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "STOP_S", 1.0)
    held = Processes()
    children = [
        held.start(name, python(code), tmp_path / name)
        for name, code in (("meek", READY), ("stubborn", STUBBORN))
    ]
    for child in children:
        await held.until_said(child, "ready", 20)
    with pytest.raises(StoryBroke, match="ends on SIGTERM"):
        await held.stop(children[1])
    held.end_all()
    assert [child.popen.returncode for child in children] == [-15, -9]


async def test_a_restarted_child_is_not_taken_for_ready_by_old_words(tmp_path: Path) -> None:
    held = Processes()
    first = held.start("one", python(READY), tmp_path / "log")
    await held.until_said(first, "ready", 20)
    await held.stop(first)
    second = held.start("one", python("import time; time.sleep(60)"), tmp_path / "log")
    assert not second.has_said("ready")
    held.end_all()


def test_a_childs_environment_knows_nothing_of_the_users_own_node() -> None:
    made = environment({"FOEDUS_LISTEN_PEER": "0.0.0.0:1", "PATH": "/bin"})
    assert made.keys() == {"PATH", "PYTHONPATH"}
    assert str(Path(room.__file__).parents[3]) in made["PYTHONPATH"].split(os.pathsep)


async def test_a_command_answers_with_status_and_document(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    status, document = await foedus_json("receipt", "verify", str(missing), "--genesis", "none")
    assert status == 2
    assert "none" in json.dumps(document)
