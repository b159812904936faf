"""A disk that forgets at a power cut what was not synced, tears the file it was writing, and can be full.

Two faces over one medium: `database` behaves as rocksdict does below `node.storage.store`, `files` as
`node.storage.files` promises. Named points lie before and after every durable write, and inside those that a crash can tear.

    batch     one atomic write of the database: in the log's tail, lost or kept at a power cut, never torn, never out of order
    flush     the write-ahead log is synced: all batches so far stay
    write     a file's contents
    rename    one name for another
"""

import errno
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any

from node.storage import keys

Change = tuple[str, bytes, bytes | None]  # family, key, value (None: deleted)


class Point(Enum):
    """Where a machine can lose its power."""

    BEFORE_BATCH = "before a batch"
    AFTER_BATCH = "after a batch"
    BEFORE_FLUSH = "before a flush"
    AFTER_FLUSH = "after a flush"
    BEFORE_FILE = "before a file is written"
    IN_FILE = "while a file is written"
    AFTER_FILE = "after a file is written"
    IN_RENAME = "while a file is renamed"
    AFTER_RENAME = "after a file is renamed"


class PowerCut(BaseException):
    """Ends the process that stood at a point; nothing of it goes on."""


@dataclass(slots=True)
class Table:
    """One column family."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    order: list[bytes] = field(default_factory=list)

    def put(self, key: bytes, value: bytes | None) -> bytes | None:
        """Returns what was there."""
        before = self.rows.get(key)
        if value is None:
            if before is not None:
                del self.rows[key]
                del self.order[bisect_left(self.order, key)]
        else:
            if before is None:
                insort(self.order, key)
            self.rows[key] = value
        return before


class Disk:
    """One machine's. `on_point` may raise PowerCut, once the machine has taken note of its end."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.tables = {name: Table() for name in keys.COLUMN_FAMILIES}
        self.contents: dict[Path, bytes] = {}
        self._unsynced: list[list[Change]] = []  # how to undo each batch since the last flush
        self.full = False
        self.lost_batches = 0
        self.on_row: Callable[[str, bytes, bytes], None] | None = None  # of each row put

    def mount(self, on_point: Callable[[Point], None]) -> "Mounted":
        return Mounted(self, on_point)

    def power_cut(self) -> None:
        """A tail of what was not synced is gone; how long a tail, nobody knows."""
        lost = self._rng.randint(0, len(self._unsynced))
        self.lost_batches += lost
        for undo in reversed(self._unsynced[len(self._unsynced) - lost :]):
            for family, key, value in reversed(undo):
                self.tables[family].put(key, value)
        self._unsynced.clear()

    def copy(self) -> "Disk":
        """As a backup would have it: what is synced and what is not."""
        twin = Disk(self._rng)
        for name, table in self.tables.items():
            twin.tables[name] = Table(dict(table.rows), list(table.order))
        twin.contents = dict(self.contents)
        return twin

    def synced(self, family: str, key: bytes) -> bytes | None:
        """What a power cut now would leave for certain."""
        for undo in self._unsynced:
            for changed, name, before in undo:
                if (changed, name) == (family, key):
                    return before
        return self.tables[family].rows.get(key)

    def apply(self, changes: Sequence[Change]) -> None:
        undo: list[Change] = []
        for family, key, value in changes:
            undo.append((family, key, self.tables[family].put(key, value)))
            if self.on_row is not None and value is not None:
                self.on_row(family, key, value)
        self._unsynced.append(undo)

    def sync(self) -> None:
        self._unsynced.clear()

    def tear(self, data: bytes) -> bytes:
        return data[: self._rng.randint(0, len(data))]

    def either(self) -> bool:
        return self._rng.random() < 0.5


class Mounted:
    """The disk as one life of a process sees it. A later life mounts it anew."""

    def __init__(self, disk: Disk, on_point: Callable[[Point], None]) -> None:
        self.disk = disk
        self.files = MountedFiles(self)
        self.database = MountedDatabase(self)
        self._on_point = on_point
        self.refused = False  # for lack of room
        self.gone = False  # the process is dead: what its remains still try has no effect

    def reach(self, point: Point) -> None:
        self.check()
        self._on_point(point)

    def check(self) -> None:
        if self.gone:
            raise PowerCut

    def check_room(self) -> None:
        if self.disk.full:
            self.refused = True
            raise OSError(errno.ENOSPC, "No space left on device")


class MountedFiles:
    """A `node.storage.files.Files`."""

    def __init__(self, mounted: Mounted) -> None:
        self._mounted = mounted

    def lock(self, folder: Path) -> Callable[[], None]:
        return lambda: None

    def read(self, path: Path, bytes_max: int) -> bytes:
        self._mounted.check()
        data = self._mounted.disk.contents.get(path)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        return data[:bytes_max]

    def write(self, path: Path, data: bytes) -> None:
        disk, reach = self._mounted.disk, self._mounted.reach
        reach(Point.BEFORE_FILE)
        disk.contents[path] = disk.tear(data)
        self._mounted.check_room()
        reach(Point.IN_FILE)
        disk.contents[path] = data
        reach(Point.AFTER_FILE)

    def rename(self, old: Path, new: Path) -> None:
        disk, reach = self._mounted.disk, self._mounted.reach
        self._mounted.check()
        if old not in disk.contents:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(old))
        before, data = disk.contents.get(new), disk.contents.pop(old)
        # Until the folder is synced a power cut may find either.
        kept = data if disk.either() else before
        if kept is not None:
            disk.contents[new] = kept
        reach(Point.IN_RENAME)
        disk.contents[new] = data
        reach(Point.AFTER_RENAME)


class MountedDatabase:
    """What `node.storage.store` knows of rocksdict.Rdict."""

    def __init__(self, mounted: Mounted) -> None:
        self._mounted = mounted

    def get_column_family(self, name: str) -> "Family":
        return Family(self._mounted, name)

    def get_column_family_handle(self, name: str) -> str:
        return name

    def flush_wal(self, *, sync: bool) -> None:
        assert sync, "an unsynced flush promises nothing"
        self._mounted.reach(Point.BEFORE_FLUSH)
        self._mounted.check_room()
        self._mounted.disk.sync()
        self._mounted.reach(Point.AFTER_FLUSH)

    def write(self, batch: "Batch") -> None:
        self._mounted.reach(Point.BEFORE_BATCH)
        self._mounted.check_room()
        self._mounted.disk.apply(batch.changes)
        self._mounted.reach(Point.AFTER_BATCH)

    def close(self) -> None:
        return


class Batch:
    """rocksdict.WriteBatch."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def put(self, key: bytes, value: bytes, family: str) -> None:
        self.changes.append((family, key, value))

    def delete(self, key: bytes, family: str) -> None:
        self.changes.append((family, key, None))


class Family:
    """A column family of rocksdict's."""

    def __init__(self, mounted: Mounted, name: str) -> None:
        self._mounted = mounted
        self._name = name

    def _table(self) -> Table:
        self._mounted.check()
        return self._mounted.disk.tables[self._name]

    def get(self, key: bytes | list[bytes]) -> Any:
        rows = self._table().rows
        return [rows.get(each) for each in key] if isinstance(key, list) else rows.get(key)

    def iter(self) -> "Cursor":
        return Cursor(self._table())

    def flush(self) -> None:
        return


class Cursor:
    """A rocksdict iterator, for readers who do not write meanwhile."""

    def __init__(self, table: Table) -> None:
        self._rows = table.rows
        self._order = table.order
        self._at = 0

    def seek(self, key: bytes) -> None:
        self._at = bisect_left(self._order, key)

    def seek_for_prev(self, key: bytes) -> None:
        self._at = bisect_right(self._order, key) - 1

    def valid(self) -> bool:
        return 0 <= self._at < len(self._order)

    def key(self) -> bytes:
        return self._order[self._at]

    def value(self) -> bytes:
        return self._rows[self._order[self._at]]

    def next(self) -> None:
        self._at += 1

    def status(self) -> None:
        return
