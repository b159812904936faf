"""Running the command as a user does, and the fake nodes that it asks."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from node.cli.main import build_app
from node.log.merkle import MemoryHashes
from tests.unit.cli.fake_network import FakeNetwork, found_network
from tests.unit.cli.fake_nodes import Mood

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`foedus ARGUMENTS`; asserts the exit status."""
    monkeypatch.delenv("FOEDUS_HOME", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    app = build_app()

    def invoke(*arguments: str | Path, status: int = 0, typed: str | None = None) -> Result:
        result = CliRunner().invoke(app, [str(word) for word in arguments], input=typed)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, f"{result.stdout}\n{result.stderr}"
        return result

    return invoke


def document_of(result: Result) -> Any:
    """Standard output as the one JSON document that it must be."""
    assert result.stdout.count("\n") == 1, result.stdout
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def shared_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeNetwork]:
    network = found_network(tmp_path_factory.mktemp("network"))
    yield network
    network.stop()


@pytest.fixture
def network(shared_network: FakeNetwork) -> FakeNetwork:
    """The module's network, its log emptied to the genesis record, everybody honest."""
    log = shared_network.log
    first = log.leaves[0]
    log.leaves.clear()
    log.rejected.clear()
    log.hashes = MemoryHashes()
    log.append(first)
    for node in shared_network.nodes.values():
        node.mood, node.alarms, node.withholding = Mood.HONEST, [], False
        node.outside = []
        node.held.clear()
        node.given.clear()
        node.metadata.clear()
        node.size_shown = node.root_shown = None
    return shared_network
