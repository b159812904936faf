"""One user of the journal at a time, each to its end.

The journal blocks on the disk, so it is used from threads. A thread cannot be cancelled: whoever is cancelled while his
thread still writes waits for it here, so that nobody closes the journal under it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Turns:
    """Bound to the event loop in which it is made."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a thread when nobody else has the journal; its result. Cancelled: raises once `work` has ended."""
        async with self._lock:
            return await to_the_end(asyncio.to_thread(work, *args, **kwargs))


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Its result. Who is cancelled meanwhile still waits for it, and is cancelled then."""
    running = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as err:
            cancelled = err
    if cancelled is not None:
        running.exception()  # looked at: it is lost with the task that was cancelled
        raise cancelled
    return running.result()
