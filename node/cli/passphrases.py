"""Passphrases: from a file of one line, or typed at a terminal. Never from an argument, which other users can read."""

import getpass
import os
import stat
import sys
from pathlib import Path
from typing import Final

from node.cli.errors import BadPassphrase

PASSPHRASE_BYTES_MAX: Final = 4096
PASSPHRASE_CHARS_MIN: Final = 8  # for new keys; argon2id makes each guess cost a fifth of a second


def read_passphrase(path: Path | None, what: str) -> bytes:
    """The passphrase of existing keys. `what` names the key file. Raises BadPassphrase."""
    if path is None:
        return _typed(f"Passphrase of {what}: ", what)
    return _from_file(path)


def new_passphrase(path: Path | None, what: str) -> bytes:
    """The passphrase for keys about to be made; typed ones are asked for twice. Raises BadPassphrase."""
    if path is not None:
        passphrase = _from_file(path)
    else:
        passphrase = _typed(f"New passphrase for {what}: ", what)
        if _typed("The same again: ", what) != passphrase:
            raise BadPassphrase(f"{what}: the two passphrases differ: nothing was written")
    if len(passphrase.decode("utf-8", "replace")) < PASSPHRASE_CHARS_MIN:
        raise BadPassphrase(
            f"{what}: passphrase of fewer than {PASSPHRASE_CHARS_MIN} characters: choose a longer one"
        )
    return passphrase


def _from_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(PASSPHRASE_BYTES_MAX + 1)
    except OSError as err:
        raise BadPassphrase(f"passphrase file {path}: {err.strerror}") from err
    # Pipes (a secret manager's) have no mode worth judging.
    if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadPassphrase(
            f"passphrase file {path}: mode {stat.S_IMODE(mode):04o} lets others read it: chmod 600 {path}"
        )
    passphrase = data.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase or len(data) > PASSPHRASE_BYTES_MAX or b"\n" in passphrase:
        raise BadPassphrase(
            f"passphrase file {path}: want one line of at most {PASSPHRASE_BYTES_MAX} bytes"
        )
    return passphrase


def _typed(prompt: str, what: str) -> bytes:
    if not _at_a_terminal():
        raise BadPassphrase(
            f"{what}: no passphrase: name a file by --passphrase-file, or run this at a terminal"
        )
    return getpass.getpass(prompt, stream=sys.stderr).encode()


def _at_a_terminal() -> bool:
    return sys.stdin.isatty()
