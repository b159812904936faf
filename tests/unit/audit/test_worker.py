"""Processes that work for an audit end with it, however it ends; what it wrote for itself goes with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DEADLINE_S = 30.0

WAITING = """
import os, signal, sys, time
from node.audit.facts import SpilledFacts
from node.audit.progress_bars import showing_progress
from node.audit.swift import Workers
from node.reporting import Report
from tests.unit.audit.test_worker import facts


def main():
    # As at a terminal: whoever is started in the background of a shell inherits that SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with showing_progress(Report(as_json=True)), Workers(2) as workers, SpilledFacts(0) as held:
        held.add(facts())
        pool = workers.processes()
        print(pool.submit(os.getpid).result(), held._folder.name, flush=True)
        time.sleep(600)


if __name__ == "__main__":
    main()
"""


def facts() -> object:
    from node.treaty.entries import EntryFacts

    return EntryFacts(bytes(32), 1, "KE", 1, "note", "", "", bytes(32), 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_its_audit(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "waiting.py"
    script.write_text(WAITING, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            worker, folder = parent.stdout.readline().split()
            assert is_running(int(worker))
            assert Path(folder).is_dir()
            parent.send_signal(number)
            parent.wait(DEADLINE_S)
            ends = time.monotonic() + DEADLINE_S
            while is_running(int(worker)) and time.monotonic() < ends:
                time.sleep(0.02)
            assert not is_running(int(worker))
        finally:
            parent.kill()
    assert (parent.returncode, Path(folder).exists()) == {
        signal.SIGTERM: (143, False),
        signal.SIGKILL: (-signal.SIGKILL, True),  # nobody can tidy up after this one
        signal.SIGINT: (-signal.SIGINT, False),
    }[number]


def is_running(process: int) -> bool:
    """A zombie that nobody waits for has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
