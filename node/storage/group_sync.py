"""One disk flush shared by everybody who waits for durability.

Measured with rocksdict 0.3.29: a write, synced or not, holds the interpreter lock to its end, while
`flush_wal(sync=True)` releases it. So the store writes without sync (microseconds into the operating system's file
buffer), and durability comes from one flush in a thread: the loop keeps running while the disk works, and everybody
who wrote meanwhile shares the next flush.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor


class GroupSync:
    """`await durable()` returns once all bytes written before the call are on the disk.

    At most one flush runs and one waits, however many callers there are: a caller who comes during a flush needs the next
    one, for the running one may have begun before its bytes were written. Used from one event loop.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-sync")
        self._running: asyncio.Future[None] | None = None
        self._next: asyncio.Future[None] | None = None
        self._thens: list[Callable[[], None]] = []  # what the next flush is followed by
        self.flushes = 0  # for metrics

    async def durable(self, then: Callable[[], None] | None = None) -> None:
        """`then` is done in the same thread once the flush is: a second write that needs the first one durable.

        Raises WriteFailed if the disk refused, the flush or anybody's `then`: the process must stop.
        """
        if then is not None:
            self._thens.append(then)
        if self._running is None:
            self._running = self._start()
            mine = self._running
        else:
            if self._next is None:
                self._next = asyncio.get_running_loop().create_future()
            mine = self._next
        await asyncio.shield(mine)

    def close(self) -> None:
        """Wait for a running flush and give the thread back."""
        self._thread.shutdown(wait=True)

    def _start(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        self.flushes += 1
        thens, self._thens = self._thens, []
        work = loop.run_in_executor(self._thread, self._flush_and, thens)
        work.add_done_callback(self._done)
        return work

    def _flush_and(self, thens: Sequence[Callable[[], None]]) -> None:
        self._flush()
        for then in thens:
            then()

    def _done(self, finished: asyncio.Future[None]) -> None:
        waiting, self._next = self._next, None
        self._running = None
        failed = finished.cancelled() or finished.exception() is not None
        if waiting is None:
            return
        if failed:
            # The disk is gone for those who wait as well; a second try would only hide it.
            _hand_over(finished, waiting)
            return
        self._running = self._start()
        self._running.add_done_callback(lambda done: _hand_over(done, waiting))


def _hand_over(done: asyncio.Future[None], waiting: asyncio.Future[None]) -> None:
    """To those who still wait. A fault counts as told if nobody does: the first to meet it has ended the node."""
    if waiting.done():
        return
    if done.cancelled():
        waiting.cancel()
    elif (error := done.exception()) is not None:
        waiting.set_exception(error)
        waiting.exception()
    else:
        waiting.set_result(None)
