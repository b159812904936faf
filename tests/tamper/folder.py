"""A folder that is tampered with again and again: what it held stands in memory, and what changed is put back."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class _Stamp(NamedTuple):
    """What the file system tells of a file that nobody has written to since."""

    inode: int
    size: int
    mtime_ns: int


class Folder:
    """`path` and everything below it, as it is now, is what `restore` goes back to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.whole: dict[str, bytes] = {name: (path / name).read_bytes() for name in self._names()}
        self._stamps = {name: self._stamp(name) for name in self.whole}

    @property
    def names(self) -> list[str]:
        """Of what it holds when nothing is tampered with, sorted."""
        return sorted(self.whole)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def delete(self, name: str) -> None:
        (self.path / name).unlink()

    def held(self) -> dict[str, bytes]:
        """All files as they are now."""
        return {name: self.read(name) for name in self._names()}

    def restore(self) -> None:
        """Every byte as it was."""
        now = set(self._names())
        for name in now - set(self.whole):
            self.delete(name)
        for name, data in self.whole.items():
            if name not in now or self._stamp(name) != self._stamps[name]:
                self.write(name, data)
                self._stamps[name] = self._stamp(name)

    def _names(self) -> Iterator[str]:
        for folder, _, files in os.walk(self.path):
            for name in files:
                yield (Path(folder) / name).relative_to(self.path).as_posix()

    def _stamp(self, name: str) -> _Stamp:
        found = (self.path / name).stat()
        return _Stamp(found.st_ino, found.st_size, found.st_mtime_ns)
