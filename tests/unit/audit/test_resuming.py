"""An audit taken up again: clean copies are not replayed twice, others are, and the file is believed for nothing else."""

import json
from pathlib import Path

import pytest

from node.audit import apart
from node.audit.audit import audit_sources
from node.audit.copies import Copy, replay
from node.audit.findings import Depth, Verdict
from node.audit.resuming import _sealed
from node.audit.source import CannotAudit
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, flip
from tests.unit.audit.test_altered_archives import reseal


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the copies that were run again."""
    names: list[str] = []

    def counted(copy: Copy, *rest: object) -> None:
        names.append(copy.source.where)
        replay(copy, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(apart, "replay", counted)
    return names


def test_what_was_clean_is_not_run_again(world: World, tmp_path: Path, replayed: list[str]) -> None:
    file = tmp_path / "state"
    one, two = str(world.exports["CN"]), str(world.exports["US"])
    first = audit_sources([one], processes=1, resume=file)
    assert replayed == [one]
    both = audit_sources([one, two], processes=1, resume=file)
    assert replayed == [one, two], "its block signatures are other bytes"
    again = audit_sources([one], processes=1, resume=file)
    assert again.verdict is both.verdict is first.verdict is Verdict.CONSISTENT
    assert "in an earlier run" in again.sources[0].checked[Depth.LAW].how_far
    assert again.sources[0].replayed_root == first.sources[0].replayed_root
    assert again.roots_equal
    assert again.sources[0].checked[Depth.STORE] == first.sources[0].checked[Depth.STORE]


def test_other_bytes_are_run_anew(world: World, tmp_path: Path, replayed: list[str]) -> None:
    """As careful a forger as there is: the manifests fit. The file speaks of other bytes, so it is not asked."""
    file = tmp_path / "state"
    archive = clone(world.exports["CN"], tmp_path / "archive")
    audit_sources([str(archive)], processes=1, resume=file)
    (blocks,) = (archive / "blocks").glob("*.blocks")
    blocks.write_bytes(flip(blocks.read_bytes(), 90, 1))
    reseal(archive)
    report = audit_sources([str(archive)], processes=1, resume=file)
    assert report.verdict is Verdict.INCONSISTENT
    assert replayed == [str(archive)] * 2
    kept = json.loads(file.read_text())
    assert len(kept["clean"]) == 1, "what is not clean is not kept"


def test_a_store_and_another_depth_are_run_anew(
    world: World, tmp_path: Path, replayed: list[str]
) -> None:
    file = tmp_path / "state"
    home, archive = str(world.homes["CN"]), str(world.exports["CN"])
    for _ in range(2):
        audit_sources([home], processes=1, resume=file)
    assert replayed == [home, home]
    audit_sources([archive], processes=1, resume=file, depth=Depth.LAW)
    audit_sources([archive], processes=1, resume=file)
    assert replayed == [home, home, archive, archive]


@pytest.mark.parametrize("text", ["[]", "a letter", '{"format":"foedus/evidence/1"}'])
def test_a_file_that_is_something_else_is_refused(world: World, tmp_path: Path, text: str) -> None:
    file = tmp_path / "state"
    file.write_text(text)
    with pytest.raises(CannotAudit, match="name another file"):
        audit_sources([str(world.exports["CN"])], processes=1, resume=file)
    assert file.read_text() == text


def test_a_damaged_file_is_said_and_begun_anew(
    world: World, tmp_path: Path, replayed: list[str]
) -> None:
    """Whichever byte: of what it says, of its digest, of its form; and one of an earlier version."""
    file = tmp_path / "state"
    archive = str(world.exports["CN"])
    audit_sources([archive], processes=1, resume=file)
    good = file.read_bytes()
    entries = good.index(b'"entries": ') + 11
    places = [31, entries, good.index(b"sha256") + 12, len(good) - 3]
    damaged = [flip(good, at, 1) for at in places] + [good[:40], good[:-3]]
    earlier = b'{"format":"foedus/audit-state/1","clean":{}}'
    unshaped = _sealed({"00": {"entries": 1}})
    for text in [*damaged, earlier, b"", json.dumps(unshaped).encode()]:
        file.write_bytes(text)
        notes: list[str] = []
        replayed.clear()
        audit_sources([archive], processes=1, resume=file, note=notes.append)
        assert replayed == [archive]
        assert len(notes) == 1
        assert "not taken up, the audit begins anew" in notes[0]
        assert file.read_bytes() == good
