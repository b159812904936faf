"""`foedus bench localnet`, short: the document has its shape, and its figures follow from one another. No figure is judged."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import PYTHON_PATH, ROOT

pytestmark = pytest.mark.e2e

SECONDS = 3


def bench(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "node.cli.main", "bench", "localnet", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    """The document, what was said meanwhile, and the folder that was kept."""
    kept = tmp_path_factory.mktemp("bench") / "kept"
    options = ("--states", "4", "--seconds", str(SECONDS), "--json", "--keep", str(kept))
    with bench(*options) as process:
        out, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    document: dict[str, Any] = json.loads(out)  # one document and nothing else
    return document, said, kept


def test_the_figures_follow_from_one_another(found: tuple[dict[str, Any], str, Path]) -> None:
    shown, _, _ = found
    full, half = shown["full"], shown["half"]
    assert shown["states"] == len(full["nodes"]) == len(half["nodes"]) == 4
    limit = shown["cores"] * shown["verifications_per_second_per_core"] / shown["states"]
    assert shown["signature_limit_per_second"] == pytest.approx(limit, rel=1e-3)
    ratio = shown["entries_per_second"] / shown["signature_limit_per_second"]
    assert shown["ratio_to_signature_limit"] == pytest.approx(ratio, abs=1e-3)
    assert shown["entries_per_second"] == full["entries_per_second"] > 0
    assert half["offered_per_second"] == pytest.approx(shown["entries_per_second"] / 2, abs=0.2)
    # Everything that was sent became final, on the clock or after it.
    for load in (full, half):
        assert load["final"] == load["submitted"] >= load["entries_per_second"] * SECONDS - 1
        assert all(node["cpu_seconds"] > 0 for node in load["nodes"])
        # An entry and its acknowledgement cross the wire once, the entry to three peers once each.
        assert load["wire_bytes_per_entry"] > 4 * shown["statement_bytes"]
    assert half["submitted"] == pytest.approx(half["offered_per_second"] * SECONDS, rel=0.1)
    assert shown["entries_final"] == full["final"] + half["final"]
    assert shown["log_size"] > shown["entries_final"]
    for load in ("full", "half"):
        latency = shown["latency_ms"][load]
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    peaks = [node["rss_mib_peak"] for load in (full, half) for node in load["nodes"]]
    assert shown["rss_mib_max"] == max(peaks) > 30


def test_the_load_is_what_is_said(found: tuple[dict[str, Any], str, Path]) -> None:
    """Progress is told, and the nodes' own logs know of four nodes, each in a process of its own."""
    shown, said, kept = found
    for step in ("founding", "signing statements", "full load", "half load", "signature limit"):
        assert step in said
    assert shown["statement_bytes"] == 300
    logs = [(kept / state / "node.log").read_text() for state in ("US", "CN", "GB", "KE")]
    assert all('"event": "stopped"' in log and "Traceback" not in log for log in logs)


def test_sigterm_leaves_no_node_behind(tmp_path: Path) -> None:
    with bench("--states", "1", "--seconds", "60", "--keep", str(tmp_path / "kept")) as process:
        deadline = time.monotonic() + 60
        while not nodes_of(tmp_path):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert nodes_of(tmp_path) == []


def nodes_of(folder: Path) -> list[str]:
    """Processes whose command line names a home below this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue  # ended meanwhile
        if b"node.main" in words and any(str(folder).encode() in word for word in words):
            found.append(path.parent.name)
    return found
