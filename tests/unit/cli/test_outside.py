"""`foedus receipt` with outside witnesses: a policy that wants them, and receipts that have their lines. The nodes are fakes."""

import subprocess
import sys
from pathlib import Path

import pytest

from node.log.policy import parse_policy
from tests.unit.cli.conftest import Run, document_of
from tests.unit.cli.fake_network import FakeNetwork
from tests.unit.cli.fake_nodes import Mood, outside_vkey
from tests.unit.cli.test_reading import at, fill

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def policy(run: Run, network: FakeNetwork, tmp_path: Path) -> Path:
    """Two of the witnesses that US, CN and GB would be outside."""
    words: list[str] = []
    for state in ("US", "CN", "GB"):
        words += ["--witness", f"{outside_vkey(network.homes[state])}@https://{state}.example/w"]
    made = run("receipt", "policy", "--home", network.home("US"), *words, "--outside", "2")
    path = tmp_path / "outside.policy"
    path.write_text(made.stdout, encoding="utf-8")
    return path


def test_the_policy_wants_states_and_outside_witnesses(network: FakeNetwork, policy: Path) -> None:
    lines = policy.read_text(encoding="utf-8").splitlines()
    names = [outside_vkey(network.homes[state]).name for state in ("US", "CN", "GB")]
    assert lines[-3:] == [
        f"group outside 2 {' '.join(names)}",
        "group all-of all states outside",
        "quorum all-of",
    ]
    found = parse_policy(policy.read_bytes())
    states = ["US", "CN", "GB", "KE"]
    assert found.satisfied_by([*states, *names[:2]])
    assert not found.satisfied_by([*states, names[0]])
    assert not found.satisfied_by([*states[:3], *names])


def test_a_receipt_has_the_outside_lines_that_its_policy_wants(
    run: Run, network: FakeNetwork, policy: Path, tmp_path: Path
) -> None:
    fill(network, 2)
    for node in network.nodes.values():
        node.outside = [network.homes["GB"], network.homes["US"]]
    got, plain = tmp_path / "got", tmp_path / "plain"
    run("receipt", "get", "2", *at(network), "--witnessed", "2", "--policy", policy, "-o", got)
    run("receipt", "get", "2", *at(network), "-o", plain)
    home = ("--home", network.home("US"))
    said = document_of(run("receipt", "verify", got, "--policy", policy, "--json"))
    assert said["proven"]
    assert outside_vkey(network.homes["GB"]).name in said["cosigned_by"]
    run("receipt", "verify", got, *home)
    refused = run("receipt", "verify", plain, "--policy", policy, status=2)
    assert "no quorum" in refused.stderr
    for path, status in ((got, 0), (plain, 1)):
        arguments = ("foedus_verify.py", "receipt", path, "--policy", policy)
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == status, done


def test_a_node_without_them_is_passed_over(
    run: Run, network: FakeNetwork, policy: Path, tmp_path: Path
) -> None:
    """One asks no witness, one knows nothing of the question and answers as ever: the third has what was asked for."""
    fill(network, 1)
    network.nodes["BR"].mood = Mood.FORGING
    network.nodes["KE"].outside = [network.homes["US"], network.homes["CN"]]
    words = ("--witnessed", "2", "--policy", policy, "-o", tmp_path / "r")
    run("receipt", "get", "1", *at(network, "GB", "BR", "KE"), *words)
    run("receipt", "verify", tmp_path / "r", "--policy", policy)
    alone = run("receipt", "get", "1", *at(network, "GB"), *words, status=2)
    assert "NOT_WITNESSED" in alone.stderr
    lied = run("receipt", "get", "1", *at(network, "BR"), *words, status=2)
    assert "does not satisfy --policy" in lied.stderr


def test_what_does_not_go_together_is_said(run: Run, network: FakeNetwork) -> None:
    fill(network, 1)
    home = ("--home", network.home("US"))
    assert (
        "--policy" in run("receipt", "get", "1", *at(network), "--witnessed", "1", status=2).stderr
    )
    assert "--witness" in run("receipt", "policy", *home, "--outside", "1", status=2).stderr
    key = str(outside_vkey(network.homes["US"]))
    for words in (("--witness", "x"), ("--witness", key, "--outside", "2"), ("--witness", key) * 2):
        run("receipt", "policy", *home, *words, status=2)
