"""Altered stores: the node, the entry and the bytes are named, and nobody is accused.

Rows are rewritten through the database's own software, which no checksum sees; files are scratched, which only checksums see.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.codec import decode_block, encode_block, encode_commit_record
from consensus.types import CommitRecord, Millis
from node.audit.audit import audit_sources
from node.audit.export import export_home
from node.audit.findings import AuditReport, Depth, Finding, Verdict
from node.audit.source import CannotAudit
from node.ledger import records
from node.storage import keys
from node.storage.errors import StoreDamaged
from node.storage.keys import Facet
from node.storage.store import Store
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, database, delete, flip, get, live, put

STATES = ("BR", "CN", "GB", "KE", "US")


@pytest.fixture
def home(world: World, tmp_path: Path) -> Path:
    return clone(world.homes["CN"], tmp_path / "CN")


def audit(*sources: Path, against: Path | None = None) -> AuditReport:
    report = audit_sources(
        [str(source) for source in sources], against=[] if against is None else [str(against)]
    )
    assert report.verdict is Verdict.INCONSISTENT
    assert all(finding.source == "CN" for finding in report.findings), "only the altered copy"
    assert all(not finding.accused for finding in report.findings), "altered bytes accuse nobody"
    assert not report.misdeeds
    return report


def about(report: AuditReport, entry: int) -> Finding:
    """The one finding about this entry."""
    (found,) = [finding for finding in report.findings if finding.entry == entry]
    return found


def kind_of(home: Path, kind: str) -> int:
    """Index of the first leaf of a kind."""
    with Store.open(database(home), read_only=True) as store:
        size = store.log_size()
        for index in range(3, size):
            leaf = store.entry(index)
            if kind == (
                "entry" if not records.is_record(leaf) else records.decode_record(leaf)["type"]
            ):
                return index
    raise AssertionError(f"no {kind} in the log")


@pytest.mark.parametrize("kind", ["entry", "rejected", "commit"])
@pytest.mark.parametrize("alone", [True, False])
def test_an_altered_leaf_is_named_to_the_byte(
    world: World, home: Path, kind: str, *, alone: bool
) -> None:
    """By the signed blocks and the law, so that no second source is needed; beside one it is told once as well."""
    index = kind_of(home, kind)
    leaf = get(home, "log", keys.u64(index))
    altered = leaf[:20] + bytes(byte ^ 0x5A for byte in leaf[20:23]) + leaf[23:]
    put(home, "log", keys.u64(index), altered)
    report = audit(home, against=None if alone else world.homes["US"])
    found = about(report, index)
    assert found.byte_range is not None
    assert (found.byte_range.first, found.byte_range.last) == (20, 22)
    assert (found.byte_range.found, found.byte_range.expected) == (altered[20:23], leaf[20:23])
    assert found.proven_by == STATES
    assert f"CN: entry {index}, bytes 20-22: altered" in str(found)
    assert not report.roots_equal


def test_without_blocks_a_second_copy_names_the_bytes(world: World, home: Path) -> None:
    """The store lost a block as well, and no other source has blocks: the law can only be run over the log itself."""
    index = kind_of(home, "entry")
    leaf = get(home, "log", keys.u64(index))
    put(home, "log", keys.u64(index), flip(leaf, 40))
    ref = world.weave.records[0].commit.blocks[0]
    delete(home, "blocks", keys.block(*ref))
    alone = about(audit(home), index)
    assert alone.byte_range is None
    assert alone.proven_by == STATES
    found = about(audit(home, against=world.homes["US"]), index)
    assert found.byte_range is not None
    assert (found.byte_range.first, found.byte_range.last) == (40, 40)


def test_a_shortened_leaf(home: Path) -> None:
    index = kind_of(home, "entry")
    leaf = get(home, "log", keys.u64(index))
    put(home, "log", keys.u64(index), leaf[:-3])
    found = about(audit(home), index)
    assert found.byte_range is not None
    assert found.byte_range.last == len(leaf) - 1


def test_a_missing_leaf(home: Path) -> None:
    delete(home, "log", keys.u64(9))
    assert "entry 9 is missing" in about(audit(home), 9).what


def test_two_leaves_that_changed_places(home: Path) -> None:
    first = kind_of(home, "entry")
    one, two = (get(home, "log", keys.u64(index)) for index in (first, first + 1))
    put(home, "log", keys.u64(first), two)
    put(home, "log", keys.u64(first + 1), one)
    report = audit(home)
    assert {first, first + 1} <= {finding.entry for finding in report.findings}


@pytest.mark.parametrize(("level", "index"), [(0, 7), (1, 3), (3, 1), (5, 0)])
def test_an_altered_tree_hash_is_no_altered_entry(home: Path, level: int, index: int) -> None:
    key = keys.node_hash(level, index)
    put(home, "hashes", key, flip(get(home, "hashes", key), 5))
    report = audit(home)
    assert not [finding for finding in report.findings if finding.entry is not None]
    assert any(
        f"tree hash of level {level}, index {index}" in finding.what for finding in report.findings
    )


Alter = Callable[[World, Path], None]


def _state(world: World, home: Path) -> None:
    del world
    with Store.open(database(home), read_only=True) as store:
        bucket, key, value = next(store.state_items())
    put(home, "state", keys.state(bucket, key), flip(value, 0))


def _more_state(world: World, home: Path) -> None:
    del world
    put(home, "state", keys.state(77, b"invented"), b"x")


def _facts(world: World, home: Path) -> None:
    del world
    with Store.open(database(home), read_only=True) as store:
        key, value = next(store.rows("index"))
    put(home, "index", key, flip(value, 50))


def _facet(world: World, home: Path) -> None:
    del world
    key = keys.facet_prefix(Facet.KIND, b"energy")
    with Store.open(database(home), read_only=True) as store:
        index = store.indexes_by_facet(Facet.KIND, b"energy", first=0, end=99, limit=1)[0]
    delete(home, "facets", key + keys.u64(index))


def _sequence(world: World, home: Path) -> None:
    del world
    with Store.open(database(home), read_only=True) as store:
        key, value = next(store.rows("sequence"))
    put(home, "sequence", key, flip(value, 3))


def _contents(world: World, home: Path) -> None:
    del world
    with Store.open(database(home), read_only=True) as store:
        key, _ = next(store.rows("contents"))
    delete(home, "contents", key)


def _tip(world: World, home: Path) -> None:
    del world
    tip = get(home, "meta", keys.META_TIP)
    put(home, "meta", keys.META_TIP, flip(tip, 40))


def _dropped(world: World, home: Path) -> None:
    del world
    put(home, "meta", keys.META_DROPPED, b"\xa1\x66SCHEMA\x05")


def _block_payload(world: World, home: Path) -> None:
    ref = next(
        ref for ref in world.weave.records[4].commit.blocks if world.weave.by_ref[ref].payload
    )
    key = keys.block(*ref)
    data = get(home, "blocks", key)
    put(home, "blocks", key, flip(data, len(data) - 100))


def _block_signature(world: World, home: Path) -> None:
    key = keys.block(*world.weave.records[4].commit.blocks[0])
    data = get(home, "blocks", key)
    put(home, "blocks", key, flip(data, len(data) - 1))


def _uncommitted_block(world: World, home: Path) -> None:
    key = keys.block(*world.weave.blocks[-1].ref)
    put(home, "blocks", key, flip(get(home, "blocks", key), -1))


def _no_block(world: World, home: Path) -> None:
    delete(home, "blocks", keys.block(*world.weave.records[6].commit.leader))


def _another_block(world: World, home: Path) -> None:
    """A good block of the same author in the place of another."""
    one, two = (world.weave.by_ref[ref] for ref in world.weave.records[4].commit.blocks[:2])
    put(home, "blocks", keys.block(*one.ref), encode_block(two))


def _authors(world: World, home: Path) -> None:
    ref = world.weave.blocks[8].ref
    delete(home, "authors", keys.author_block(ref.author, ref.round, ref.digest))


def _record(home: Path, record: CommitRecord) -> None:
    put(home, "commits", keys.u64(record.commit.index), encode_commit_record(record))


def _record_time(world: World, home: Path) -> None:
    record = world.weave.records[5]
    commit = replace(record.commit, time_ms=Millis(record.commit.time_ms + 1))
    _record(home, replace(record, commit=commit))


def _record_without_a_block(world: World, home: Path) -> None:
    """Who leaves a block out of the order must say so to an auditor."""
    record = world.weave.records[5]
    _record(home, replace(record, commit=replace(record.commit, blocks=record.commit.blocks[1:])))


def _record_of_another_leader(world: World, home: Path) -> None:
    record = world.weave.records[5]
    leader = world.weave.records[6].commit.leader
    _record(home, replace(record, commit=replace(record.commit, leader=leader)))


def _record_without_deciders(world: World, home: Path) -> None:
    record = world.weave.records[-1]
    _record(home, replace(record, deciders=record.deciders[:2]))


def _cosignature(world: World, home: Path) -> None:
    del world
    key, row = _lines(home)[-1]
    put(home, "cosignatures", key, flip(row, 60))


def _lines(home: Path) -> list[tuple[bytes, bytes]]:
    """Rows of cosignatures, not of log lines."""
    with Store.open(database(home), read_only=True) as store:
        return [(key, row) for key, row in store.rows("cosignatures") if key[8] == 0]


def _log_line(world: World, home: Path) -> None:
    del world
    with Store.open(database(home), read_only=True) as store:
        key, row = next((k, r) for k, r in store.rows("cosignatures") if k[8] == keys.LOG_LINE >> 8)
    put(home, "cosignatures", key, flip(row, 7))


def _second_line(world: World, home: Path) -> None:
    """Where nobody has an ML-DSA key there is none."""
    del world
    key, row = _lines(home)[-1]
    key = keys.cosignature(int.from_bytes(key[:8], "big"), keys.SECOND_LINE)
    put(home, "cosignatures", key, row)


def _cosignature_of_nobody(world: World, home: Path) -> None:
    del world
    key, row = _lines(home)[-1]
    put(home, "cosignatures", key[:8] + b"\x00\x09", b"\x00\x09" + row[2:])


def _too_few_cosignatures(world: World, home: Path) -> None:
    del world
    for key, _ in _lines(home)[-2:]:
        delete(home, "cosignatures", key)


def _cosign_file(world: World, home: Path) -> None:
    del world
    path = home / "data" / "cosign"
    path.write_bytes(flip(path.read_bytes(), 30))


def _block_file(world: World, home: Path) -> None:
    del world
    path = home / "data" / "block"
    path.write_bytes(flip(path.read_bytes(), 60))


def _genesis_row(world: World, home: Path) -> None:
    put(home, "meta", keys.META_GENESIS, flip(world.weave.founding.document, 100))


def _waiting(world: World, home: Path) -> None:
    entry = world.weave.entries[0]
    put(home, "mempool", bytes(32), bytes(17) + entry)


@pytest.mark.parametrize(
    ("alter", "depth", "says"),
    [
        (_state, Depth.STORE, "state: 1 rows altered"),
        (_more_state, Depth.STORE, "state: 1 rows altered or too many"),
        (_facts, Depth.STORE, "index row of entry"),
        (_facet, Depth.STORE, "not listed under KIND"),
        (_sequence, Depth.STORE, "sequence row of entry"),
        (_contents, Depth.STORE, "content row of entry"),
        (_tip, Depth.STORE, "tip's state_digest"),
        (_dropped, Depth.STORE, "the row dropped"),
        (_block_payload, Depth.ORDER, "altered: payload_root"),
        (_block_signature, Depth.SIGNATURES, "not signed by"),
        (_uncommitted_block, Depth.SIGNATURES, "not signed by its author"),
        (_no_block, Depth.ORDER, "is missing"),
        (_another_block, Depth.ORDER, "altered: its header has the digest"),
        (_authors, Depth.STORE, "rows in their authors' index"),
        (_record_time, Depth.ORDER, "time_ms is recorded as"),
        (_record_without_a_block, Depth.ORDER, "0 added, 1 left out"),
        (_record_of_another_leader, Depth.ORDER, "leader is recorded as"),
        (_record_without_deciders, Depth.ORDER, "do not decide"),
        (_cosignature, Depth.CERTIFICATES, "is not by its cosigner"),
        (_cosignature_of_nobody, Depth.CERTIFICATES, "line of nobody"),
        (_log_line, Depth.CERTIFICATES, "is not by its log key"),
        (_second_line, Depth.CERTIFICATES, "line of nobody"),
        (_too_few_cosignatures, Depth.CERTIFICATES, "make a quorum"),
        (_cosign_file, Depth.STORE, "checksum"),
        (_block_file, Depth.STORE, "checksum"),
        (_genesis_row, Depth.PARSE, "genesis document was altered"),
        (_waiting, Depth.STORE, "waiting entry"),
    ],
)
def test_every_other_row_is_looked_at(
    world: World, home: Path, alter: Alter, depth: Depth, says: str
) -> None:
    alter(world, home)
    report = audit(home)
    found = [f for f in report.findings if f.depth is depth and says in f.what]
    assert found, [str(finding) for finding in report.findings]
    assert not [finding for finding in report.findings if finding.entry is not None]


def test_a_lost_block_is_borrowed_and_the_rest_is_still_checked(world: World, home: Path) -> None:
    _no_block(world, home)
    report = audit(home, against=world.homes["US"])
    assert len(report.findings) == 2  # the block, and its row in the authors' index
    assert report.sources[0].checked[Depth.ORDER].done
    assert report.sources[0].checked[Depth.LAW].done


def test_a_store_put_back_to_an_earlier_day(world: World, tmp_path: Path) -> None:
    """The sign state is newer than the store: somebody restored a copy (R53)."""
    early = asyncio.run(live(world.weave, tmp_path / "CN", "CN", commits=5))
    (early / "data" / "cosign").write_bytes((world.homes["CN"] / "data" / "cosign").read_bytes())
    report = audit(early)
    assert any("the store was put back" in finding.what for finding in report.findings)


# --- files ---------------------------------------------------------------------------------------


def test_a_scratched_table_names_its_file_and_the_entries_lost(home: Path) -> None:
    """R55: an unreadable file is named with the indexes that are lost with it."""
    path = _scratch_log_table(home)
    report = audit(home)
    lost = [f for f in report.findings if f.entry is not None or f.entries is not None]
    assert _lost(report)
    assert {finding.file for finding in lost} == {path.name}
    assert all("checksum mismatch" in finding.what for finding in lost)


def _scratch_log_table(home: Path) -> Path:
    """The table that the log's rows are in: the one whose damage loses an entry."""
    for path in database(home).glob("*.sst"):
        data = path.read_bytes()
        path.write_bytes(flip(data, 30))
        with Store.open(database(home), read_only=True, salvage=True) as store:
            try:
                store.entry(0)
            except StoreDamaged:
                return path
        path.write_bytes(data)
    raise AssertionError("no table holds the log")


def test_every_byte_of_every_table_that_matters(home: Path) -> None:
    """Sampled: flips all over the files that hold rows are found, or change nothing that a read can return (R55)."""
    before = _rows(home)
    for path in sorted(database(home).glob("*.sst")):
        data = path.read_bytes()
        for at in range(0, len(data), max(1, len(data) // 6)):
            path.write_bytes(flip(data, at))
            report = audit_or_none(home)
            if report is None or not report.findings:
                assert _rows(home) == before, (
                    f"{path.name} byte {at} changed a row and was not found"
                )
            path.write_bytes(data)


def audit_or_none(home: Path) -> AuditReport | None:
    try:
        return audit_sources([str(home)])
    except CannotAudit:
        return None


def _rows(home: Path) -> object:
    with Store.open(database(home), read_only=True) as store:
        return {family: list(store.rows(family)) for family in keys.COLUMN_FAMILIES}


def test_a_killed_nodes_write_ahead_log(world: World, tmp_path: Path) -> None:
    """RocksDB refuses a flipped byte in it; the audit says which file, and which entries are lost."""
    home = asyncio.run(live(world.weave, tmp_path / "CN", "CN", killed=True))
    (wal,) = [path for path in database(home).glob("*.log") if path.stat().st_size]
    assert not list(database(home).glob("*.sst")), "all rows are in the write-ahead log"
    assert audit_sources([str(home)]).verdict is Verdict.CONSISTENT
    data = wal.read_bytes()
    wal.write_bytes(flip(data, len(data) // 2))
    report = audit(home, against=world.homes["US"])
    lost = _lost(report)
    assert lost
    with Store.open(database(home), read_only=True, salvage=True) as store:
        for index in range(report.sources[1].size):
            held = store._get("log", keys.u64(index)) is not None
            assert held == (index not in lost), f"entry {index}"
    assert any("RocksDB refuses its files" in finding.what for finding in report.findings)


def test_a_write_ahead_log_that_lost_its_end(world: World, tmp_path: Path) -> None:
    """A torn end is what a power loss leaves, and RocksDB takes it: the sign state and another node tell what is missing."""
    home = asyncio.run(live(world.weave, tmp_path / "CN", "CN", killed=True))
    (wal,) = [path for path in database(home).glob("*.log") if path.stat().st_size]
    wal.write_bytes(wal.read_bytes()[: wal.stat().st_size // 2])
    report = audit(home, against=world.homes["US"])
    assert any("the store was put back" in finding.what for finding in report.findings)


def _lost(report: AuditReport) -> set[int]:
    lost: set[int] = set()
    for finding in report.findings:
        if finding.entry is not None:
            lost.add(finding.entry)
        if finding.entries is not None:
            lost |= set(range(finding.entries[0], finding.entries[1] + 1))
    return lost


def test_a_database_that_cannot_be_opened_at_all(world: World, home: Path) -> None:
    for path in database(home).glob("MANIFEST-*"):
        path.write_bytes(flip(path.read_bytes(), 20))
    report = audit_sources([str(home)], against=[str(world.homes["US"])])
    assert report.verdict is Verdict.INCONSISTENT
    (found,) = report.findings
    assert found.source == "CN"
    assert found.entries == (0, report.sources[0].final_size - 1)
    assert found.file is not None
    assert re.match(r"MANIFEST-\d+", found.file)


def test_no_damaged_store_becomes_an_export(world: World, home: Path, tmp_path: Path) -> None:
    del world
    put(home, "log", keys.u64(9), flip(get(home, "log", keys.u64(9)), 11))
    with pytest.raises(CannotAudit, match="export another node"):
        export_home(home, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_block_altered_in_the_store_is_not_exported(
    world: World, home: Path, tmp_path: Path
) -> None:
    _block_payload(world, home)
    with pytest.raises(CannotAudit, match="payload_root"):
        export_home(home, tmp_path / "out")


def test_blocks_decode(world: World) -> None:
    """The tests above alter what decodes: a weave of garbage would be found by anything."""
    for block in world.weave.blocks:
        assert decode_block(encode_block(block)) == block


def test_a_size_that_is_only_claimed_ends(home: Path) -> None:
    """The tip says 2^60 entries: named as lost, without a look at each."""
    tip = get(home, "meta", keys.META_TIP)
    put(home, "meta", keys.META_TIP, tip[:8] + (1 << 60).to_bytes(8, "big") + tip[16:])
    report = audit(home)
    assert any("was not looked at" in finding.what for finding in report.findings)


def test_a_final_row_that_is_none(home: Path) -> None:
    put(home, "meta", keys.META_FINAL, b"1")
    report = audit(home)
    assert any("the row final" in finding.what for finding in report.findings)


def test_a_genesis_row_that_is_gone(home: Path) -> None:
    delete(home, "meta", keys.META_GENESIS)
    assert any("row genesis is missing" in finding.what for finding in audit(home).findings)


def test_a_final_row_that_is_gone(home: Path) -> None:
    """Found by the tamper campaign: without that row every checkpoint counted as one that is not final yet."""
    delete(home, "meta", keys.META_FINAL)
    report = audit(home)
    assert any("the row final is missing" in finding.what for finding in report.findings)


@pytest.mark.parametrize("name", ["block", "cosign"])
@pytest.mark.parametrize("how", ["gone", "put back"])
def test_a_sign_state_that_is_gone_or_older(
    world: World, home: Path, tmp_path: Path, name: str, how: str
) -> None:
    path = home / "data" / name
    if how == "gone":
        path.unlink()
    else:
        older = asyncio.run(live(world.weave, tmp_path / "older", home.name, commits=6))
        path.write_bytes((older / "data" / name).read_bytes())
    report = audit_sources([str(home)], processes=1)
    (finding,) = report.findings
    assert f"sign state `{name}`" in finding.what
    assert how in finding.what
    assert not finding.accused


def test_a_manifest_that_is_cut_short_is_named(home: Path) -> None:
    """Found by the tamper campaign: RocksDB then misses a family of columns, and names no file."""
    (manifest,) = database(home).glob("MANIFEST-*")
    data = manifest.read_bytes()
    named = 0
    for cut in range(0, len(data) // 2, len(data) // 40):
        manifest.write_bytes(data[:cut])
        report = audit_sources([str(home)], processes=1, depth=Depth.PARSE)
        assert report.findings
        named += any(finding.file == manifest.name for finding in report.findings)
    assert named > 10
