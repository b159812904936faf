"""How processes that work for an audit begin, and how all of it ends when it is told to.

A worker that waits for its next piece does not notice that whoever started it is gone: killed, or ended by a service manager. It
would wait for ever, with all that it has read. So each watches its parent. On Ctrl-C, which a terminal sends to all of them, a
worker ends without a word: the parent says what there is to say.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import Final

ORPHANED: Final = 1  # exit status of a worker whose parent is gone


def begin_work() -> None:
    """The first thing that a worker does."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in a process that multiprocessing started"
    threading.Thread(target=_end_with, args=(parent.sentinel,), name="parent", daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(ORPHANED)


@contextmanager
def stopped_tidily() -> Iterator[None]:
    """Within the block SIGTERM ends the workers, and then this process as an exit would: scratch files go. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    del frame
    for child in multiprocessing.active_children():
        child.terminate()
    raise SystemExit(128 + number)
