"""One seed, one history: the core and the simulator depend on nothing but the seed, the order of sets least of all."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


def trace_of(seed: int, hash_seed: str) -> bytes:
    """Every event and effect of a run in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{ROOT}:{ROOT}/proto"}
    run = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--trace"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


@pytest.mark.parametrize("seed", [11, 13, 17])
def test_two_hash_seeds_give_one_trace(seed: int) -> None:
    one, other = trace_of(seed, "1"), trace_of(seed, "4242")
    assert one.count(b"\n") > 1_000
    assert b">CommitDecided" in one
    assert hashlib.sha256(one).hexdigest() == hashlib.sha256(other).hexdigest()


def test_another_seed_gives_another_trace() -> None:
    """Else the comparison above would compare nothing."""
    assert trace_of(13, "1") != trace_of(11, "1")
