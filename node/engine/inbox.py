"""What waits for the core: one queue of bounded length and size, and facts of which only the newest counts.

    own      the own block that was just signed (at most one is outstanding)
    facts    timer, payload, deadlines, who reads, wakes: by key, the newest replaces the one before
    events   blocks and answers of peers, in order of arrival; who brings more waits

Whatever peers do, the core is at most `events_max` events and `bytes_max` bytes behind: a peer that has to wait is not read.
"""

import asyncio
from collections import deque
from typing import Final

from consensus.events import Event

EVENTS_MAX: Final = 512
BYTES_MAX: Final = 32 * 1024 * 1024

FactKey = tuple[str, int]


class Inbox:
    """Used from one event loop; `next` by the core's one task."""

    def __init__(self, *, events_max: int = EVENTS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._own: deque[Event] = deque()
        self._facts: dict[FactKey, Event] = {}
        self._events: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._room = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def bytes_held(self) -> int:
        return self._bytes

    def put_own(self, event: Event) -> None:
        """What the driver itself made: before all else."""
        self._own.append(event)
        self._some.set()

    def tell(self, key: FactKey, event: Event) -> None:
        """A fact; it replaces the one of the same key that the core has not seen yet."""
        self._facts[key] = event
        self._some.set()

    async def put(self, event: Event, size: int = 0) -> None:
        """What a peer sent, `size` bytes of it. Waits for room."""
        if self._is_full():
            async with self._room:
                await self._room.wait_for(lambda: not self._is_full())
        self._events.append((event, size))
        self._bytes += size
        self._some.set()

    async def next(self) -> Event:
        while not (self._own or self._facts or self._events):
            self._some.clear()
            await self._some.wait()
        if self._own:
            return self._own.popleft()
        if self._facts:
            return self._facts.pop(next(iter(self._facts)))
        was_full = self._is_full()
        event, size = self._events.popleft()
        self._bytes -= size
        if was_full:
            async with self._room:
                self._room.notify_all()
        return event

    def _is_full(self) -> bool:
        return len(self._events) >= self._events_max or self._bytes >= self._bytes_max
