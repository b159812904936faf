"""Asking several nodes, since a party's own node may be the one that censors it (RULINGS R59)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from foedus.v1 import client_pb2 as pb
from node.cli.client import (
    POLL_S,
    Answer,
    LedgerClient,
    Progress,
    Taken,
    state_word,
)
from node.cli.errors import (
    BadAnswer,
    ClientError,
    Dropped,
    NotHere,
    Overloaded,
    TooLate,
    Unreachable,
)
from node.signing.statements import entry_hash


@dataclass(kw_only=True)
class Submission:
    """What came of giving an entry to nodes: who took it, who did not, and how far it has come."""

    entry_hash: bytes
    taken: list[Taken] = field(default_factory=list)
    failures: list[ClientError] = field(default_factory=list)
    progress: Progress | None = None  # set when waited for


class Nodes:
    """Several nodes in the order in which they are asked. Owns its clients."""

    def __init__(
        self,
        clients: Sequence[LedgerClient],
        *,
        members: int,
        today: Callable[[], Awaitable[Sequence[LedgerClient]]] | None = None,
    ) -> None:
        """`members` of the ledger: f of them may be faulty, so f+1 nodes hold one that is not.

        `today` is asked on entering for clients to put in the place of these, where members and keys may have changed.
        """
        assert clients, "no node to ask"
        self.clients = tuple(clients)
        self.enough = (members - 1) // 3 + 1
        self._today = today

    async def __aenter__(self) -> Self:
        if self._today is not None:
            self.clients = tuple(await self._today())
            self._today = None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(client.close() for client in self.clients))

    async def first(self, ask: Callable[[LedgerClient], Awaitable[Answer]]) -> Answer:
        """The first node's answer; the next's if it is down, busy, without it or answers nonsense. Raises the last error."""
        for client in self.clients[:-1]:
            try:
                return await ask(client)
            except (Unreachable, Overloaded, NotHere, BadAnswer):
                continue
        return await ask(self.clients[-1])

    async def first_reachable(self) -> LedgerClient:
        """The first node that answers at all, for questions that one node must answer in several parts."""

        async def itself(client: LedgerClient) -> LedgerClient:
            await client.status()
            return client

        return await self.first(itself)

    async def watch(
        self, request: pb.WatchRequest, *, lost: Callable[[ClientError], None]
    ) -> AsyncIterator[pb.WatchResponse]:
        """Batches from one node; when it goes away, from the next, where the last one ended. Raises when all are gone.

        `lost` hears of each node that went. A node that gave something is asked again after the others.
        """
        barren = 0  # nodes in a row that gave nothing
        position = 0
        while True:
            client = self.clients[position % len(self.clients)]
            try:
                async for batch in client.watch(request):
                    barren = 0
                    request.first = batch.next_first
                    yield batch
                raise Unreachable(client.state, "the stream ended")
            except (Unreachable, Overloaded) as err:
                barren += 1
                if barren >= len(self.clients):
                    raise
                lost(err)
            position += 1

    async def give(self, entry: bytes, *, wanted: int = 1) -> Submission:
        """To the first `wanted` nodes that take it. Raises the first error if none does."""
        submission = Submission(entry_hash=entry_hash(entry))
        await self._give_more(entry, submission, wanted)
        return submission

    async def submit(
        self, entry: bytes, *, until_final: bool, next_after_s: float, within_s: float
    ) -> Submission:
        """Give it to one node, to f+1 when that has not included it in `next_after_s` (R59); wait until integrated or final.

        Raises the first error if no node takes it; Dropped; TooLate after `within_s`.
        """
        deadline = time.monotonic() + within_s
        submission = await self.give(entry)
        more_at = time.monotonic() + next_after_s
        pause, longest = POLL_S
        while True:
            now = await self._furthest(submission)
            submission.progress = now or submission.progress
            if now is not None and now.state == pb.ENTRY_STATE_DROPPED:
                raise Dropped(now.node, now.code)
            if now is not None and (
                now.state == pb.ENTRY_STATE_FINAL or (now.is_integrated and not until_final)
            ):
                return submission
            if time.monotonic() + pause > deadline:
                word = "not to be asked about" if now is None else state_word(now.state)
                names = ", ".join(taken.node for taken in submission.taken)
                why = f"entry {submission.entry_hash.hex()} is {word} after {within_s:g} s; given to {names}"
                raise TooLate(submission.taken[0].node, why)
            if time.monotonic() >= more_at and (now is None or not now.is_integrated):
                await self._give_more(entry, submission, self.enough)
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _give_more(self, entry: bytes, submission: Submission, wanted: int) -> None:
        """Until `wanted` nodes have taken it or all were asked. Who took it is not asked again."""
        tried = {taken.node for taken in submission.taken}
        tried |= {failure.node for failure in submission.failures}
        for client in self.clients:
            if len(submission.taken) >= wanted:
                return
            if client.state in tried:
                continue
            try:
                submission.taken.append(await client.submit(entry))
            except ClientError as err:
                submission.failures.append(err)
        if not submission.taken:
            raise submission.failures[0]

    async def _furthest(self, submission: Submission) -> Progress | None:
        """What the nodes that took it say, the best of it. A drop counts only if none has the entry."""
        holders = {taken.node for taken in submission.taken}
        asked = [client for client in self.clients if client.state in holders]
        found: list[Progress] = []
        for client in asked:
            try:
                found.append(await client.progress(submission.entry_hash))
            except ClientError:
                continue
        return max(found, key=_rank, default=None)


def _rank(progress: Progress) -> int:
    """Dropped says more than unknown, and less than anything else."""
    if progress.state == pb.ENTRY_STATE_UNKNOWN:
        return 0
    return 1 if progress.state == pb.ENTRY_STATE_DROPPED else int(progress.state)
