"""The whole command: every subcommand has examples and says its exit statuses; the root's own options."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from node.cli.main import build_app
from node.reporting import EXPECTED, reporting, table
from tests.unit.cli.conftest import Run, document_of

WANTED = (
    *("init", "status", "submit", "vote", "endorse", "motions", "cases", "runs", "facilities"),
    *("keys show", "keys new", "keys check", "node run", "receipt get", "receipt verify"),
    *("genesis propose", "genesis sign", "genesis combine", "genesis show", "genesis verify"),
    *("log list", "log show", "log watch", "assess"),
)


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something. typer carries its own click, so groups are known by what they hold."""
    inner: dict[str, Any] | None = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, below in inner.items():
        yield from leaves(below, f"{path} {name}".strip())


def commands() -> dict[str, Any]:
    return dict(leaves(typer.main.get_command(build_app())))


def test_the_commands_promised_are_there() -> None:
    assert set(WANTED) <= set(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_help_has_an_example_and_the_exit_statuses(run: Run, name: str) -> None:
    text = " ".join(run(*name.split(), "--help").stdout.split())
    assert "For example:" in text
    assert f"foedus {name}" in text
    assert "Exit status" in text
    assert "--json" in text


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_says_what_it_is_for(name: str) -> None:
    for parameter in commands()[name].params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{name} {parameter.name}"


def test_the_root(run: Run) -> None:
    text = run("--help").stdout
    assert "Exit status: 0 done, 1 the answer is no, 2 could not be done or checked." in text
    assert "--install-completion" in text
    assert run("--version").stdout.startswith("foedus ")
    assert "No such command" in run("nonsense", status=2).stderr
    assert "Missing" in run("vote", status=2).stderr


def test_a_fault_of_ours_is_not_hidden() -> None:
    """Only what a stranger, a disk or a network can do becomes exit status 2."""
    assert not any(issubclass(AssertionError, kind) for kind in EXPECTED)
    with pytest.raises(AssertionError), reporting(True):
        raise AssertionError("ours")


def test_one_document_even_when_it_fails(run: Run) -> None:
    result = run("genesis", "show", "no-such-file", "--json", status=2)
    assert document_of(result) == {"error": "no-such-file: No such file or directory"}
    assert result.stderr == "error: no-such-file: No such file or directory\n"


def test_strangers_words_do_not_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "KE\x1b[2J\x9b31m\u202egnp.exe\r\x07 [red]x[/red]"
    with reporting(as_json=False) as report:
        report.note(hostile)
        report.show({}, [hostile, table(hostile, ("name",), [(hostile,)])])
        report.line({}, hostile)
    said = capsys.readouterr()
    spelt = "KE\\u001b[2J\\u009b31m\\u202egnp.exe\\u000d\\u0007 [red]x[/red]"
    assert said.out.count(spelt) == 4
    assert said.err.count(spelt) == 1
    assert not set("\x1b\x9b\u202e\r\x07") & set(said.out + said.err)
