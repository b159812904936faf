"""The common case fast: an archive whose entries lead through every tile to the root, checked over all cores.

    bundles, in pieces of PIECE, each in whatever process is free:
        bundle -> leaf hashes, compared with the tile of level 0 -> one hash for each full bundle
    here:
        those hashes, compared with the tiles of level 1, and so on upwards -> the root at any size

Anything that differs or cannot be read ends the attempt with None: then `structure` goes over it entry by entry and says what is
wrong. What is accepted here is what would be accepted there: all entries, all hashes of all tiles.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self, TypeVar

from node.audit.collector import seldom
from node.audit.plain_files import open_plain
from node.audit.worker import begin_work
from node.log import merkle
from node.log.errors import MalformedInput
from node.log.merkle import HASH_BYTES
from node.log.tiles import (
    BUNDLE_BYTES_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    TilePath,
    decode_bundle,
)

PIECE: Final = 32  # bundles: a few hundredths of a second of work
AHEAD: Final = 4  # pieces handed out for each process: bounds what waits
ALONE_MAX: Final = 64  # bundles that are not worth starting processes for

In = TypeVar("In")
Out = TypeVar("Out")
Tick = Callable[[int], None]


class Workers:
    """Processes that are started when they are first needed. Close it, or use it as a context manager."""

    def __init__(self, count: int | None = None) -> None:
        """`count` 1 or less: none, the caller's own process does it all. Default: one for each core."""
        self.count = (os.cpu_count() or 1) if count is None else count
        self._pool: ProcessPoolExecutor | None = None
        self._starting = threading.Lock()  # copies are read by threads

    def map(self, work: Callable[[In], Out], tasks: Sequence[In], alone_max: int) -> Iterator[Out]:
        """`work` of each task, in order; up to `alone_max` tasks are done here. `work` is a function of a module."""
        pool = None if len(tasks) <= alone_max else self.processes()
        if pool is None:
            yield from map(work, tasks)
            return
        waiting: deque[Future[Out]] = deque()
        for task in tasks:
            waiting.append(pool.submit(work, task))
            if len(waiting) >= AHEAD * self.count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def processes(self) -> ProcessPoolExecutor | None:
        """Started now if they were not; None if there are to be none."""
        if self.count <= 1:
            return None
        with self._starting:
            if self._pool is not None:
                return self._pool
            # A forked child would hold the locks of this process's threads.
            self._pool = ProcessPoolExecutor(
                self.count, mp_context=get_context("spawn"), initializer=_begin
            )
        return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _begin() -> None:
    begin_work()
    seldom()


def file_digest(path: Path) -> tuple[int, str]:
    """(bytes, SHA-256 in hex) of a plain file. Raises OSError."""
    digest = sha256()
    length = 0
    with open_plain(path) as file:
        while part := file.read(1 << 20):
            digest.update(part)
            length += len(part)
    return length, digest.hexdigest()


def digests(task: tuple[str, list[str]]) -> dict[str, tuple[int, str] | str]:
    """The digests of files of a folder, or why one cannot be read."""
    folder, names = task
    found: dict[str, tuple[int, str] | str] = {}
    for name in names:
        try:
            found[name] = file_digest(Path(folder) / name)
        except OSError as err:
            found[name] = err.strerror or str(err)
    return found


class Bundles(NamedTuple):
    """Some bundles of an archive: from number `first` on, so many."""

    folder: str
    size: int  # of the log
    first: int
    many: int


def bundle_roots(task: Bundles) -> bytes | None:
    """The hash over each full bundle, one after another; None if one differs from its tile or is not of its form."""
    folder = Path(task.folder)
    roots: list[bytes] = []
    for number in range(task.first, task.first + task.many):
        width = min(TILE_WIDTH, task.size - TILE_WIDTH * number)
        try:
            data = _read(folder / str(TilePath(level=None, index=number, width=width)))
            tile = _read(folder / str(TilePath(level=0, index=number, width=width)))
            leaves = merkle.leaf_hashes(decode_bundle(data, width))
        except (OSError, MalformedInput):
            return None
        if b"".join(leaves) != tile:
            return None
        if width == TILE_WIDTH:
            roots.append(fold(leaves))
    return b"".join(roots)


def _read(path: Path) -> bytes:
    with open_plain(path) as file:
        return file.read(BUNDLE_BYTES_MAX + 1)


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over a full subtree: as many hashes as a power of two."""
    return merkle.append(merkle.EMPTY_TREE, hashes).tree.peaks[0]


class Tiled(Protocol):
    """What `roots` needs of an archive."""

    path: Path
    size: int

    def hashes(self, level: int, first: int, count: int) -> list[bytes]: ...


def roots(
    source: Tiled, sizes: Iterable[int], workers: Workers, tick: Tick
) -> dict[int, bytes] | None:
    """The root at each of these sizes, if every entry and every tile is right; None if anything is not.

    Raises what `source.hashes` raises for a tile that cannot be read.
    """
    bundles = -(-source.size // TILE_WIDTH)
    tasks = [
        Bundles(str(source.path), source.size, first, min(PIECE, bundles - first))
        for first in range(0, bundles, PIECE)
    ]
    row: list[bytes] = []
    for task, made in zip(tasks, workers.map(bundle_roots, tasks, ALONE_MAX // PIECE), strict=True):
        if made is None:
            return None
        row += [made[at : at + HASH_BYTES] for at in range(0, len(made), HASH_BYTES)]
        tick(min(TILE_WIDTH * task.many, source.size - TILE_WIDTH * task.first))
    level = TILE_HEIGHT
    while row:
        if source.hashes(level, 0, len(row)) != row:
            return None
        full = len(row) // TILE_WIDTH
        row = [fold(row[TILE_WIDTH * at : TILE_WIDTH * (at + 1)]) for at in range(full)]
        level += TILE_HEIGHT
    return {size: root_at(source, size) for size in sizes}


def root_at(source: Tiled, size: int) -> bytes:
    """From the tiles, whatever they hold."""

    def read(level: int, index: int) -> bytes:
        stored = level - level % TILE_HEIGHT
        count = 1 << level - stored
        return fold(source.hashes(stored, index * count, count))

    return merkle.load(size, read).root()
