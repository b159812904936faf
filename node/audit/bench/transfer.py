"""How fast a history goes into a node's store and out of it, beside what the disk takes, and which of the two limits it.

    import   archive -> store: every signature, order and law again, so the law's core limits it, not the disk
    export   store -> archive: rows read, hashed, written, one after another on one core
    disk     the same number of bytes written as one file and synced

A turn far below the disk's own speed is limited by the core that does it.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.audit.bench.synthetic import History
from node.audit.export import export_home
from node.audit.importing import import_archive
from node.settings import FILE_NAME, ListenSettings, NodeSettings, Settings, documented_toml

MIB: Final = 1 << 20
DISK_SHARE: Final = 0.5  # of the disk's speed: from there on the disk is the limit
ENTRIES_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One way."""

    seconds: float
    bytes: int
    entries: int

    def as_json(self, disk_mib_per_second: float) -> dict[str, Any]:
        rate = self.bytes / MIB / self.seconds
        return {
            "entries_per_second": round(self.entries / self.seconds),
            "mib_per_second": round(rate, 2),
            "limited_by": "the disk" if rate >= DISK_SHARE * disk_mib_per_second else "one core",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Both ways, and the disk."""

    entries: int
    imported: Turn
    exported: Turn
    disk_mib_per_second: float

    def as_json(self) -> dict[str, Any]:
        return {
            "entries": self.entries,
            "import": self.imported.as_json(self.disk_mib_per_second),
            "export": self.exported.as_json(self.disk_mib_per_second),
            "disk_mib_per_second": round(self.disk_mib_per_second, 1),
        }


def transfer(history: History, folder: Path) -> Transfer:
    """Into a fresh home below `folder` and out again; both are removed. Raises CannotAudit, OSError."""
    home, out = folder / "transfer-home", folder / "transfer-out"
    for path in (home, out):
        shutil.rmtree(path, ignore_errors=True)
    try:
        _furnish(history, home)
        size = sum(path.stat().st_size for path in history.folder.rglob("*") if path.is_file())
        imported = _turn(lambda: import_archive(history.folder, home), size, history.size)
        made = []
        exported = _turn(lambda: made.append(export_home(home, out)), size, history.size)
        disk = _disk(folder / "transfer-disk", size)
    finally:
        for path in (home, out):
            shutil.rmtree(path, ignore_errors=True)
    return Transfer(
        entries=history.size, imported=imported, exported=exported, disk_mib_per_second=disk
    )


def _furnish(history: History, home: Path) -> None:
    home.mkdir(parents=True)
    state = history.founding.genesis.members[0].state
    settings = Settings(home=home, node=NodeSettings(state=state), listen=ListenSettings())
    (home / FILE_NAME).write_text(documented_toml(settings), encoding="utf-8")
    settings.genesis_path.write_bytes(history.founding.document)


def _turn(work: Callable[[], object], size: int, entries: int) -> Turn:
    started = time.perf_counter()
    work()
    return Turn(
        seconds=time.perf_counter() - started,
        bytes=size,
        entries=entries,
    )


def _disk(path: Path, size: int) -> float:
    """MiB a second, until the last byte is durable."""
    block = os.urandom(MIB)
    started = time.perf_counter()
    try:
        with path.open("wb") as file:
            for _ in range(max(1, size // MIB)):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        return max(1, size // MIB) / (time.perf_counter() - started)
    finally:
        path.unlink(missing_ok=True)
