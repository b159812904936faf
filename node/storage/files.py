"""The few things that the sign state needs of a file system, each durable when it returns."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """Raises OSError where the system does."""

    def lock(self, folder: Path) -> Callable[[], None]:
        """Make the folder and hold its lock until the returned function is called. Raises OSError if another process does."""
        ...

    def read(self, path: Path, bytes_max: int) -> bytes:
        """At most so many bytes of the file. Raises FileNotFoundError."""
        ...

    def write(self, path: Path, data: bytes) -> None:
        """The file's whole contents, made or replaced in place; synced. A crash meanwhile may leave any part of them."""
        ...

    def rename(self, old: Path, new: Path) -> None:
        """`new` is what `old` was; the folder is synced. A crash leaves either the one before or this one."""
        ...


class OsFiles:
    """The operating system's."""

    def lock(self, folder: Path) -> Callable[[], None]:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        return lambda: os.close(handle)

    def read(self, path: Path, bytes_max: int) -> bytes:
        with path.open("rb") as file:
            return file.read(bytes_max)

    def write(self, path: Path, data: bytes) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            written = os.write(handle, data)
            if written != len(data):
                raise OSError(f"wrote {written} of {len(data)} bytes: disk full?")
            os.fsync(handle)
        finally:
            os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)
        folder = os.open(new.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Without this the rename itself can be undone by a power loss (SPEC 10).
            os.fsync(folder)
        finally:
            os.close(folder)
