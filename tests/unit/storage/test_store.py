"""The database: what is written together stays together, and what is missing is named."""

import asyncio
import random
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.types import Digest, Ref, Round, ValidatorIndex
from node.log import merkle
from node.storage import keys
from node.storage.epoch_blocks import EpochBlocks
from node.storage.errors import StoreDamaged, StoreLocked, WriteFailed
from node.storage.keys import Facet
from node.storage.rows import CommitWrite, IndexRow, PendingRow, Tip
from node.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "db") as opened:
        yield opened


def ref(round_: int, author: int, variant: int = 0) -> Ref:
    digest = bytes([round_ % 256, author, variant]) + bytes(29)
    return Ref(round=Round(round_), author=ValidatorIndex(author), digest=Digest(digest))


def commit(index: int, first: int, entries: list[bytes]) -> CommitWrite:
    """A commit of these entries behind `first` others that the store already holds."""
    size = first + len(entries)
    run = merkle.HashRun(level=0, first=first, hashes=merkle.leaf_hashes(entries))
    return CommitWrite(
        tip=Tip(
            commit=index,
            log_size=size,
            time_ms=1000 * index,
            state_keys=1,
            state_digest=bytes([index]) * 32,
        ),
        engine_record=b"record %d" % index,
        entries=entries,
        hashes=[run],
        state={(7, b"key"): b"value %d" % index},
        index_rows=[
            IndexRow(
                index=first + offset,
                entry_hash=merkle.leaf_hash(entry),
                facts=b"facts",
                sequence=("US", first + offset),
                content_hash=bytes([first + offset]) * 32,
                facets=((Facet.AUTHOR, b"US"), (Facet.KIND, b"usage")),
            )
            for offset, entry in enumerate(entries)
        ],
        dropped=b"counts",
    )


def test_a_commit_is_read_back_whole(store: Store) -> None:
    assert store.tip() is None
    assert (store.log_size(), store.last_commit_index()) == (0, 0)
    store.write_commit(commit(1, 0, [b"a", b"b"]))
    store.write_commit(commit(2, 2, [b"c"]))
    tip = store.tip()
    assert tip is not None
    assert (tip.commit, tip.log_size, tip.time_ms, tip.state_keys) == (2, 3, 2000, 1)
    assert tip.state_digest == b"\x02" * 32
    assert store.entries(0, 3) == [b"a", b"b", b"c"]
    assert store.entry(1) == b"b"
    assert store.hash(0, 2) == merkle.leaf_hash(b"c")
    assert store.commit_record(1) == b"record 1"
    assert store.commit_record(3) is None
    assert store.state_value(7, b"key") == b"value 2"
    assert store.state_bucket(7) == [(b"key", b"value 2")]
    assert list(store.state_items()) == [(7, b"key", b"value 2")]
    assert store.facts(merkle.leaf_hash(b"c")) == (2, b"facts")
    assert store.hash_at_seq("US", 2) == merkle.leaf_hash(b"c")
    assert store.hash_at_seq("US", 3) is None
    assert store.hash_by_content(b"\x01" * 32) == merkle.leaf_hash(b"b")
    assert store.indexes_by_facet(Facet.AUTHOR, b"US", first=1, end=3, limit=9) == [1, 2]
    assert store.indexes_by_facet(Facet.AUTHOR, b"US", first=0, end=3, limit=1) == [0]
    assert store.indexes_by_facet(Facet.AUTHOR, b"U", first=0, end=3, limit=9) == []
    assert store.has_facet(Facet.KIND, b"usage", 2)
    assert not store.has_facet(Facet.KIND, b"usage", 3)
    assert store.meta(keys.META_DROPPED) == b"counts"


def test_what_is_missing_is_named(store: Store) -> None:
    store.write_commit(commit(1, 0, [b"a"]))
    with pytest.raises(StoreDamaged, match="entry 1 is missing"):
        store.entries(0, 2)
    with pytest.raises(StoreDamaged, match="entry 5 is missing"):
        store.entry(5)
    with pytest.raises(StoreDamaged, match="level 3, index 4"):
        store.hashes([(0, 0), (3, 4)])


def test_blocks_come_in_order_and_within_the_byte_limit(store: Store) -> None:
    assert store.newest_block_of(1) is None
    blocks = [
        (ref(round_, author, variant), b"%d/%d/%d" % (round_, author, variant))
        for round_ in (300, 2, 1)
        for author in (1, 0)
        for variant in (1, 0)
    ]
    store.put_blocks(blocks)
    everything = store.blocks_in_rounds(0, 2**32 - 1, 10**6)
    assert everything == sorted(blocks)
    assert store.blocks_in_rounds(2, 2, 10**6) == [
        pair for pair in everything if pair[0].round == 2
    ]
    assert store.blocks_in_rounds(1, 300, 10) == everything[:2]
    assert store.blocks_in_rounds(1, 300, 0) == everything[:1]
    assert store.blocks_in_rounds(3, 299, 10**6) == []
    assert store.block(ref(2, 1, 1)) == b"2/1/1"
    assert store.block(ref(2, 1, 2)) is None
    newest = store.newest_block_of(1)
    assert newest == (ref(300, 1, 1), b"300/1/1")
    assert store.newest_block_of(0) == (ref(300, 0, 1), b"300/0/1")
    assert store.newest_block_of(2) is None


def test_blocks_of_two_epochs_do_not_meet(store: Store) -> None:
    """The same rounds and authors in each epoch; a scan, a name and an author's newest are of one epoch alone."""
    for epoch in (0, 1, 256):
        store.put_blocks(
            [(ref(r, a, 0), b"%d:%d/%d" % (epoch, r, a)) for r in (1, 9) for a in (0, 1)], epoch
        )
    store.put_blocks([(ref(77, 1, 0), b"0:77/1")])
    for epoch in (0, 1, 256):
        held = EpochBlocks(store, epoch)
        found = held.blocks_in_rounds(0, 2**32 - 1, 10**6)
        assert {data.partition(b":")[0] for _, data in found} == {b"%d" % epoch}
        assert [name for name, _ in found] == sorted(name for name, _ in found)
        assert held.block(ref(9, 1, 0)) == b"%d:9/1" % epoch
        assert held.newest_block_of(0) == (ref(9, 0, 0), b"%d:9/0" % epoch)
    assert EpochBlocks(store, 1).block(ref(77, 1, 0)) is None
    assert EpochBlocks(store, 1).newest_block_of(1) == (ref(9, 1, 0), b"1:9/1")
    assert EpochBlocks(store, 2).newest_block_of(1) is None
    assert EpochBlocks(store, 2).blocks_in_rounds(0, 2**32 - 1, 10**6) == []


def test_commits_of_one_epoch_are_all_that_its_reader_shows(store: Store) -> None:
    for index in range(6):
        store.write_commit(commit(index, index + 1, [b"%d" % index]))
    past = EpochBlocks(store, 1, after_commit=2, last_commit=4)
    assert [index for index in range(8) if past.commit_record(index) is not None] == [3, 4]
    assert past.last_commit_index() == 4
    present = EpochBlocks(store, 2, after_commit=4)
    assert present.last_commit_index() == 5
    assert present.commit_record(4) is None
    assert EpochBlocks(store, 3, after_commit=5).last_commit_index() == 5


def test_mempool_rows_come_back_in_order_of_arrival(store: Store) -> None:
    rows = [
        PendingRow(
            entry_hash=bytes([9 - arrival]) * 32,
            arrival=arrival,
            inclusion_by_ms=arrival * 10,
            held=arrival == 2,
            entry=b"entry %d" % arrival,
        )
        for arrival in (3, 1, 2)
    ]
    store.put_pending(rows)
    assert [row.arrival for row in store.all_pending()] == [1, 2, 3]
    assert store.all_pending()[1] == rows[2]
    assert store.pending_entry(rows[0].entry_hash) == b"entry 3"
    store.delete_pending([rows[0].entry_hash, bytes(32)])
    assert [row.arrival for row in store.all_pending()] == [1, 2]


def test_cosignatures_are_kept_by_size(store: Store) -> None:
    store.put_cosignatures([(300, 1, b"x"), (300, 0, b"y"), (5, 2, b"z"), (301, 0, b"w")])
    assert store.cosignatures(300) == [(0, b"y"), (1, b"x")]
    assert store.cosigned_sizes(0, 1000, 10) == [5, 300, 301]
    assert store.cosigned_sizes(6, 301, 10) == [300]
    assert store.cosigned_sizes(0, 1000, 1) == [5]
    store.delete_cosignatures([(300, 0), (300, 1)])
    assert store.cosignatures(300) == []


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    with Store.open(tmp_path / "db"), pytest.raises(StoreLocked):
        Store.open(tmp_path / "db")
    Store.open(tmp_path / "db").close()


def test_a_damaged_file_is_no_lock_and_the_rest_is_salvaged(tmp_path: Path) -> None:
    """ "block checksum mismatch" has a lock in it too; and one bad file must not hide the others from an auditor."""
    with Store.open(tmp_path / "db") as store:
        store.put_meta(b"here", b"still")
        store.put_cosignatures([(size, 0, bytes(200)) for size in range(500)])
    for path in (tmp_path / "db").glob("*.sst"):
        data = bytearray(path.read_bytes())
        if b"cosignatures" in data:
            data[-60] ^= 1  # in the blocks that say where the rest is
            path.write_bytes(data)
    with pytest.raises(StoreDamaged, match="mismatch"):
        Store.open(tmp_path / "db", read_only=True)
    with Store.open(tmp_path / "db", read_only=True, salvage=True) as store:
        assert store.meta(b"here") == b"still"
        with pytest.raises(StoreDamaged, match=r"\.sst"):
            store.cosignatures(300)


def test_reading_alone_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with pytest.raises(StoreDamaged, match="no database"):
        Store.open(path, read_only=True)
    with Store.open(path) as store:
        store.write_commit(commit(1, 0, [b"a"]))
        store.sync()
    before = {
        file.name: file.read_bytes() for file in path.iterdir() if file.suffix in {".log", ".sst"}
    }
    with Store.open(path, read_only=True) as store:
        assert store.entry(0) == b"a"
    assert before == {
        file.name: file.read_bytes() for file in path.iterdir() if file.suffix in {".log", ".sst"}
    }


def test_a_commit_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """The write-ahead log cut at every length, as a power loss would: always a prefix of whole commits."""
    path = tmp_path / "db"
    with Store.open(path) as store:
        for number in range(6):
            store.write_commit(commit(number + 1, 2 * number, [b"x%d" % number, b"y%d" % number]))
        store.sync()
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
    log = max(copy.glob("*.log"), key=lambda file: file.stat().st_size)
    data = log.read_bytes()
    seen = set()
    for length in range(len(data), 0, -101):
        torn = tmp_path / f"torn{length}"
        shutil.copytree(copy, torn)
        (torn / log.name).write_bytes(data[:length])
        with Store.open(torn) as store:
            size = store.log_size()
            seen.add(size)
            assert size % 2 == 0, "half a commit"
            assert store.last_commit_index() == size // 2
            assert store.entries(0, size) == [
                b"%c%d" % (b"xy"[part], number) for number in range(size // 2) for part in (0, 1)
            ]
            assert store.facts(merkle.leaf_hash(b"x5")) == ((6, b"facts") if size == 12 else None)
        shutil.rmtree(torn)
    assert {0, 2, 10, 12} <= seen


def test_a_flipped_byte_in_the_write_ahead_log_is_not_taken_for_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with Store.open(path) as store:
        for number in range(50):
            store.write_commit(commit(number + 1, number, [b"entry" * 20]))
        store.sync()
        copy = tmp_path / "copy"
        shutil.copytree(path, copy)
    log = max(copy.glob("*.log"), key=lambda file: file.stat().st_size)
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    with pytest.raises(StoreDamaged, match="foedus repair"):
        Store.open(copy)


def test_a_flipped_byte_in_a_table_is_found_when_read(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with Store.open(path) as store:
        draw = random.Random(54)
        entries = [
            draw.randbytes(500) for _ in range(200)
        ]  # incompressible, so that they are found
        store.write_commit(commit(1, 0, entries))
        store.flush_tables()
    for table in path.glob("*.sst"):
        data = bytearray(table.read_bytes())
        if entries[100][:50] in data:
            data[data.index(entries[100][:50]) + 3] ^= 1
            table.write_bytes(data)
            break
    else:
        pytest.fail("entry 100 is in no table file")
    with Store.open(path) as store, pytest.raises(StoreDamaged, match="cannot be read"):
        store.entries(0, 200)


def test_closing_on_a_disk_that_takes_no_more_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "db")
    content = random.Random(1)
    store.put_blocks([(ref(number, 0), content.randbytes(4096)) for number in range(100)])
    store.sync()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))  # a table of 400 KiB does not fit
    try:
        with pytest.raises(WriteFailed, match="closing: IO error"):
            store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with Store.open(tmp_path / "db") as again:
        assert again.block(ref(99, 0)) is not None


async def test_many_waiters_share_a_flush(store: Store) -> None:
    async def one(number: int) -> None:
        store.put_meta(b"name %d" % number, b"value")
        await store.durable()

    await asyncio.gather(*(one(number) for number in range(200)))
    assert store.flushes <= 3, "waiters that came together must share"
    assert store.meta(b"name 199") == b"value"


async def test_durable_means_written_before_the_call(tmp_path: Path) -> None:
    with Store.open(tmp_path / "db") as store:
        for number in range(20):
            store.put_meta(b"%d" % number, b"v")
            await store.durable()
        shutil.copytree(tmp_path / "db", tmp_path / "copy")
    with Store.open(tmp_path / "copy") as copy:
        assert all(copy.meta(b"%d" % number) == b"v" for number in range(20))
