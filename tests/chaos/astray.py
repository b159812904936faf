"""`node.main` on a host whose wall clock somebody sets: FOEDUS_CHAOS_CLOCK names a file with the seconds to add.

What Python tells of the wall clock is replaced before the node is imported; its monotonic clock runs on, as it does when a real
clock is set. Libraries in C still see the machine's own clock. (libfaketime was tried: under it `clock_nanosleep` fails with
EINVAL for Python 3.11, and gRPC's waits on futexes with absolute times, which it cannot shift, would hang by its fault.)
"""

import os
import sys
import time
from pathlib import Path

from tests.chaos.names import CLOCK_VARIABLE

CHECK_NS = 100_000_000


class SetClock:
    """The machine's wall clock plus what the file says, looked up at most ten times a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._true_ns = time.time_ns
        self._offset_ns = 0
        self._looked_ns = -CHECK_NS

    def time_ns(self) -> int:
        tick = time.monotonic_ns()
        if tick - self._looked_ns >= CHECK_NS:
            self._looked_ns = tick
            self._offset_ns = int(self._path.read_text(encoding="ascii") or "0") * 1_000_000_000
        return self._true_ns() + self._offset_ns

    def time(self) -> float:
        return self.time_ns() / 1e9


def set_clock(path: Path) -> None:
    clock = SetClock(path)
    time.time_ns = clock.time_ns
    time.time = clock.time


if __name__ == "__main__":
    set_clock(Path(os.environ[CLOCK_VARIABLE]))
    from node.main import build_engine, main

    sys.exit(main(None, build_engine))
