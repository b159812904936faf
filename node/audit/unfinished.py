"""A folder on its way: interrupted at any instruction, taken up again, and never seen half done.

    .NAME.partial/files/...     what is written already
    .NAME.partial/journal       what it is for, and a line for each file once its last byte is written: SHA-256, bytes, path

A file counts only if the journal names it and its bytes still have that SHA-256: a torn last line and a torn file are the
interruption that we expect. The folder takes its name when everything in it is durable. The journal is locked: one process
at a time.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from node.audit.source import CannotAudit
from node.audit.swift import file_digest

FOLDER_MODE: Final = 0o755
HEADER_BYTES_MAX: Final = 4096
_LINE: Final = re.compile(rb"([0-9a-f]{64}) (0|[1-9][0-9]*) ([^\n]+)\n")


class Unfinished:
    """See the module's text. Use it as a context manager: leaving it keeps what is written."""

    def __init__(self, out: Path, journal: BinaryIO, target: dict[str, Any]) -> None:
        """For `open`."""
        self.target = target  # what this folder is for, as it was first begun
        self.reused = 0  # files taken over from before an interruption
        self._out = out
        self._folder = _folder(out)
        self._journal = journal
        self._known: dict[str, tuple[int, str]] = {}  # the journal's word from before
        self.done: dict[str, tuple[int, str]] = {}  # path -> (bytes, SHA-256 in hex), sure

    @classmethod
    def open(cls, out: Path, target: Mapping[str, Any]) -> Self:
        """Begin, or take up what was begun; then `.target` is the earlier one, for the caller to compare.

        Raises:
            CannotAudit: another process is at it, or what stands there is no journal.
            OSError: it cannot be written.
        """
        folder = _folder(out)
        (folder / "files").mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        journal = (folder / "journal").open("a+b")
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            journal.close()
            raise CannotAudit(f"{folder}: another process writes there") from None
        journal.seek(0)
        head = journal.readline(HEADER_BYTES_MAX)
        if not head.endswith(b"\n"):  # nothing yet, or not even the first line was finished
            journal.truncate(0)
            head = (json.dumps(dict(target), sort_keys=True) + "\n").encode()
            journal.write(head)
            journal.flush()
        try:
            found = json.loads(head)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            journal.close()
            raise CannotAudit(f"{folder}/journal: is no journal of an export: remove that folder")
        made = cls(out, journal, found)
        made._read()
        return made

    def _read(self) -> None:
        end = self._journal.tell()
        for line in self._journal:
            match = _LINE.fullmatch(line)
            if match is None:
                break
            end += len(line)
            self._known[match[3].decode("utf-8", "replace")] = (int(match[2]), match[1].decode())
        self._journal.truncate(end)
        self._journal.seek(0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    def path(self, name: str) -> Path:
        return self._folder / "files" / name

    def has(self, name: str) -> bool:
        """Is this file whole already, from before an interruption or since? Reads it once to be sure."""
        if name in self.done:
            return True
        known = self._known.pop(name, None)
        if known is None:
            return False
        try:
            held = file_digest(self.path(name))
        except OSError:
            return False
        if held != known:
            return False
        self.done[name] = known
        self.reused += 1
        return True

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """The whole file, and its line in the journal. Raises OSError."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        digest, length = sha256(), 0
        with path.open("wb") as file:
            for part in parts:
                file.write(part)
                digest.update(part)
                length += len(part)
        self.done[name] = (length, digest.hexdigest())
        self._journal.write(b"%s %d %s\n" % (digest.hexdigest().encode(), length, name.encode()))
        self._journal.flush()

    def finish(self) -> None:
        """Make everything durable and give the folder its name. Raises OSError."""
        files = self._folder / "files"
        for path in files.rglob("*"):
            if path.is_file():
                if path.relative_to(files).as_posix() in self.done:
                    _sync(path, os.O_RDONLY)
                else:
                    path.unlink()  # begun before an interruption, and not wanted in the end
        for folder in (files, *filter(Path.is_dir, files.rglob("*"))):
            _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
        files.rename(self._out)
        _sync(self._out.parent, os.O_RDONLY | os.O_DIRECTORY)
        self._journal.close()
        shutil.rmtree(self._folder)


def _folder(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
