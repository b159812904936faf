"""What one reader has still to be sent: bounded, whatever the reader does (SPEC 13).

    push ──► frames in order ──► gRPC's flow control ──► the peer
      │
      └─ full: everything is dropped but the newest own block; what is missing the peer fetches

A reader that is slow is never waited for and never makes us hold more than `FRAMES_MAX` frames and its share of `BYTES_ALL_MAX`
bytes (one frame it may have in any case). Readers of one block share its frame, so it takes less than that.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

FRAMES_MAX: Final = 256
BYTES_ALL_MAX: Final = 64 * 1024 * 1024
BYTES_MAX: Final = 8 * 1024 * 1024  # of one reader, however few there are
BYTES_MIN: Final = 1024 * 1024  # of one reader, however many


def share_of(readers: int) -> int:
    """Bytes that each of so many readers may leave waiting."""
    return max(BYTES_MIN, min(BYTES_MAX, BYTES_ALL_MAX // readers))


class Outbox:
    """One reader's queue; `newest_own` gives the frame with our newest block, or None before the first."""

    def __init__(
        self,
        newest_own: Callable[[], bytes | None],
        *,
        frames_max: int = FRAMES_MAX,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        self._newest_own = newest_own
        self._frames_max = frames_max
        self._bytes_max = bytes_max
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._some = asyncio.Event()
        self._closed = False

    @property
    def bytes_held(self) -> int:
        return self._size

    def push(self, frame: bytes) -> bool:
        """False if the queue was full: it then holds the newest own block and nothing else."""
        if self._closed:
            return True
        room = len(self._frames) < self._frames_max and self._size + len(frame) <= self._bytes_max
        kept = room or not self._frames
        if not kept:
            self._frames.clear()
            self._size = 0
            newest = self._newest_own()
            if newest is None:
                return False
            frame = newest
        self._frames.append(frame)
        self._size += len(frame)
        self._some.set()
        return kept

    async def next(self) -> bytes | None:
        """The next frame, or None once the box is closed."""
        while not self._frames:
            if self._closed:
                return None
            self._some.clear()
            await self._some.wait()
        frame = self._frames.popleft()
        self._size -= len(frame)
        return frame

    def close(self) -> None:
        """The reader is gone, or another stream of the same peer replaces it."""
        self._closed = True
        self._frames.clear()
        self._size = 0
        self._some.set()
