"""Files of folders that strangers fill: plain ones only, and names that can be shown.

A pipe would hold the reader for ever, a device never end, a link lead out of the folder: a copy of the folder has none of these.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_plain(path: Path) -> BinaryIO:
    """For reading. Raises OSError: a link, a pipe, a device, a folder among the causes."""
    try:
        held = os.open(path, _FLAGS)
    except OSError as err:
        if err.errno in (errno.ELOOP, errno.ENXIO):
            raise OSError(err.errno, "not a plain file", str(path)) from err
        raise
    if not stat.S_ISREG(os.fstat(held).st_mode):
        os.close(held)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return os.fdopen(held, "rb")


def shown_name(name: str) -> str:
    """A file's name as a report may hold it: what a terminal would obey, or what is not UTF-8, is spelt out."""
    return name if name.isprintable() else ascii(name)
