"""`foedus law QUESTION`: from a node, from the home's own store, from the genesis alone."""

import asyncio
import json
from pathlib import Path

import pytest

from node.ledger.questions.answer import QUESTIONS
from node.settings import FILE_NAME, ListenSettings, NodeSettings, Settings, documented_toml
from tests.unit.cli.conftest import Run, document_of
from tests.unit.cli.fake_network import FakeNetwork
from tests.unit.ledger.courtroom import ABOUTS, founding, held
from tests.unit.ledger.running import start


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, dict[str, bytes]]]:
    """A home whose store holds the courtroom's history, and every answer as it was given then."""
    home = tmp_path_factory.mktemp("lived")
    settings = Settings(home=home, node=NodeSettings(state="BR"), listen=ListenSettings())
    (home / FILE_NAME).write_text(documented_toml(settings), encoding="utf-8")
    (home / "genesis.cbor").write_bytes(founding().document)
    folder = settings.store_path.parent
    folder.mkdir(parents=True, exist_ok=True)

    async def live() -> dict[int, dict[str, bytes]]:
        room = await held(await start(founding(), folder))
        room.running.close()
        return room.said

    return home, asyncio.run(live())


@pytest.mark.parametrize("name", ["runs", "cases", "obligations", "lineage", "dossier", "diff"])
def test_offline_at_any_index(
    run: Run, lived: tuple[Path, dict[int, dict[str, bytes]]], name: str
) -> None:
    home, said = lived
    about = [ABOUTS[name]] if name in ABOUTS else []
    for size in sorted(said)[5::6]:
        words = ("law", name, *about, "--home", home, "--offline", "--at", str(size - 1))
        assert document_of(run(*words, "--json")) == json.loads(said[size][name])
    now = document_of(run("law", name, *about, "--home", home, "--offline", "--json"))
    assert now["size"] == max(said)


def test_people_read_a_table(run: Run, lived: tuple[Path, dict[int, dict[str, bytes]]]) -> None:
    home, said = lived
    text = run("law", "runs", "2", "--home", home, "--offline").stdout
    assert text.startswith(f"runs after {max(said)} entries, 20")
    assert "op0/r3" in text
    assert "frontier_flop -3000000" in text
    assert "0 rows" in run("law", "lineage", "--home", home, "--offline").stdout
    beyond = run("law", "runs", "--home", home, "--offline", "--at", "100000", status=2)
    assert "this log has" in beyond.stderr


def test_the_genesis_alone_is_enough_for_the_policy(run: Run, tmp_path: Path) -> None:
    genesis = tmp_path / "genesis.cbor"
    genesis.write_bytes(founding().document)
    shown = document_of(run("law", "diff", "--genesis", genesis, "--offline", "--json"))
    assert {row["key"]: row["in_force"] for row in shown["rows"]}["frontier_flop"] == 30_000_000
    for name in QUESTIONS:
        run("law", name, "--genesis", genesis, "--offline", "--json")


def test_from_a_node_in_pages_and_with_patience(run: Run, network: FakeNetwork) -> None:
    words = ("law", "members", "--home", network.home("US"), *network.node_options("KE"))
    shown = document_of(run(*words, "--json"))  # the fake gives two rows a page
    assert [row["key"] for row in shown["rows"]] == sorted(network.homes)
    assert shown["next_after"] is None
    some = document_of(run(*words, "--limit", "2", "--json"))
    assert len(some["rows"]) == 2
    assert some["next_after"] == some["rows"][-1]["key"]
    past = document_of(run(*words, "--at", "1", "--json"))
    assert past["rows"] == shown["rows"]


def test_every_question_has_its_help(run: Run) -> None:
    for name, view in QUESTIONS.items():
        text = run("law", name, "--help").stdout
        assert (view.__doc__ or "?").split(".")[0].split()[0] in text
        assert "--offline" in text
