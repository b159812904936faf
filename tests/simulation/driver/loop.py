"""An event loop without a machine: time is a number that jumps to whatever is due next.

    world = World()
    loop = VirtualLoop(world, rng, on_fault)      one for each process of the simulated network
    loop.create_task(...)
    world.run(until_us)

All loops share one queue, so equal times happen in the order in which they were asked for: a run has one history. A loop that is
killed takes nothing more out of the queue: its tasks stop where they stand, as a process does, and no `finally` of theirs reaches
anybody. What the driver gives to threads runs in one piece at a drawn moment, and its result comes back at a later one.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context
from random import Random
from typing import Any, Final, TypeVar

US: Final = 1_000_000
THREAD_US_MAX: Final = 3_000  # until a thread gets to it, and again until the loop hears of it
CLOSINGS_MAX: Final = 8  # a coroutine may await once more for each `async with` it stands in

T = TypeVar("T")


class World:
    """Microseconds from 0, and what happens when."""

    def __init__(self) -> None:
        self.now_us = 0
        self.happened = 0
        self._asked = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []

    def call_at(self, at_us: int, action: Callable[[], None]) -> None:
        """At `at_us`, or now if that has passed."""
        heapq.heappush(self._queue, (max(at_us, self.now_us), self._asked, action))
        self._asked += 1

    def call_in(self, delay_us: int, action: Callable[[], None]) -> None:
        self.call_at(self.now_us + delay_us, action)

    def run(self, until_us: int, done: Callable[[], bool] | None = None) -> bool:
        """Everything up to `until_us`, or until `done` says so, asked whenever time has moved on; whether it did."""
        queue = self._queue
        while queue and queue[0][0] <= until_us:
            at, _, action = heapq.heappop(queue)
            if done is not None and at > self.now_us and done():
                heapq.heappush(queue, (at, -1, action))
                return True
            self.now_us = at
            self.happened += 1
            action()
        self.now_us = max(self.now_us, until_us)
        return done is not None and done()


class VirtualLoop(asyncio.AbstractEventLoop):
    """The loop of one process. `on_fault` is told what nobody awaited: a fault of the driver's."""

    def __init__(
        self, world: World, rng: Random, on_fault: Callable[[dict[str, Any]], None]
    ) -> None:
        self._world = world
        self._rng = rng
        self._on_fault = on_fault
        self._tasks: dict[asyncio.Task[Any], None] = {}  # in order of making
        self.alive = True

    # Time

    def time(self) -> float:
        return self._world.now_us / US

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._push(self._world.now_us, handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._push(round(when * US), handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        return

    def _push(self, at_us: int, handle: asyncio.Handle) -> None:
        if self.alive:
            self._world.call_at(at_us, lambda: self._run(handle))

    def _run(self, handle: asyncio.Handle) -> None:
        if self.alive and not handle.cancelled():
            self.enter(handle._run)

    def enter(self, action: Callable[[], object]) -> None:
        """Do it as this process."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            action()
        finally:
            asyncio._set_running_loop(before)

    # Tasks and futures

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def kill(self) -> None:
        """Nothing of this process happens any more."""
        if not self.alive:
            return
        self.alive = False
        # Not at once: one of the coroutines may be the caller.
        self._world.call_in(0, self._bury)

    def _bury(self) -> None:
        """Close what was under way, in order; whatever it still tries meets a dead loop, disk and network."""
        tasks, self._tasks = list(self._tasks), {}
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coroutine: Any = task.get_coro()
            for _ in range(CLOSINGS_MAX):
                try:
                    coroutine.close()
                    break
                except BaseException:  # noqa: BLE001 # the dead have no say
                    continue

    # Threads

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        first, second = (self._rng.randint(1, THREAD_US_MAX) for _ in range(2))

        def finish(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]
            else:
                future.set_exception(error)

        def work() -> None:
            if not self.alive:
                return
            result, error = None, None
            try:
                result = func(*args)
            except BaseException as err:  # noqa: BLE001 # a future carries whatever it was
                error = err
            self.call_at((self._world.now_us + second) / US, finish, result, error)

        self._world.call_in(first, work)
        return future

    # The rest of what the driver and asyncio itself ask

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return not self.alive

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.alive:
            self._on_fault(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)
