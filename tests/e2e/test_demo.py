"""`foedus demo` as a diplomat runs it: the story holds within its time, and its JSON agrees with itself."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import PYTHON_PATH, ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SECONDS_MAX = 90  # on two cores with nothing else running
TIMEOUT_S = 200  # a busy machine may take longer and still tell the truth
SHAPE: dict[str, Any] = {
    "states": int,
    "processes": int,
    "entries_final": int,
    "log_size": int,
    "root": str,
    "approval": {
        "decision": str,
        "yes": int,
        "no": int,
        "absent": int,
        "receipt_verified": bool,
    },
    "approval_with_silence": {"decision": str, "yes": int, "no": int, "absent": int},
    "violation": {
        "check": str,
        "subject": str,
        "case": str,
        "veto_attempt": {"voted": bool, "node_stopped": bool, "blocked": bool},
    },
    "erasure": {"node": str, "detected": bool, "named": str, "restored": bool},
    "audit": {"entries_replayed": int, "roots_equal": bool, "verdict": str},
    "seconds": float,
}


def demo(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "node.cli.main", "demo", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def shape_of(value: Any) -> Any:
    return (
        {name: shape_of(part) for name, part in value.items()}
        if isinstance(value, dict)
        else type(value)
    )


def processes_of(folder: str) -> list[int]:
    """Processes of this machine whose command line names a folder of that rehearsal."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if folder.encode() in line:
            found.append(int(path.parent.name))
    return found


@pytest.mark.timeout(TIMEOUT_S + 30)
def test_the_story_holds_and_its_numbers_agree(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    process = demo("--json", out, "--keep")
    text, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, f"{text}\n{errors}"
    found = json.loads(out.read_bytes())
    assert shape_of(found) == SHAPE
    assert list(found) == list(SHAPE), "in the order of the documentation"
    assert found["states"] == found["processes"] == 5
    assert 0 < found["entries_final"] <= found["log_size"]
    assert re.fullmatch("[0-9a-f]{64}", found["root"])
    assert found["approval"] == {
        "decision": "approved",
        "yes": 3,
        "no": 1,
        "absent": 0,
        "receipt_verified": True,
    }
    assert found["approval_with_silence"] == {
        "decision": "approved",
        "yes": 3,
        "no": 0,
        "absent": 1,
    }
    violation = found["violation"]
    assert (violation["check"], violation["case"]) == ("C15", "UPHELD")
    assert violation["veto_attempt"] == {"voted": True, "node_stopped": True, "blocked": False}
    erasure = found["erasure"]
    assert erasure["node"] == violation["subject"], "the accused state's own store"
    assert erasure["detected"]
    assert erasure["restored"]
    assert re.fullmatch(rf"node {erasure['node']}, entry \d+, bytes \d+-\d+", erasure["named"])
    audit = found["audit"]
    assert (audit["verdict"], audit["roots_equal"]) == ("consistent", True)
    assert found["entries_final"] <= audit["entries_replayed"] <= found["log_size"]
    assert 0 < found["seconds"] < TIMEOUT_S
    folder = re.search(r"/\S*foedus-demo-\S+", text)
    assert folder is not None, text
    assert processes_of(folder.group()) == []
    homes = sorted(path.parent.name for path in Path(folder.group()).glob("*/foedus.toml"))
    assert homes == ["BR", "CN", "GB", "KE", "US"]
    _remove(Path(folder.group()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_no_process_and_no_folder(number: signal.Signals) -> None:
    process = demo()
    assert process.stdout is not None
    folder = ""
    pid = process.pid
    deadline = time.monotonic() + 60
    while not folder:
        assert time.monotonic() < deadline, "no node was started"
        assert process.poll() is None, process.communicate()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        for child in children:
            line = Path(f"/proc/{child}/cmdline").read_bytes().decode()
            match = re.search(r"/[^\0]*foedus-demo-[^/\0]+", line)
            folder = match.group() if match else folder
        time.sleep(0.05)
    process.send_signal(number)
    text, errors = process.communicate(timeout=60)
    assert process.returncode == 130, f"{text}\n{errors}"
    assert processes_of(folder) == []
    assert not Path(folder).exists()


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
