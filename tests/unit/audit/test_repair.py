"""A damaged store is made whole: from its own rows, from an archive, from another node; never from a lie."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import rocksdict

from consensus.codec import decode_commit_record, encode_commit_record
from node.audit.audit import audit_sources
from node.audit.findings import Verdict
from node.audit.repair import CannotRepair, Repaired, repair_home, sources_of
from node.ledger.cosigned import encode_cosigned, parse_cosigned
from node.storage import keys
from node.storage.store import Store
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone, database, flip

Rows = dict[str, dict[bytes, bytes]]
Damage = Callable[[Store, rocksdict.WriteBatch], None]

MARKS = {keys.META_REBUILD, keys.META_RESTORED}


def rows_of(home: Path) -> Rows:
    with Store.open(database(home), read_only=True) as store:
        rows = {family: dict(store.rows(family)) for family in keys.COLUMN_FAMILIES}
    for name in MARKS:
        rows["meta"].pop(name, None)
    return rows


def bare(rows: Rows) -> Rows:
    """Without the proofs of how commits were decided: of several quorums of blocks each is one, and no digest covers which."""
    commits = {
        key: encode_commit_record(replace(decode_commit_record(value), deciders=()))
        for key, value in rows["commits"].items()
        if value
    }
    return {**rows, "commits": commits}


def sign_state(home: Path) -> dict[str, bytes]:
    return {name: (home / "data" / name).read_bytes() for name in ("block", "cosign")}


def damage(home: Path, do: Damage) -> None:
    with Store.open(database(home)) as store:
        batch = rocksdict.WriteBatch(raw_mode=True)
        do(store, batch)
        store._write(batch)


def put(family: str, key: bytes, change: Callable[[bytes], bytes | None]) -> Damage:
    """One row changed; None deletes it."""

    def do(store: Store, batch: rocksdict.WriteBatch) -> None:
        held = store.row(family, key)
        assert held is not None, f"no {family} row {key.hex()}"
        value = change(held)
        if value is None:
            batch.delete(key, store._handles[family])
        else:
            batch.put(key, value, store._handles[family])

    return do


def gone(_: bytes) -> None:
    return None


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda value: flip(value, at % len(value), 3)


def block_key(world: World, commit: int, which: int = 0) -> bytes:
    ref = world.weave.records[commit - 1].commit.blocks[which]
    return keys.block(ref.round, ref.author, ref.digest)


def other_time(value: bytes) -> bytes:
    """A commit record that says another ledger time."""
    record = decode_commit_record(value)
    text = record.commit.time_ms.to_bytes(8, "big")
    changed = value.replace(text, (record.commit.time_ms + 1).to_bytes(8, "big"), 1)
    assert encode_commit_record(decode_commit_record(changed)) == changed != value
    return changed


OWN_ROWS = {
    "an entry altered": (put("log", keys.u64(9), flipped(40)), "entry 9: altered"),
    "an entry gone": (put("log", keys.u64(11), gone), "entry 11: missing"),
    "a leaf hash": (
        put("hashes", keys.node_hash(0, 5), flipped(0)),
        "tree hash of level 0, index 5: altered",
    ),
    "a tree hash": (
        put("hashes", keys.node_hash(2, 1), gone),
        "tree hash of level 2, index 1: missing",
    ),
    "a record gone": (put("commits", keys.u64(6), gone), "commit record 6: missing"),
    "a record's time": (put("commits", keys.u64(4), other_time), "commit record 4: altered"),
    "a record's deciders": (
        put("commits", keys.u64(5), flipped(-40)),
        "commit record 5: altered",
    ),
    "the tip put back": (put("meta", keys.META_TIP, flipped(7)), "row tip: altered"),
    "the tip gone": (put("meta", keys.META_TIP, gone), "row tip: missing"),
    "the final size": (put("meta", keys.META_FINAL, flipped(7)), "row final: altered"),
}


@pytest.mark.parametrize("name", OWN_ROWS)
def test_what_the_own_blocks_give_needs_nobody(world: World, tmp_path: Path, name: str) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    whole, signed = rows_of(home), sign_state(home)
    do, expected = OWN_ROWS[name]
    damage(home, do)
    made = repair_home(home, threads=0)
    assert expected in [str(row) for row in made.damage.rows]
    assert made.replaced
    assert not made.is_sound
    assert made.cut is None
    assert bare(rows_of(home)) == bare(whole)
    assert sign_state(home) == signed
    assert made.set_aside is not None
    assert made.set_aside.is_dir()
    assert repair_home(home, threads=0).is_sound, "a repaired store is sound"


def every_row(family: str) -> Damage:
    def do(store: Store, batch: rocksdict.WriteBatch) -> None:
        for key, _ in store.rows(family):
            batch.delete(key, store._handles[family])

    return do


@pytest.mark.parametrize("family", ["log", "hashes", "commits", "state", "index", "facets"])
def test_a_whole_kind_of_rows_is_made_again(world: World, tmp_path: Path, family: str) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    whole = rows_of(home)
    damage(home, every_row(family))
    made = repair_home(home, threads=0)
    assert made.damage.counts[family] == len(whole[family])
    assert bare(rows_of(home)) == bare(whole)
    assert audit_sources([str(home)], processes=1).verdict is Verdict.CONSISTENT


def take(made: Repaired) -> Repaired:
    assert made.replaced, made
    assert made.cut is None, made
    return made


@pytest.mark.parametrize("other", ["archive", "home"])
def test_lost_blocks_come_from_another_copy(world: World, tmp_path: Path, other: str) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    whole = rows_of(home)

    def do(store: Store, batch: rocksdict.WriteBatch) -> None:
        put("blocks", block_key(world, 3), gone)(store, batch)
        put("blocks", block_key(world, 8), flipped(-1))(store, batch)  # the signature
        put("blocks", block_key(world, 9), flipped(60))(store, batch)  # the header

    damage(home, do)
    source = world.exports["US"] if other == "archive" else world.homes["US"]
    made = take(repair_home(home, sources_of([str(source)]), threads=0))
    assert made.damage.counts["blocks"] == 3
    assert rows_of(home) == whole


def test_a_file_that_cannot_be_read_is_named_and_its_rows_come_back(
    world: World, tmp_path: Path
) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    with Store.open(database(home)) as store:
        store.flush_tables()
    whole = rows_of(home)
    (table, *_) = sorted(database(home).glob("*.sst"), key=lambda path: -path.stat().st_size)
    data = table.read_bytes()
    table.write_bytes(flip(data, len(data) // 3, 2))
    made = take(repair_home(home, sources_of([str(world.exports["US"])]), threads=0))
    named = {row.file for row in made.damage.rows} | {made.opening_error}
    assert any(table.name in str(name) for name in named)
    held = rows_of(home)
    for family in ("log", "hashes", "state", "index", "sequence", "contents", "facets"):
        assert held[family] == whole[family]
    assert bare(held)["commits"] == bare(whole)["commits"]
    committed = {
        keys.block(ref.round, ref.author, ref.digest)
        for record in world.weave.records
        for ref in record.commit.blocks
    }
    assert committed <= set(held["blocks"])
    assert held["blocks"].items() <= whole["blocks"].items()


def test_a_store_without_its_manifest_is_made_from_an_archive(world: World, tmp_path: Path) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    (database(home) / "CURRENT").write_bytes(b"MANIFEST-999999\n")
    with pytest.raises(CannotRepair, match="name an archive"):
        repair_home(home, threads=0)
    assert database(home).is_dir(), "nothing was touched"
    made = take(repair_home(home, sources_of([str(world.exports["CN"])]), threads=0))
    assert made.size == world.exported["CN"].size
    assert made.final_size == made.size
    assert len(made.cosigned_by) == 5


def test_what_nobody_has_is_cut_and_the_cosigner_waits(world: World, tmp_path: Path) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    whole, signed = rows_of(home), sign_state(home)
    damage(home, put("blocks", block_key(world, 7), gone))
    made = repair_home(home, threads=0)
    assert made.replaced
    assert made.commits < 8
    assert made.cut is not None
    assert "no copy holds the blocks" in made.cut
    held = rows_of(home)
    assert held["log"] == {key: whole["log"][key] for key in sorted(whole["log"])[: made.size]}
    assert set(held["blocks"]) == set(whole["blocks"]) - {block_key(world, 7)}
    with Store.open(database(home), read_only=True) as store:
        rebuild = store.meta(keys.META_REBUILD)
    assert rebuild is not None
    assert int.from_bytes(rebuild, "big") == made_size(whole)
    assert sign_state(home) == signed


def made_size(rows: Rows) -> int:
    return len(rows["log"])


def test_nothing_forged_is_taken(world: World, tmp_path: Path) -> None:
    """A copy that has another entry in a block, signs it itself, or claims another order: withheld at worst, never believed."""
    home = clone(world.homes["CN"], tmp_path / "CN")
    liar = clone(world.homes["US"], tmp_path / "liar")
    lost = block_key(world, 7)
    damage(home, put("blocks", lost, gone))
    damage(liar, put("blocks", lost, flipped(-70)))  # another payload, under the same name
    made = repair_home(home, sources_of([str(liar)]), threads=0)
    assert made.cut is not None
    assert made.commits < 8
    with Store.open(database(home), read_only=True) as store:
        assert store.row("blocks", lost) is None


def test_a_forged_line_is_no_certificate(world: World, tmp_path: Path) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    size = len(rows_of(home)["log"])

    def do(store: Store, batch: rocksdict.WriteBatch) -> None:
        for member, row in store.cosignatures(size):
            line = parse_cosigned(row)
            forged = flip(encode_cosigned(line), 80, 1)
            batch.put(keys.cosignature(size, member), forged, store._handles["cosignatures"])

    damage(home, do)
    made = repair_home(home, threads=0)
    assert made.final_size < size
    with Store.open(database(home), read_only=True) as store:
        assert store.cosignatures(size) == []


def test_a_sound_store_stays_where_it_is(world: World, tmp_path: Path) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    made = repair_home(home, threads=0)
    assert made.is_sound
    assert not made.replaced
    assert made.set_aside is None
    assert not list((home / "data").glob("rocksdb.*"))


def test_looking_alone_changes_nothing(world: World, tmp_path: Path) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    damage(home, put("log", keys.u64(9), gone))
    before = rows_of(home)
    made = repair_home(home, check_only=True, threads=0)
    assert not made.is_sound
    assert not made.replaced
    assert rows_of(home) == before


def test_a_repair_cut_short_between_its_renames_is_finished(world: World, tmp_path: Path) -> None:
    home = clone(world.homes["CN"], tmp_path / "CN")
    whole = rows_of(home)
    store = database(home)
    store.rename(store.with_name("rocksdb.repaired"))
    assert repair_home(home, threads=0).is_sound
    assert rows_of(home) == whole
