"""From the core's commits to the ledger, in a task of its own: the core goes on while the law judges.

    decided ──► queue ──► Ledger.apply_all: law, log, tree, state and the engine's record in one write each ──► told

Commits that wait together are made durable together: behind, a node waits for one flush in sixteen commits.

When the ledger is behind by `PAUSE_BYTES` or `PAUSE_COMMITS`, this node proposes no payload: what it cannot apply it should
not ask others to apply. At `BYTES_MAX` the core waits, and with it everything that peers send.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, TypeVar

from consensus.codec import encode_commit_record
from consensus.committee import Committee
from consensus.epoch import ends_epoch
from consensus.events import CommitDecided
from node.ledger.batch import CommittedBatch
from node.ledger.evidence import evidence_of
from node.ledger.ledger import Applied, Ledger

MIB: Final = 1024 * 1024
PAUSE_COMMITS: Final = 64
PAUSE_BYTES: Final = 4 * MIB
COMMITS_MAX: Final = 1_024
BYTES_MAX: Final = 32 * MIB
GROUP_COMMITS_MAX: Final = 16
GROUP_BYTES_MAX: Final = MIB
R = TypeVar("R")


class Applier:
    """One per node. `on_change` is called after each commit applied, with it."""

    def __init__(
        self,
        ledger: Ledger,
        committee: Committee,
        states: Sequence[str],
        on_change: Callable[[Applied], None],
    ) -> None:
        """`states`: of the committee's validators, in their order."""
        self._ledger = ledger
        self._committee = committee
        self._states = tuple(states)
        self._on_change = on_change
        self._queue: deque[tuple[CommitDecided, int]] = deque()
        self._bytes = 0
        self._some = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def bytes_held(self) -> int:
        return self._bytes

    @property
    def is_behind(self) -> bool:
        """True while this node should propose no payload."""
        return len(self._queue) >= PAUSE_COMMITS or self._bytes >= PAUSE_BYTES

    async def put(self, decided: CommitDecided) -> None:
        """The next commit, in order. Waits while the queue is full."""
        while len(self._queue) >= COMMITS_MAX or self._bytes >= BYTES_MAX:
            self._room.clear()
            await self._room.wait()
        size = sum(block.header.payload_len for block in decided.blocks)
        self._queue.append((decided, size))
        self._bytes += size
        self._some.set()

    async def run(self) -> None:
        """Until cancelled; then the commit under way is still finished. Raises StorageError, AssertionError."""
        while True:
            while not self._queue:
                self._some.clear()
                await self._some.wait()
            group = self._next_group()
            for applied in await _finished(self._apply(group)):
                self._bytes -= self._queue.popleft()[1]
                self._room.set()
                self._on_change(applied)

    def _next_group(self) -> list[CommitDecided]:
        """What one flush is to cover: all that waits, within bounds; of one that keeps up the next commit alone."""
        group: list[CommitDecided] = []
        size = 0
        for decided, bytes_ in itertools.islice(self._queue, GROUP_COMMITS_MAX):
            size += bytes_
            if group and size > GROUP_BYTES_MAX:
                break
            group.append(decided)
        return group

    async def _apply(self, group: Sequence[CommitDecided]) -> list[Applied]:
        work = [(self._batch(one), encode_commit_record(one.record)) for one in group]
        return await self._ledger.apply_all(work)

    def _batch(self, decided: CommitDecided) -> CommittedBatch:
        commit = decided.record.commit
        payloads = [block.payload for block in decided.blocks if block.payload]
        return CommittedBatch(
            index=commit.index,
            time_ms=commit.time_ms,
            order_digest=commit.digest,
            entries=tuple(itertools.chain.from_iterable(payloads)),
            evidence=evidence_of((block.header for block in decided.blocks), self._states),
            ends_epoch=ends_epoch(decided.record, self._committee),
        )


async def _finished(work: Coroutine[None, None, R]) -> R:
    """`work`, to its end even if we are cancelled meanwhile: a ledger stopped half-way could not be used by anybody."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        if (fault := task.exception()) is not None:
            raise fault from None
        raise
