"""How the workloads of one process are timed, and what they print."""

import cProfile
import pstats
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

LINES: Final = 40
US_PER_S: Final = 1_000_000


async def measure(
    batches: Sequence[list[bytes]], work: Callable[[list[bytes]], Awaitable[None]], *, profile: bool
) -> None:
    """Run `work` on each batch; print microseconds of an entry: of the main thread, and of the process with its threads."""
    each: list[float] = []
    profiler = cProfile.Profile() if profile else None
    process_began = time.process_time()
    if profiler is not None:
        profiler.enable()
    for batch in batches:
        began = time.thread_time()
        await work(batch)
        each.append((time.thread_time() - began) / len(batch) * US_PER_S)
    if profiler is not None:
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(LINES)
    entries = sum(map(len, batches))
    process_us = (time.process_time() - process_began) / entries * US_PER_S
    each.sort()
    print(
        f"{entries} entries: main thread {each[0]:.1f} us an entry at the least, {each[len(each) // 2]:.1f} in the middle;"
        f" all threads {process_us:.1f} on average"
    )
