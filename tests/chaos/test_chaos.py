"""A short run: five nodes, every kind of fault once, in an order of the seed's. FOEDUS_CHAOS_SEED replays one.

`make chaos MINUTES=30` is the long one.
"""

import os
import secrets
import subprocess

import pytest

from tests.chaos.sandbox import ROOT, command, missing

LIMIT_S = 380
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.chaos]


@pytest.mark.timeout(LIMIT_S + 20)
def test_every_fault_once() -> None:
    why = missing()
    if why:
        pytest.skip(f"chaos: {why}; then: make chaos")
    seed = os.environ.get("FOEDUS_CHAOS_SEED") or str(secrets.randbits(32))
    path = os.pathsep.join((str(ROOT), str(ROOT / "proto")))
    done = subprocess.run(
        command(["--nodes", "5", "--seed", seed]),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, (
        f"replay: FOEDUS_CHAOS_SEED={seed} pytest tests/chaos\n{done.stdout}"
    )
    assert "chaos: all well" in done.stdout
