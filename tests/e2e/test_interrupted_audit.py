"""`foedus audit --resume FILE`, killed (SIGKILL) in the middle of one copy and run again: it goes on, and says the same."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from node.audit.bench import synthetic
from node.audit.points import decode_point
from tests.e2e.cluster import PYTHON_PATH, ROOT

pytestmark = pytest.mark.e2e
ENTRIES = 4_000
MIDDLE = 1_000  # entries: not sooner is it killed
# The command itself; only that points are due after every commit, however fast the machine is.
AUDIT = """
from node.audit import points
from node.cli.main import main
points.EVERY_S, points.COST_SHARE = 0.0, 0
main()
"""
WITHIN_S = 60.0
TAKEN_UP = re.compile(r"; up to entry (\d+) in an earlier run")


def command(archive: Path, resume: Path | None) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-c", AUDIT, "audit", str(archive), "--depth", "law"]
    if resume is not None:
        words += ["--resume", str(resume)]
    return subprocess.Popen(
        [*words, "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def kept_up_to(folder: Path) -> int:
    """The entry at which the newest point stands; a point is there whole, or not at all."""
    return max(
        (decode_point(p.read_bytes(), {}).entries for p in folder.glob("*.point")), default=0
    )


def report(running: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    said, notes = running.communicate(timeout=WITHIN_S)
    assert running.returncode == 0, notes.decode()
    return said, notes


def test_killed_in_the_middle_of_a_copy(tmp_path: Path) -> None:
    history = synthetic.make(tmp_path, ENTRIES, lambda _: None)
    file, folder = tmp_path / "state", tmp_path / "state.points"
    killed = command(history.folder, file)
    deadline = time.monotonic() + WITHIN_S
    while kept_up_to(folder) < MIDDLE:
        assert killed.poll() is None, "it came to its end"
        assert time.monotonic() < deadline, "it keeps no points"
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    said, _ = killed.communicate(timeout=WITHIN_S)
    assert killed.returncode == -signal.SIGKILL
    assert said == b""
    assert not file.exists(), "nothing is clean yet"

    again, notes = report(command(history.folder, file))
    assert notes == b"", "what was left is whole, whenever the signal came"
    whole, _ = report(command(history.folder, None))
    taken = {int(entry) for entry in TAKEN_UP.findall(again.decode())}
    assert len(taken) == 1
    assert MIDDLE <= taken.pop() < history.size
    assert TAKEN_UP.sub("", again.decode()).encode() == whole
    assert json.loads(again)["verdict"] == "consistent"
    assert not folder.exists()
    assert file.exists()
