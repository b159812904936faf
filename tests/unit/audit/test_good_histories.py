"""Histories with nothing wrong: every kind of source, every depth, and no finding."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from consensus.codec import decode_commit_record
from node.audit import archive, archive_files, export
from node.audit.audit import audit_sources
from node.audit.export import export_home
from node.audit.findings import AuditReport, Depth, Verdict
from node.audit.source import CannotAudit
from node.log.tiles import paths
from node.storage.store import Store
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, database, live, weave

STATES = ("BR", "CN", "GB", "KE", "US")


def assert_clean(report: AuditReport) -> None:
    assert [str(finding) for finding in report.findings] == []
    assert report.verdict is Verdict.CONSISTENT
    assert report.roots_equal


def done(report: AuditReport, position: int = 0) -> set[str]:
    return {d.value for d, state in report.sources[position].checked.items() if state.done}


def test_a_home_is_replayed_whole(world: World) -> None:
    report = audit_sources([str(world.homes["CN"])])
    assert_clean(report)
    assert done(report) == {depth.value for depth in Depth} - {"compare"}
    source = report.sources[0]
    with Store.open(database(world.homes["CN"]), read_only=True) as store:
        tip = store.tip()
    assert tip is not None
    assert (source.size, source.entries_replayed, source.commits_replayed) == (
        tip.log_size,
        tip.log_size,
        tip.commit,
    )
    assert tip.commit == len(world.weave.records) > 12
    assert report.cosigned_by == STATES
    assert source.root == source.final_root == source.replayed_root
    assert f"{len(world.weave.blocks)} blocks" in source.checked[Depth.STORE].how_far


def test_the_weave_has_what_makes_orders_hard(world: World) -> None:
    """Else the tests above would show little: skipped slots, blocks never committed, commits of more than a round."""
    records = world.weave.records
    committed = {ref for record in records for ref in record.commit.blocks}
    leaders = [record.commit.leader.round for record in records]
    assert set(range(1, leaders[-1])) - set(leaders), "no leader slot was skipped"
    assert len(committed) < len(world.weave.blocks)
    assert any(len({ref.round for ref in record.commit.blocks}) > 2 for record in records)


def test_a_home_a_data_folder_and_a_database_are_one_source(world: World) -> None:
    home = world.homes["CN"]
    for path in (home / "data", home / "data" / "rocksdb"):
        assert_clean(audit_sources([str(path)]))


def test_two_honest_nodes_export_the_same_bytes(world: World) -> None:
    """RULINGS R56: whatever the manifest covers, and the manifest."""
    ours, theirs = world.exports["CN"], world.exports["US"]
    listed = json.loads((ours / "manifest.json").read_bytes())["files"]
    assert (ours / "manifest.json").read_bytes() == (theirs / "manifest.json").read_bytes()
    for name in listed:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    size = world.exported["CN"].size
    assert {str(path) for path in paths(size)} <= set(listed)
    assert {"genesis.cbor", "policy"} <= set(listed)


def test_an_export_is_replayed_whole(world: World) -> None:
    report = audit_sources([str(world.exports["CN"])])
    assert_clean(report)
    assert done(report) == {"parse", "structure", "certificates", "signatures", "order", "law"}
    source = report.sources[0]
    assert source.entries_replayed == source.size == world.exported["CN"].size
    assert source.root == source.replayed_root == world.exported["CN"].root


def test_deciders_come_with_what_they_rest_on(world: World) -> None:
    """The last commits are decided by blocks that no commit holds: an export without them could not be recomputed."""
    assert (world.exports["CN"] / "signatures" / "undecided").stat().st_size > 0
    records = world.weave.records[: world.exported["CN"].commits]
    committed = {ref for record in records for ref in record.commit.blocks}
    assert not set(records[-1].deciders) <= committed


def test_sources_of_all_kinds_beside_each_other(world: World) -> None:
    report = audit_sources(
        [str(world.homes["US"]), str(world.exports["CN"])], against=[str(world.homes["CN"])]
    )
    assert_clean(report)
    assert [source.kind for source in report.sources] == ["store", "archive", "store"]
    assert "compare" in done(report, 0)
    assert done(report, 2) == {"parse", "structure", "certificates", "compare"}


def test_an_audit_changes_no_byte(world: World, tmp_path: Path) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    audit_sources([str(home)])
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert after == before


def test_a_store_in_use_is_read_as_it_stands(world: World, tmp_path: Path) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    with Store.open(database(home)):
        assert_clean(audit_sources([str(home)]))
        assert export_home(home, tmp_path / "out").size == world.exported["CN"].size


def test_a_quorum_is_enough_and_who_did_not_sign_is_seen(tmp_path: Path) -> None:
    home = asyncio.run(live(weave(), tmp_path / "CN", "CN", cosigners=4))
    report = audit_sources([str(home)])
    assert_clean(report)
    assert report.cosigned_by == ("BR", "CN", "GB", "KE")


def test_a_node_stopped_before_the_others_is_a_prefix(world: World, tmp_path: Path) -> None:
    home = asyncio.run(live(world.weave, tmp_path / "CN", "CN", commits=5))
    report = audit_sources([str(home), str(world.homes["US"])])
    assert_clean(report)
    assert report.sources[0].size < report.sources[1].size


def test_an_equivocation_is_told_and_harms_nothing(tmp_path: Path) -> None:
    """Two blocks of one round, both committed: the history stands, and their author signed against the rules."""
    made = weave(equivocate=True)
    home = asyncio.run(live(made, tmp_path / "CN", "CN"))
    report = audit_sources([str(home)])
    assert_clean(report)
    assert [(m.accused, m.what) for m in report.misdeeds] == [
        (("GB",), "GB signed two blocks for round 9")
    ]
    proof = report.misdeeds[0].proof
    assert proof["digest1"] != proof["digest2"]
    exported = export_home(home, tmp_path / "out")
    again = audit_sources([str(exported.folder)])
    assert_clean(again)
    assert again.misdeeds[0].proof == proof


def test_an_export_up_to_an_earlier_checkpoint(world: World, tmp_path: Path) -> None:
    home = world.homes["CN"]
    with Store.open(database(home), read_only=True) as store:
        sizes = store.cosigned_sizes(0, 1 << 40, 100)
    made = export_home(home, tmp_path / "out", size=sizes[0])
    assert made.size == sizes[0] < world.exported["CN"].size
    assert_clean(audit_sources([str(made.folder)]))
    with pytest.raises(CannotAudit, match="no final checkpoint of size 2; the newest held"):
        export_home(home, tmp_path / "other", size=2)


def test_an_export_is_there_whole_or_not_at_all(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = world.homes["CN"]
    with pytest.raises(CannotAudit, match="never overwritten"):
        export_home(home, world.exports["CN"])
    real = os.fsync
    calls = 0

    def failing(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 8:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="No space"):
        export_home(home, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(os, "fsync", real)
    made = export_home(home, tmp_path / "out")
    assert made.reused > 8
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert made.manifest_digest == world.exported["CN"].manifest_digest


def test_the_machinery_sees_every_commit(world: World) -> None:
    """What the store holds as records is what the weave made: no second path from blocks to order in these tests."""
    with Store.open(database(world.homes["US"]), read_only=True) as store:
        for record in world.weave.records:
            held = store.commit_record(record.commit.index)
            assert held is not None
            assert decode_commit_record(held) == record


@pytest.mark.parametrize("commits", [4, 5])
def test_an_export_of_many_files(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    """A long history is cut into files of 256 commits: cut finer here, so that what decides a commit lies in the next file."""
    for module in (archive, archive_files, export):
        monkeypatch.setattr(module, "COMMITS_PER_FILE", commits)
    made = export_home(world.homes["CN"], tmp_path / "out")
    names = sorted(path.stem for path in (tmp_path / "out" / "blocks").iterdir())
    assert names == [f"{first:010d}" for first in range(1, made.commits + 1, commits)]
    assert len(names) > 2
    report = audit_sources([str(made.folder)])
    assert_clean(report)
    assert report.sources[0].commits_replayed == made.commits
