"""`foedus simulate` hands over to the simulator's process with what it was given."""

import os
import sys

import pytest
from typer.testing import CliRunner

from node.cli.main import build_app


class Became(Exception):
    pass


def handed_over(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> list[str]:
    """The command line that takes this command's place."""
    calls: list[tuple[str, list[str]]] = []

    def execv(path: str, command: list[str]) -> None:
        calls.append((path, command))
        raise Became

    monkeypatch.setattr(os, "execv", execv)
    result = CliRunner().invoke(build_app(), ["simulate", *arguments])
    assert isinstance(result.exception, Became), result.output
    ((path, command),) = calls
    assert command[:3] == [path, "-m", "consensus.simulate"]
    assert path == sys.executable
    return command[3:]


def test_veto(monkeypatch: pytest.MonkeyPatch) -> None:
    assert handed_over(monkeypatch, "veto") == ["veto", "--members", "4-10", "--jobs", "1"]
    given = handed_over(monkeypatch, "veto", "--members", "4,7", "--quick", "--json", "--jobs", "3")
    assert given == ["veto", "--members", "4,7", "--jobs", "3", "--quick", "--json"]


def test_wan(monkeypatch: pytest.MonkeyPatch) -> None:
    given = handed_over(monkeypatch, "wan", "--states", "20", "--min-round-ms", "50", "--json")
    assert given == [
        *("wan", "--states", "20", "--rounds", "20", "--cores-up-to", "10"),
        *("--min-round-ms", "50", "--json"),
    ]


def test_help_has_examples() -> None:
    result = CliRunner().invoke(build_app(), ["simulate", "veto", "--help"])
    assert result.exit_code == 0
    assert "foedus simulate veto --members 4 --quick" in result.output
