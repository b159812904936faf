"""`foedus beacon`: from a new chain to the note that reveals its link, and what f+1 nodes must say first."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli import beacon_command
from node.signing import keystore
from node.signing.keystore import KdfCost, read_chain
from node.treaty.beacon import link
from node.treaty.rows.clock import Anchor, Reveal, Round
from tests.unit.cli.conftest import Run, document_of
from tests.unit.cli.fake_network import FakeNetwork

CHEAP = KdfCost(ops=1, memory_bytes=8_192)


@pytest.fixture(autouse=True)
def _as_at_genesis(network: FakeNetwork) -> Iterator[None]:
    """The nodes are shared: what a test put into their laws is taken out again."""
    yield
    for node in network.nodes.values():
        state = node.law.law.book.state
        for table, key in ((state.rounds, "open"), (state.anchors, "KE"), (state.reveals, "KE")):
            if key in table:
                table.drop(key)


@pytest.fixture
def chain(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """(chain file of KE, passphrase file)."""
    write = keystore.write_chain

    def cheaply(*words: object, **options: object) -> None:
        write(*words, **options, cost=CHEAP)  # type: ignore[arg-type]

    monkeypatch.setattr(beacon_command, "write_chain", cheaply)
    secret = tmp_path / "pass"
    secret.write_text("a long passphrase\n")
    secret.chmod(0o600)
    file, out = tmp_path / "ke.chain", tmp_path / "anchor.json"
    words = ("--state", "KE", "--links", "20", "--out", out, "--passphrase-file", secret)
    made = document_of(run("beacon", "new", file, *words, "--json"))
    assert json.loads(out.read_text()) == made["draft"]
    assert made["draft"]["body"]["type"] == "anchor"
    return file, secret


def rows(network: FakeNetwork, number: int, tip: bytes, states: list[str] | None = None) -> None:
    """These nodes say that a round is open and expects KE; all unless told."""
    for state, node in network.nodes.items():
        if states is None or state in states:
            state_of = node.law.law.book.state
            state_of.rounds.put("open", Round(number, 1_900_000_000, ("KE", "US"), 2))
            state_of.anchors.put("KE", Anchor(tip, 4))


def anchor_of(run: Run, file: Path, secret: Path) -> bytes:
    shown = document_of(run("beacon", "anchor", file, "--passphrase-file", secret, "--json"))
    return bytes.fromhex(shown["draft"]["body"]["hash"])


def test_from_anchor_to_reveal(
    run: Run, network: FakeNetwork, chain: tuple[Path, Path], tmp_path: Path
) -> None:
    file, secret = chain
    tip = anchor_of(run, file, secret)
    home, out = network.home("KE"), tmp_path / "reveal.json"
    where = ("--home", home, *network.node_options(*network.homes), "--passphrase-file", secret)
    assert "no round of the beacon" in run("beacon", "reveal", file, *where, status=1).stderr
    rows(network, 6, tip)
    shown = document_of(run("beacon", "reveal", file, *where, "--out", out, "--json"))
    draft = json.loads(out.read_text())
    assert draft == shown["draft"]
    assert draft["body"]["about"] == "6"
    assert link(bytes.fromhex(draft["body"]["hash"]), 2) == tip
    assert read_chain(file, b"a long passphrase")[1].round == 6
    again = document_of(run("beacon", "reveal", file, *where, "--json"))
    assert again["draft"] == draft
    refused = run("beacon", "anchor", file, "--passphrase-file", secret, status=2)
    assert "make a new chain" in refused.stderr
    for node in network.nodes.values():
        node.law.law.book.state.reveals.put("KE", Reveal(bytes(32)))
    assert "has revealed" in run("beacon", "reveal", file, *where, status=1).stderr


def test_one_lying_node_shows_nothing(
    run: Run, network: FakeNetwork, chain: tuple[Path, Path]
) -> None:
    """It says that a far round is open, to have a link shown that gives away all before it."""
    file, secret = chain
    tip = anchor_of(run, file, secret)
    states = list(network.homes)
    rows(network, 5, tip)
    rows(network, 15, tip, states[:1])
    where = ("--home", network.home("KE"), "--passphrase-file", secret)
    alone = run("beacon", "reveal", file, *where, *network.node_options(states[0]), status=2)
    assert "must say which round is open" in alone.stderr
    assert read_chain(file, b"a long passphrase")[1].is_fresh
    shown = document_of(
        run("beacon", "reveal", file, *where, *network.node_options(*states), "--json")
    )
    assert shown["round"] == 5


def test_who_is_not_expected(run: Run, network: FakeNetwork, chain: tuple[Path, Path]) -> None:
    file, secret = chain
    where = ("--home", network.home("KE"), *network.node_options(*network.homes))
    for node in network.nodes.values():
        node.law.law.book.state.rounds.put("open", Round(5, 1_900_000_000, ("US",), 2))
    words = ("beacon", "reveal", file, *where, "--passphrase-file", secret)
    assert "holds no anchor of KE" in run(*words, status=1).stderr
    for node in network.nodes.values():
        node.law.law.book.state.anchors.put("KE", Anchor(bytes(32), 4))
    assert "does not expect KE" in run(*words, status=1).stderr
    rows(network, 5, bytes(32))
    assert "is no link of this chain" in run(*words, status=2).stderr


def test_keys_know_the_file(run: Run, chain: tuple[Path, Path]) -> None:
    file, secret = chain
    checked = document_of(run("keys", "check", file, "--passphrase-file", secret, "--json"))
    assert (checked["kind"], checked["owner"]) == ("chain", "KE")
