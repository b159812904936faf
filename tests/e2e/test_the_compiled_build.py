"""The compiled build (`make compiled`, record 0260) is the same law.

Where a build is under way beside the tests, FOEDUS_COMPILED_WITHIN says for how many seconds at most to wait for it: then its
absence is a failure, no skip. The file stands late among those that start processes, so nothing waits as a rule.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from node.audit.export import export_home
from tests.shared import shared_path
from tests.unit.audit.history import clone, flip, live, weave

ROOT = Path(__file__).resolve().parents[2]
COMPILED = ROOT / ".venv-compiled" / "bin"

INSTALLED = ROOT / ".venv-compiled" / ".installed"


@pytest.fixture(autouse=True, scope="module")
def built() -> None:
    within_s = int(os.environ.get("FOEDUS_COMPILED_WITHIN", "0"))
    ends = time.monotonic() + within_s
    while not INSTALLED.exists() and time.monotonic() < ends:
        time.sleep(0.5)
    if not INSTALLED.exists():
        if within_s:
            pytest.fail(f"no compiled build within {within_s} s: did make compiled fail?")
        pytest.skip("no compiled build here: make compiled")


def run(tmp_path: Path, *command: str, timeout: int = 200, ends: int = 0) -> str:
    """Standard output of a program of that build, started where no source lies beside it."""
    return run_of(COMPILED, tmp_path, *command, timeout=timeout, ends=ends)


def run_of(build: Path, tmp_path: Path, *command: str, timeout: int = 200, ends: int = 0) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(build / command[0]), *command[1:]],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == ends, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
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


def test_audits_of_good_and_altered_copies_say_the_same(tmp_path: Path) -> None:
    """Of a history with entries of every fate, and of one whose block was altered: the whole report."""
    home = asyncio.run(live(weave(), tmp_path / "US", "US"))
    good, altered = tmp_path / "good", tmp_path / "altered"
    export_home(home, good)
    clone(good, altered)
    block = next((altered / "blocks").iterdir())
    block.write_bytes(flip(block.read_bytes(), 700))
    modules = "node.log.cose", "node.ledger.reader", "node.ledger.plan", "node.audit.ahead"
    code = f"import {', '.join(modules)}; print(*(m.__file__ for m in ({', '.join(modules)})))"
    assert all(name.endswith(".so") for name in run(tmp_path, "python", "-c", code).split())
    for copy, ends in ((good, 0), (altered, 1)):
        said: list[tuple[dict[str, Any], bytes]] = []
        for build in (COMPILED, Path(sys.executable).parent):
            evidence = tmp_path / f"{copy.name}-{len(said)}.json"
            words = ("foedus", "audit", str(copy), "--evidence", str(evidence), "--json")
            shown = json.loads(run_of(build, tmp_path, *words, ends=ends))
            said.append((shown, evidence.read_bytes() if evidence.exists() else b""))
        (compiled, told), (plain, told_too) = said
        compiled.pop("evidence", None), plain.pop("evidence", None)
        assert compiled == plain
        assert told == told_too


def test_the_logs_formats_are_read_as_the_vectors_say(tmp_path: Path) -> None:
    files = sorted(str(file) for file in shared_path("vectors/transparency").glob("*.json"))
    run(tmp_path, "python", "-m", "node.log.conformance", *files)


def test_hostile_statements_are_named_malformed(tmp_path: Path) -> None:
    """Rooms' own tests against the compiled reader: what is malformed in shell or content is an answer, never another error."""
    tests = (
        "unit/log/test_cose.py",
        "property/ledger/test_parsers.py::test_a_changed_entry_is_read_or_named_as_malformed",
    )
    options = ("-o", "pythonpath=", "--import-mode=append", "--rootdir", str(ROOT), "-n", "0")
    words = ("python", "-m", "pytest", *options, "-c", str(ROOT / "pyproject.toml"))
    run(tmp_path, *words, *(str(ROOT / "tests" / one) for one in tests))
