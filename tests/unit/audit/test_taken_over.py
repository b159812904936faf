"""Commits that a node took over on a quorum's certificate: their records name no deciders (SPEC 11), and that is no fault."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import rocksdict

from consensus.codec import decode_commit_record, encode_commit_record
from node.audit.audit import audit_sources
from node.audit.export import export_home
from node.audit.findings import Depth, Verdict
from node.ledger.records import decode_record
from node.storage import keys
from node.storage.store import Store
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, database, live, weave


def take_over(home: Path, commits: Iterable[int]) -> None:
    """As if those had been fetched with a certificate."""
    with Store.open(database(home)) as store:
        batch = rocksdict.WriteBatch(raw_mode=True)
        for index in commits:
            data = store.commit_record(index)
            assert data is not None
            bare = replace(decode_commit_record(data), deciders=())
            batch.put(keys.u64(index), encode_commit_record(bare), store._handles["commits"])
        store._write(batch)


@pytest.mark.parametrize("first", [1, 4])
def test_the_history_of_later_commits_decides_them(
    world: World, tmp_path: Path, first: int
) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    last = len(world.weave.records)
    take_over(home, range(first, last - 3))
    report = audit_sources([str(home)], processes=1)
    assert [str(finding) for finding in report.findings] == []
    assert report.sources[0].commits_replayed == last
    made = export_home(home, tmp_path / "archive")
    assert made.manifest_digest == world.exported["US"].manifest_digest, "deciders lie beside it"
    assert audit_sources([str(tmp_path / "archive")], processes=1).verdict is Verdict.CONSISTENT


def test_where_nothing_follows_a_cosigned_record_stands_for_them(
    world: World, tmp_path: Path
) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    last = len(world.weave.records)
    take_over(home, range(1, last + 1))
    report = audit_sources([str(home)], processes=1)
    uncovered = [finding for finding in report.findings if finding.depth is Depth.ORDER]
    with Store.open(database(home), read_only=True) as store:
        certified = newest_certified(store)
    if certified >= last:
        assert report.verdict is Verdict.CONSISTENT
    else:
        assert [
            f"commit {last}: no blocks here decide its leader" in str(f) for f in uncovered
        ] == [True]


def test_who_signed_twice_is_named_where_later_commits_are_looked_at_first(
    world: World, tmp_path: Path
) -> None:
    """Both blocks are read to decide an earlier leader: their turn never comes again."""
    made = weave(equivocate=True, founding=world.weave.founding)
    home = asyncio.run(live(made, tmp_path / "CN", "CN"))
    whole = audit_sources([str(home)], processes=1)
    assert [misdeed.accused for misdeed in whole.misdeeds] == [("GB",)]
    take_over(home, range(1, len(made.records) - 3))
    report = audit_sources([str(home)], processes=1)
    assert report.findings == ()
    assert report.misdeeds == whole.misdeeds


def newest_certified(store: Store) -> int:
    index = decode_record(store.entry(store.log_size() - 1))["index"]
    assert isinstance(index, int)
    return index


def test_a_record_that_claims_another_leader_is_found(world: World, tmp_path: Path) -> None:
    """Without deciders the record cannot move a block: the rule, or else the cosigned digest, speaks against it."""
    home = clone(world.homes["CN"], tmp_path / "CN")
    records = world.weave.records
    take_over(home, range(1, len(records) + 1))
    with Store.open(database(home)) as store:
        data = store.commit_record(6)
        assert data is not None
        record = decode_commit_record(data)
        other = next(ref for ref in record.commit.blocks if ref != record.commit.leader)
        forged = replace(record, commit=replace(record.commit, leader=other))
        store.put_row("commits", keys.u64(6), encode_commit_record(forged))
    report = audit_sources([str(home)], processes=1)
    assert report.verdict is Verdict.INCONSISTENT
    assert any("commit 6" in str(finding) for finding in report.findings)
    assert not any(finding.accused for finding in report.findings)
