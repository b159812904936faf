"""The node's database: blocks, log, state, indexes, mempool and cosignatures in one RocksDB.

What its callers may rely on:

- One `write_commit` is one atomic batch: after a crash all of it is there or nothing (DESIGN 3.5).
- No write is durable before `durable()` (from the event loop) or `sync()` (from a thread) returned; nothing may leave the
  process before that. Reads see writes at once.
- A read that misses what must be there raises StoreDamaged naming it. The end of a scan proves nothing (RULINGS R54),
  so entries, hashes and state are read by key or counted.

The write-ahead log is read in mode `tolerate_corrupted_tail_records` (R53): a torn tail is the crash that we expect, a flipped
byte is not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import rocksdict

from consensus.types import Digest, Ref, Round, ValidatorIndex
from node.storage import keys
from node.storage.errors import StoreDamaged, StoreLocked, WriteFailed
from node.storage.group_sync import GroupSync
from node.storage.keys import Facet
from node.storage.options import BLOCK_CACHE_BYTES, rocks_options
from node.storage.rows import CommitWrite, IndexRow, PendingRow, Tip

SCAN_COUNT_MAX: Final = 10_000


def _rocks_batch() -> Any:
    return rocksdict.WriteBatch(raw_mode=True)


class Store:
    """One open database. Methods are synchronous and take microseconds; `sync` takes one disk flush."""

    def __init__(
        self,
        path: Path,
        database: Any,
        *,
        read_only: bool,
        new_batch: Callable[[], Any] = _rocks_batch,
    ) -> None:
        """Over an open database: rocksdict's, or one that behaves like it. `open` and `over` check what it holds."""
        self.path = path
        self.read_only = read_only
        self._database = database
        self._new_batch = new_batch
        self._families = {name: database.get_column_family(name) for name in keys.COLUMN_FAMILIES}
        self._handles = {
            name: database.get_column_family_handle(name) for name in keys.COLUMN_FAMILIES
        }
        self._group = GroupSync(self.sync)

    # Opening and closing

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False, salvage: bool = False) -> Self:
        """Open or create the database in folder `path`; `read_only` never changes a byte of it.

        `salvage`, for the auditor of a damaged store and read-only: what can be read counts, the rest is missing.

        Raises:
            StoreLocked: another process has it open.
            StoreDamaged: RocksDB refuses its files, or they have another format.
        """
        assert read_only or not salvage, "a store is salvaged by reading it"
        if not read_only:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        elif not (path / "CURRENT").is_file():
            raise StoreDamaged(f"{path}: no database here (no file CURRENT)")
        access = (
            rocksdict.AccessType.read_only(error_if_log_file_exist=False)
            if read_only
            else rocksdict.AccessType.read_write()
        )
        cache = rocksdict.Cache(BLOCK_CACHE_BYTES)
        families = {name: rocks_options(cache, salvage=salvage) for name in keys.COLUMN_FAMILIES}
        options = rocks_options(cache, salvage=salvage)
        try:
            database = rocksdict.Rdict(
                str(path), options, column_families=families, access_type=access
            )
        except Exception as err:  # rocksdict raises bare Exception for every status
            if "/LOCK: " in str(
                err
            ):  # the file; "lock" alone is in every "block checksum mismatch"
                raise StoreLocked(f"{path}: in use by another process: {err}") from err
            raise StoreDamaged(
                f"{path}: {err}. Run `foedus audit` on this home; then `foedus repair` makes it whole"
            ) from err
        return cls(path, database, read_only=read_only)._checked(salvage=salvage)

    @classmethod
    def over(cls, path: Path, database: Any, new_batch: Callable[[], Any]) -> Self:
        """Over an open database of another make, with what makes its batches. Raises StoreDamaged as `open` does."""
        return cls(path, database, read_only=False, new_batch=new_batch)._checked(salvage=False)

    def _checked(self, *, salvage: bool) -> Self:
        """Mark a new database, or find the mark of this format; else close it. Raises StoreDamaged."""
        held = self.meta(keys.META_FORMAT)
        if held is None and not self.read_only:
            self.put_meta(keys.META_FORMAT, keys.STORE_FORMAT)
        elif held != keys.STORE_FORMAT and not (salvage and held is None):
            self.close()
            raise StoreDamaged(
                f"{self.path}: store format {held!r}, this program reads {keys.STORE_FORMAT!r}"
            )
        return self

    def close(self) -> None:
        """Flush the write-ahead log and close. The database keeps its lock while a family object lives.

        Closing may still write tables. Raises WriteFailed, and StoreDamaged if it met one that cannot be read.
        """
        if self._database is None:
            return
        self._group.close()
        if not self.read_only:
            self.sync()
        self._families.clear()
        self._handles.clear()
        database, self._database = self._database, None
        try:
            database.close()
        except Exception as err:  # rocksdict raises bare Exception for every status
            if "Corruption" in str(err):
                raise StoreDamaged(
                    f"{self.path}: closing: {err}. Run `foedus audit` on this home; then `foedus repair` makes it whole"
                ) from err
            raise WriteFailed(
                f"{self.path}: closing: {err}. What was promised is in the write-ahead log: mend the disk, start again"
            ) from err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Durability

    def sync(self) -> None:
        """Flush the write-ahead log to the disk (fsync); blocks. Raises WriteFailed."""
        try:
            self._database.flush_wal(sync=True)
        except Exception as err:  # as above
            raise WriteFailed(f"{self.path}: flushing the write-ahead log failed: {err}") from err

    def flush_tables(self) -> None:
        """Write the memtables out as table files; for compact archives and tests. Raises WriteFailed."""
        try:
            for family in self._families.values():
                family.flush()
        except Exception as err:  # as above
            raise WriteFailed(f"{self.path}: writing tables failed: {err}") from err

    async def durable(self, then: Callable[[], None] | None = None) -> None:
        """After this, everything written before the call survives a power loss. Shares flushes. Raises WriteFailed.

        `then` runs in the flush's thread after it, and is done too: one hand-over instead of two.
        """
        await self._group.durable(then)

    @property
    def flushes(self) -> int:
        """Shared flushes so far (for metrics)."""
        return self._group.flushes

    # Blocks of the DAG

    def put_blocks(self, blocks: Sequence[tuple[Ref, bytes]], epoch: int = 0) -> None:
        """Blocks of one epoch; so below, the epoch of a block is part of its name."""
        batch = self._new_batch()
        to_blocks, to_authors = map(self._handles.__getitem__, keys.block_families(epoch))
        for ref, data in blocks:
            batch.put(keys.block(ref.round, ref.author, ref.digest, epoch), data, to_blocks)
            batch.put(keys.author_block(ref.author, ref.round, ref.digest, epoch), b"", to_authors)
        self._write(batch)

    def block(self, ref: Ref, epoch: int = 0) -> bytes | None:
        family, _ = keys.block_families(epoch)
        return self._get(family, keys.block(ref.round, ref.author, ref.digest, epoch))

    def blocks_in_rounds(
        self, first: int, last: int, limit_bytes: int, epoch: int = 0
    ) -> list[tuple[Ref, bytes]]:
        """Blocks of rounds first..last, ascending by (round, author, digest), until `limit_bytes` is reached.

        At least one block is returned if there is any, so a requester always gets further. A scan that meets a damaged
        file ends early here, without harm: blocks are checked by digest and asked for again elsewhere.
        """
        found: list[tuple[Ref, bytes]] = []
        size = 0
        family, _ = keys.block_families(epoch)
        start = keys.block(first, 0, b"", epoch)
        for key, value in self._scan(family, start, keys.block(last, 0xFFFF, b"\xff" * 33, epoch)):
            if found and size + len(value) > limit_bytes:
                break
            found.append((_ref(key[len(keys.epoch_prefix(epoch)) :]), value))
            size += len(value)
        return found

    def newest_block_of(self, author: int, epoch: int = 0) -> tuple[Ref, bytes] | None:
        """The author's stored block of the highest round (highest digest among equivocations)."""
        _, family = keys.block_families(epoch)
        cursor = self._families[family].iter()
        cursor.seek_for_prev(keys.author_block(author, 0xFFFF_FFFF, b"\xff" * 33, epoch))
        prefix = keys.epoch_prefix(epoch) + author.to_bytes(2, "big")
        if not cursor.valid() or not cursor.key().startswith(prefix):
            return None
        key = cursor.key()[len(prefix) :]
        ref = Ref(
            round=Round(int.from_bytes(key[:4], "big")),
            author=ValidatorIndex(author),
            digest=Digest(key[4:]),
        )
        data = self.block(ref, epoch)
        if data is None:
            raise StoreDamaged(f"{self.path}: block {ref} is indexed but not stored")
        return ref, data

    # Commits, log, state

    def write_commit(self, commit: CommitWrite) -> None:
        """Write one commit atomically. Not durable before `durable()`. Raises WriteFailed."""
        batch = self._new_batch()
        put = batch.put
        tip = commit.tip
        put(keys.u64(tip.commit), commit.engine_record, self._handles["commits"])
        to_log, to_hashes = self._handles["log"], self._handles["hashes"]
        first = tip.log_size - len(commit.entries)
        for index, entry in enumerate(commit.entries, start=first):
            put(keys.u64(index), entry, to_log)
        for run in commit.hashes:
            for index, digest in enumerate(run.hashes, start=run.first):
                put(keys.node_hash(run.level, index), digest, to_hashes)
        to_state = self._handles["state"]
        for (bucket, key), value in commit.state.items():
            if value is None:
                batch.delete(keys.state(bucket, key), to_state)
            else:
                put(keys.state(bucket, key), value, to_state)
        for row in commit.index_rows:
            self._put_index(put, row, tip.commit)
        to_meta = self._handles["meta"]
        put(keys.META_DROPPED, commit.dropped, to_meta)
        put(
            keys.META_TIP,
            keys.pack_tip(tip.commit, tip.log_size, tip.time_ms, tip.state_keys, tip.state_digest),
            to_meta,
        )
        self._write(batch)

    def _put_index(self, put: Any, row: IndexRow, commit: int) -> None:
        if row.entry_hash is not None:
            put(row.entry_hash, keys.u64(commit) + row.facts, self._handles["index"])
            if row.sequence is not None:
                put(keys.sequence(*row.sequence), row.entry_hash, self._handles["sequence"])
            if row.content_hash is not None:
                put(row.content_hash, row.entry_hash, self._handles["contents"])
        suffix = keys.u64(row.index)
        to_facets = self._handles["facets"]
        for facet, value in row.facets:
            put(keys.facet_prefix(facet, value) + suffix, b"", to_facets)

    def put_index(self, rows: Sequence[IndexRow]) -> None:
        """Index rows alone, for a replay's scratch store that knows no commits. Raises WriteFailed."""
        batch = rocksdict.WriteBatch(raw_mode=True)
        for row in rows:
            self._put_index(batch.put, row, 0)
        self._write(batch)

    def tip(self) -> Tip | None:
        """None before genesis was written. Raises StoreDamaged."""
        value = self.meta(keys.META_TIP)
        if value is None:
            return None
        if len(value) != keys.TIP_BYTES:
            raise StoreDamaged(
                f"{self.path}: the tip has {len(value)} bytes, expected {keys.TIP_BYTES}"
            )
        commit, size, time_ms, state_keys = (
            int.from_bytes(value[at : at + 8], "big") for at in (0, 8, 16, 24)
        )
        return Tip(
            commit=commit,
            log_size=size,
            time_ms=time_ms,
            state_keys=state_keys,
            state_digest=value[32:],
        )

    def commit_record(self, index: int) -> bytes | None:
        """The engine's own record of commit `index`, or None if it is above the last one."""
        return self._get("commits", keys.u64(index))

    def last_commit_index(self) -> int:
        """0 before the first commit: genesis is commit 0."""
        tip = self.tip()
        return 0 if tip is None else tip.commit

    def log_size(self) -> int:
        tip = self.tip()
        return 0 if tip is None else tip.log_size

    def entry(self, index: int) -> bytes:
        """Leaf bytes. Raises StoreDamaged if the entry is missing or unreadable."""
        data = self._get("log", keys.u64(index))
        if data is None:
            raise StoreDamaged(f"{self.path}: entry {index} is missing")
        return data

    def entries(self, first: int, count: int) -> list[bytes]:
        """Leaf bytes of `first` .. `first + count - 1`, each read by key. Raises StoreDamaged."""
        found = self._get_many("log", [keys.u64(first + offset) for offset in range(count)])
        for offset, data in enumerate(found):
            if data is None:
                raise StoreDamaged(f"{self.path}: entry {first + offset} is missing")
        return found

    def hash(self, level: int, index: int) -> bytes:
        """Node hash covering leaves [index << level, (index + 1) << level). Raises StoreDamaged."""
        digest = self._get("hashes", keys.node_hash(level, index))
        if digest is None or len(digest) != 32:
            raise StoreDamaged(f"{self.path}: tree hash at level {level}, index {index} is missing")
        return digest

    def hashes(self, nodes: Sequence[tuple[int, int]]) -> list[bytes]:
        """Many node hashes by (level, index). Raises StoreDamaged if one is missing or not 32 bytes."""
        found = self._get_many("hashes", [keys.node_hash(level, index) for level, index in nodes])
        for node, digest in zip(nodes, found, strict=True):
            if digest is None or len(digest) != 32:
                raise StoreDamaged(
                    f"{self.path}: tree hash at level {node[0]}, index {node[1]} is missing"
                )
        return found

    def state_bucket(self, bucket: int) -> list[tuple[bytes, bytes]]:
        """(key, value) of one bucket, ascending by key. The caller checks the bucket's hash."""
        start = bucket.to_bytes(2, "big")
        stop = (bucket + 1).to_bytes(3, "big")[1:] if bucket < 0xFFFF else None
        return [(key[2:], value) for key, value in self._scan("state", start, stop)]

    def state_items(self) -> Iterator[tuple[int, bytes, bytes]]:
        """(bucket, key, value) of the whole state map, by bucket and key; the caller counts them (R54)."""
        for key, value in self._scan("state", b"", None):
            yield int.from_bytes(key[:2], "big"), key[2:], value

    def state_value(self, bucket: int, key: bytes) -> bytes | None:
        return self._get("state", keys.state(bucket, key))

    # Indexes

    def facts(self, entry_hash: bytes) -> tuple[int, bytes] | None:
        """(commit index, facts as written) of the entry with this SHA-256, or None."""
        value = self._get("index", entry_hash)
        if value is None:
            return None
        if len(value) < 8:
            raise StoreDamaged(
                f"{self.path}: the index row of {entry_hash.hex()} has {len(value)} bytes"
            )
        return int.from_bytes(value[:8], "big"), value[8:]

    def hash_at_seq(self, author: str, seq: int) -> bytes | None:
        """SHA-256 of the first logged entry that used this author's seq, or None."""
        return self._get("sequence", keys.sequence(author, seq))

    def hash_by_content(self, content_hash: bytes) -> bytes | None:
        """SHA-256 of the accepted entry with this content, or None."""
        return self._get("contents", content_hash)

    def indexes_by_facet(
        self, facet: Facet, value: bytes, *, first: int, end: int, limit: int
    ) -> list[int]:
        """Ascending entry indexes in [first, end) that carry the facet value; at most `limit`.

        A convenience for listing: a damaged file can hide rows here, never in `entries` (R54).
        """
        prefix = keys.facet_prefix(facet, value)
        found: list[int] = []
        for key, _ in self._scan("facets", prefix + keys.u64(first), prefix + keys.u64(end)):
            if len(found) >= limit:
                break
            found.append(int.from_bytes(key[-8:], "big"))
        return found

    def has_facet(self, facet: Facet, value: bytes, index: int) -> bool:
        """True if the entry carries this facet value."""
        return self._get("facets", keys.facet_prefix(facet, value) + keys.u64(index)) is not None

    # Mempool

    def put_pending(self, rows: Sequence[PendingRow]) -> None:
        """Raises WriteFailed. Not durable before `durable()`."""
        batch = self._new_batch()
        handle = self._handles["mempool"]
        for row in rows:
            head = keys.u64(row.arrival) + keys.u64(row.inclusion_by_ms) + bytes((row.held,))
            batch.put(row.entry_hash, head + row.entry, handle)
        self._write(batch)

    def delete_pending(self, entry_hashes: Sequence[bytes]) -> None:
        batch = self._new_batch()
        handle = self._handles["mempool"]
        for entry_hash in entry_hashes:
            batch.delete(entry_hash, handle)
        self._write(batch)

    def pending_entry(self, entry_hash: bytes) -> bytes | None:
        value = self._get("mempool", entry_hash)
        return None if value is None else value[17:]

    def all_pending(self) -> list[PendingRow]:
        """In order of arrival."""
        rows = [
            PendingRow(
                entry_hash=key,
                arrival=int.from_bytes(value[:8], "big"),
                inclusion_by_ms=int.from_bytes(value[8:16], "big"),
                held=value[16:17] == b"\x01",
                entry=value[17:],
            )
            for key, value in self._scan("mempool", b"", None)
        ]
        rows.sort(key=lambda row: row.arrival)
        return rows

    # Cosignatures and facts of the whole store

    def put_cosignatures(
        self, rows: Sequence[tuple[int, int, bytes]], *, final: int | None = None
    ) -> None:
        """Rows (size, member, opaque bytes); with the newest final size in the same write, so that no crash comes between."""
        self._put_lines(rows, {} if final is None else {keys.META_FINAL: keys.u64(final)})

    def _put_lines(
        self, rows: Sequence[tuple[int, int, bytes]], meta: Mapping[bytes, bytes]
    ) -> None:
        batch = self._new_batch()
        for name, value in meta.items():
            batch.put(name, value, self._handles["meta"])
        handle = self._handles["cosignatures"]
        for size, member, row in rows:
            batch.put(keys.cosignature(size, member), row, handle)
        self._write(batch)

    def delete_cosignatures(self, rows: Sequence[tuple[int, int]]) -> None:
        """Rows (size, member)."""
        batch = self._new_batch()
        handle = self._handles["cosignatures"]
        for size, member in rows:
            batch.delete(keys.cosignature(size, member), handle)
        self._write(batch)

    def forget_checkpoint(self, size: int) -> None:
        """Every line of this size, but for second lines."""
        end = keys.cosignature(size, keys.SECOND_LINE)
        held = [key for key, _ in self._scan("cosignatures", keys.u64(size), end)]
        self.delete_cosignatures([(size, int.from_bytes(key[8:], "big")) for key in held])

    def cosignatures(self, size: int) -> list[tuple[int, bytes]]:
        """(member, row) held for exactly this size, ascending by member."""
        end = keys.cosignature(size, keys.LOG_LINE)
        return [
            (int.from_bytes(key[8:], "big"), value)
            for key, value in self._scan("cosignatures", keys.u64(size), end)
        ]

    def log_lines(self, size: int) -> list[tuple[int, bytes]]:
        """(member, signature) of this node's log key over exactly this size; at most one."""
        start, end = (keys.cosignature(size, at) for at in (keys.LOG_LINE, keys.SECOND_LINE))
        return [
            (int.from_bytes(key[8:], "big") - keys.LOG_LINE, value)
            for key, value in self._scan("cosignatures", start, end)
        ]

    def put_log_line(self, size: int, member: int, signature: bytes) -> None:
        self.put_cosignatures([(size, keys.LOG_LINE | member, signature)])

    def second_lines(self, size: int) -> list[tuple[int, bytes]]:
        """The same, of second lines."""
        start = keys.cosignature(size, keys.SECOND_LINE)
        return [
            (int.from_bytes(key[8:], "big") - keys.SECOND_LINE, value)
            for key, value in self._scan("cosignatures", start, keys.u64(size + 1))
        ]

    def put_second_lines(self, rows: Sequence[tuple[int, int, bytes]]) -> None:
        """Rows (size, member, opaque bytes); and which size is the largest so far, in the same write."""
        largest = max((size for size, _, _ in rows), default=0)
        largest = max(largest, self.newest_second() or 0)
        self._put_lines(
            [(size, keys.SECOND_LINE | member, row) for size, member, row in rows],
            {keys.META_SECOND: keys.u64(largest)} if rows else {},
        )

    def delete_second_lines(self, rows: Sequence[tuple[int, int]]) -> None:
        """Rows (size, member)."""
        self.delete_cosignatures([(size, keys.SECOND_LINE | member) for size, member in rows])

    def newest_second(self) -> int | None:
        """The largest size that second lines were put for."""
        row = self.meta(keys.META_SECOND)
        return None if row is None else int.from_bytes(row, "big")

    def cosigned_sizes(self, first: int, end: int, limit: int) -> list[int]:
        """Ascending sizes in [first, end) for which any line is held."""
        found: list[int] = []
        start = keys.u64(first)
        while len(found) < limit:
            key = next((k for k, _ in self._scan("cosignatures", start, keys.u64(end))), None)
            if key is None:
                break
            size = int.from_bytes(key[:8], "big")
            found.append(size)
            start = keys.u64(size + 1)
        return found

    def meta(self, name: bytes) -> bytes | None:
        return self._get("meta", name)

    def put_meta(self, name: bytes, value: bytes) -> None:
        batch = self._new_batch()
        batch.put(name, value, self._handles["meta"])
        self._write(batch)

    def rows(self, family: str) -> Iterator[tuple[bytes, bytes]]:
        """Every (key, value) of one column family, ascending, for the auditor, who counts them (R54). Raises StoreDamaged."""
        return self._scan(family, b"", None)

    def row(self, family: str, key: bytes) -> bytes | None:
        """One row by key, for the auditor. Raises StoreDamaged."""
        return self._get(family, key)

    def put_row(self, family: str, key: bytes, value: bytes) -> None:
        """One row as another store held it, for a repair, which has checked it. Raises WriteFailed."""
        batch = self._new_batch()
        batch.put(key, value, self._handles[family])
        self._write(batch)

    # The only four places that touch RocksDB

    def _write(self, batch: Any) -> None:
        assert not self.read_only, "a store opened read-only is never written"
        try:
            self._database.write(batch)
        except Exception as err:  # rocksdict raises bare Exception for every status
            raise WriteFailed(f"{self.path}: {err}") from err

    def _get(self, family: str, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._families[family].get(key)
        except Exception as err:  # as above
            raise StoreDamaged(
                f"{self.path}: {family} key {key.hex()} cannot be read: {err}"
            ) from err
        return value

    def _get_many(self, family: str, wanted: list[bytes]) -> list[bytes]:
        """Missing values come back as None; callers check before they hand out."""
        try:
            found: list[bytes] = self._families[family].get(wanted)
        except Exception as err:  # as above
            raise StoreDamaged(
                f"{self.path}: {family} keys {wanted[0].hex()} to {wanted[-1].hex()} cannot be read: {err}"
            ) from err
        return found

    def _scan(self, family: str, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        cursor = self._families[family].iter()
        cursor.seek(start)
        while cursor.valid():
            key = cursor.key()
            if stop is not None and key >= stop:
                return
            yield key, cursor.value()
            cursor.next()
        try:
            cursor.status()
        except Exception as err:  # as above
            raise StoreDamaged(f"{self.path}: scanning {family} stopped: {err}") from err


def _ref(key: bytes) -> Ref:
    _, round_, author, digest = keys.split_block(key)
    return Ref(round=Round(round_), author=ValidatorIndex(author), digest=Digest(digest))
