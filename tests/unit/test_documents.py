"""What surrounds the code: no paths of one machine, decision records in one series, licence, lock file."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
HEADINGS = ["Context", "Options", "Outcome", "Reopen"]

# Written in pieces: this file is tracked as well and must not match itself.
MACHINE_FOLDERS = ("wo" + "rk", "ro" + "ot", "ho" + "me", "Us" + "ers", "tmp/foe" + "dus")
MACHINE_PATH = re.compile(
    rb"(?<![\w./:$}>*-])/(?:" + "|".join(MACHINE_FOLDERS).encode() + rb")(?:/|\b(?=[\"'`\s]))"
)


def tracked() -> list[Path]:
    """The files under version control that are there, or skip."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=60
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout here: what is tracked cannot be listed")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def machine_paths(data: bytes) -> list[str]:
    return [found.group().decode() for found in MACHINE_PATH.finditer(data)]


def test_no_paths_of_one_machine() -> None:
    found = {
        str(path.relative_to(ROOT)): hits
        for path in tracked()
        if (hits := machine_paths(path.read_bytes()))
    }
    assert not found


def test_such_a_path_would_be_found() -> None:
    for folder in MACHINE_FOLDERS:
        assert machine_paths(f'open("/{folder}/x/y.csv")'.encode())
    assert not machine_paths(b"https://example.org/work/x, ./home/x, $HOME/root/x, a/work/b")


def decision_records() -> list[Path]:
    return sorted(
        path
        for room in ("node", "consensus")
        for path in (ROOT / room / "decisions").glob("*")
        if path.is_file()
    )


def test_decision_records_share_one_series() -> None:
    records = decision_records()
    assert records
    names = [path.name for path in records]
    assert [name for name in names if not re.fullmatch(r"[0-9]{4}-[a-z0-9-]+\.md", name)] == []
    numbers = [name[:4] for name in names]
    assert sorted(numbers) == sorted(set(numbers)), "two records with one number"


@pytest.mark.parametrize("path", decision_records(), ids=lambda path: path.name)
def test_decision_record_has_its_parts(path: Path) -> None:
    """Title with its number, then what was weighed, chosen, and what would open it again."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.name[:4]} ")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    assert parts[1::2] == HEADINGS
    assert all(part.strip() for part in parts[2::2]), "an empty part"


def test_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    words = " ".join(text.split())
    assert words.startswith("Apache License Version 2.0, January 2004")
    for section, title in enumerate(
        (
            "Definitions.",
            "Grant of Copyright License.",
            "Grant of Patent License.",
            "Redistribution.",
            "Submission of Contributions.",
            "Trademarks.",
            "Disclaimer of Warranty.",
            "Limitation of Liability.",
            "Accepting Warranty or Additional Liability.",
        ),
        start=1,
    ):
        assert f" {section}. {title}" in words
    assert "END OF TERMS AND CONDITIONS" in words
    assert _project()["license"] == "Apache-2.0"


def _project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project: dict[str, object] = tomllib.load(file)["project"]
    return project


def _declared() -> list[Requirement]:
    project = _project()
    dependencies, extras = project["dependencies"], project["optional-dependencies"]
    assert isinstance(dependencies, list)
    assert isinstance(extras, dict)
    return [Requirement(text) for text in [*dependencies, *(t for e in extras.values() for t in e)]]


def _locked() -> list[str]:
    """One logical line per requirement, continuation lines joined and comments dropped."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    joined = text.replace("\\\n", " ")
    return [
        line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]


def test_every_locked_line_is_pinned_and_hashed() -> None:
    lines = _locked()
    assert lines
    pinned = re.compile(
        r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==\S+( ; .+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*"
    )
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_lock_file_covers_what_is_declared() -> None:
    locked = {
        canonicalize_name(found.name): next(iter(found.specifier)).version
        for found in (Requirement(line.split("--hash")[0].strip()) for line in _locked())
    }
    missing = [
        str(wanted)
        for wanted in _declared()
        if not wanted.specifier.contains(locked.get(canonicalize_name(wanted.name), "0"))
        or canonicalize_name(wanted.name) not in locked
    ]
    assert missing == []
