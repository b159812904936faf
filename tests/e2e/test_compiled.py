"""The compiled build (`make compiled`, record 0260) is the same law."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.shared import shared_path

ROOT = Path(__file__).resolve().parents[2]
COMPILED = ROOT / ".venv-compiled" / "bin"

pytestmark = pytest.mark.skipif(
    not (COMPILED / "foedus").exists(), reason="no compiled build here: make compiled"
)


def run(tmp_path: Path, *command: str, timeout: int = 200) -> str:
    """Standard output of a program of that build, started where no source lies beside it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(COMPILED / command[0]), *command[1:]],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_it_is_compiled_and_restores_to_the_digest_of_a_replay(tmp_path: Path) -> None:
    where = run(tmp_path, "python", "-c", "import node.treaty.law as law; print(law.__file__)")
    assert where.strip().endswith(".so")
    shown: dict[str, Any] = json.loads(
        run(
            tmp_path,
            "foedus",
            "bench",
            "law",
            "--statements",
            "10000",
            "--facilities",
            "100",
            "--json",
        )
    )
    assert shown["compiled"] is True
    assert shown["restore"]["digests_equal"] is True


def test_scenarios_of_the_law_pass(tmp_path: Path) -> None:
    files = sorted(str(file) for file in shared_path("vectors/law").glob("*.json"))
    run(tmp_path, "python", "-m", "node.treaty.scenario", *files)
