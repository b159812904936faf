"""Virtual time: a queue of what happens when, and nothing else. A run of hours takes seconds."""

import heapq
from collections.abc import Callable

Action = Callable[[], None]


class VirtualClock:
    """Milliseconds from 0. Equal times happen in the order in which they were asked for, so a run has one history."""

    __slots__ = ("_asked", "_queue", "happened", "now_ms")

    def __init__(self) -> None:
        self.now_ms = 0
        self.happened = 0  # actions done so far
        self._asked = 0
        self._queue: list[tuple[int, int, Action]] = []

    def call_at(self, at_ms: int, action: Action) -> None:
        """Do `action` at `at_ms`, or now if that has passed."""
        heapq.heappush(self._queue, (max(at_ms, self.now_ms), self._asked, action))
        self._asked += 1

    def call_in(self, delay_ms: int, action: Action) -> None:
        self.call_at(self.now_ms + delay_ms, action)

    def run(self, until_ms: int, done: Callable[[], bool] | None = None) -> bool:
        """Let everything up to `until_ms` happen, or stop as soon as `done` says so; whether it did."""
        queue = self._queue
        while queue and queue[0][0] <= until_ms:
            self.now_ms, _, action = heapq.heappop(queue)
            self.happened += 1
            action()
            if done is not None and done():
                return True
        self.now_ms = max(self.now_ms, until_ms)
        return done is not None and done()
