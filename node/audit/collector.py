"""Python's garbage collector while a history is replayed: it looks seldom, and not at what was there before (decision 0223).

A replay makes and drops some dozens of values for each entry, none of them in a cycle: counting references frees them all. The
collector looks for cycles each time that 700 more are made than dropped, and thousands of read entries wait for the law at any
time. What does stand in a cycle (an error's trace) waits for YOUNG_MAX values, some ten megabytes.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

YOUNG_MAX: Final = 50_000  # values made and not dropped, before the collector looks at them
_OLDER: Final = (20, 100)  # of the younger generation's turns, before an older one has its own


def seldom() -> None:
    """From now on, in this process: for one that does nothing else."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, *_OLDER)


@contextmanager
def collected_seldom() -> Iterator[None]:
    """Within the block; afterwards all is as it was."""
    before = gc.get_threshold()
    seldom()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
