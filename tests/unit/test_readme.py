"""README, changelog and runbook say nothing that is not so: commands exist, options exist, help texts are those of today.

python -m tests.unit.test_readme        write today's help texts into README.md
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from node.cli.main import build_app

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = (README, ROOT / "CHANGELOG.md", ROOT / "deploy" / "RUNBOOK.md")
WIDTH = "100"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_HELP = re.compile(r"(?<=^\$ )foedus [a-z ]*--help$", re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    found = _FENCE.findall(page.read_text(encoding="utf-8"))
    return [body for kind, body in found if kind == language]


def tour(name: str) -> str:
    (block,) = [body for body in blocks(README, "bash") if body.startswith(f"# tour: {name}\n")]
    return block


def help_of(command: str) -> str:
    """What `foedus ... --help` prints at this width, trailing spaces dropped."""
    words = command.split()[1:]
    result = CliRunner().invoke(build_app(), words, env={"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH})
    assert result.exit_code == 0, result.output
    return "\n".join(line.rstrip() for line in result.stdout.splitlines()).strip() + "\n"


def with_help_of_today(text: str) -> str:
    """The page with every quoted help text renewed."""

    def renewed(block: re.Match[str]) -> str:
        quoted = _HELP.search(block[2])
        if block[1] != "console" or quoted is None:
            return block[0]
        return f"```console\n$ {quoted[0]}\n{help_of(quoted[0])}```"

    return _FENCE.sub(renewed, text)


def test_quoted_help_is_that_of_today() -> None:
    text = README.read_text(encoding="utf-8")
    assert _HELP.search(text), "the README quotes no help text"
    assert with_help_of_today(text) == text, "renew it: python -m tests.unit.test_readme"


# --- commands exist -----------------------------------------------------------------------------


def command_lines(page: Path) -> Iterator[str]:
    """Every `foedus ...` of code spans and shell blocks, continuation lines joined."""
    text = page.read_text(encoding="utf-8")
    for body in blocks(page, "bash"):
        for line in body.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||[|;]|\bdo\b|\$\(", line):
                words = part.strip().rstrip(")")
                if words.startswith("foedus "):
                    yield words
    prose = _FENCE.sub("", text)
    yield from (span for span in _CODE.findall(prose) if span.startswith("foedus "))


def options_of(command: Any) -> set[str]:
    named = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    return named | {"--help", "-h"}


def faults(line: str, root: Any) -> str:
    """Why this is no command line of today; empty if it is one."""
    words = shlex.split(re.sub(r"\s[12]?[<>]\s*\S+|\s&$", "", line), comments=True)[1:]
    command = root
    while words and getattr(command, "commands", None) is not None and not words[0].startswith("-"):
        name = words.pop(0).rstrip(",.:")
        if name not in command.commands:
            break
        command = command.commands[name]
        name = ""
    else:
        name = ""
    if getattr(command, "commands", None) is not None and hasattr(command, "default"):
        command = command.commands[command.default]  # the word that may be left out
    elif name:
        return f"no command {name!r}"
    known = options_of(command)
    unknown = [
        word
        for word in words
        if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known
    ]
    return f"no option {unknown[0]}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_named_exists(page: Path) -> None:
    root = typer.main.get_command(build_app())
    lines = list(command_lines(page))
    assert lines
    assert {line: why for line in lines if (why := faults(line, root))} == {}


def test_a_wrong_command_would_be_found() -> None:
    root = typer.main.get_command(build_app())
    assert faults("foedus erase --all", root) == "no command 'erase'"
    assert faults("foedus status --quickly", root) == "no option --quickly"
    assert faults("foedus log list --newest --home us > x.json", root) == ""


def test_make_targets_named_exist() -> None:
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for page in PAGES:
        named = set(
            re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        )
        assert named <= targets, page.name


def test_files_linked_or_named_exist() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        spoken = [
            span
            for span in _CODE.findall(text)
            if re.fullmatch(r"(node|consensus|tests|proto|deploy)/[\w./-]+", span)
        ]
        missing = [name for name in linked if not (page.parent / name).exists()]
        missing += [name for name in spoken if not (ROOT / name).exists()]
        assert missing == [], page.name


def test_conformance_commands_named_exist() -> None:
    for module in set(re.findall(r"python -m ([\w.]+)", README.read_text(encoding="utf-8"))):
        place = ROOT / module.replace(".", "/")
        found = (place.with_suffix(".py"), place / "__main__.py")
        assert any(each.exists() for each in found), module


if __name__ == "__main__":
    README.write_text(with_help_of_today(README.read_text(encoding="utf-8")), encoding="utf-8")
