"""The core's requests to peers: each one is asked, and answered by its event or by `RequestFailed` (promise 6 of types.py)."""

import asyncio
from collections.abc import Sequence
from typing import Final

from consensus.events import (
    BelowAnswered,
    CommitsAnswered,
    Event,
    FetchAnswered,
    ListedAnswered,
    NewestAnswered,
    RangeAnswered,
    RequestFailed,
    SendBelow,
    SendCommits,
    SendFetch,
    SendListed,
    SendNewest,
    SendRange,
)
from consensus.types import CommitIndex, VerifiedBlock
from node.engine.catching_up import CommitReader
from node.engine.inbox import Inbox
from node.engine.receiving import Receiver
from node.network.hosting import Rejected
from node.network.link import Unanswered
from node.network.network import Network

Request = SendFetch | SendRange | SendBelow | SendNewest | SendCommits | SendListed
UNDER_WAY_MAX: Final = 256  # in all: answers that are being read hold memory


class Asker:
    """Requests under way are tasks of `tasks`."""

    def __init__(
        self,
        network: Network,
        receiver: Receiver,
        commits: CommitReader,
        inbox: Inbox,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._network = network
        self._receiver = receiver
        self._commits = commits
        self._inbox = inbox
        self._tasks = tasks
        self._under_way = 0

    def ask(self, request: Request) -> None:
        """Returns at once; the answer comes through the inbox."""
        self._under_way += 1
        self._tasks.create_task(self._asked(request), name=f"request {request.request}")

    async def _asked(self, request: Request) -> None:
        answer: Event
        size = 0
        try:
            if self._under_way > UNDER_WAY_MAX:
                raise Unanswered(f"{UNDER_WAY_MAX} requests are under way")
            answer, size = await self._answer(request)
        except Unanswered:
            answer = RequestFailed(peer=request.peer, request=request.request)
        except Rejected as err:
            self._network.charge(request.peer, str(err), err.points)
            answer = RequestFailed(peer=request.peer, request=request.request, refused=True)
        try:
            await self._inbox.put(answer, size)
        finally:
            self._under_way -= 1

    async def _answer(self, request: Request) -> tuple[Event, int]:
        network, peer, number = self._network, request.peer, request.request
        match request:
            case SendFetch():
                fetched = await network.fetch(peer, request.refs, request.known_round)
                blocks, size = await self._opened(fetched.blocks)
                return FetchAnswered(
                    peer=peer,
                    request=number,
                    blocks=blocks,
                    floor=fetched.floor,
                    below=fetched.below,
                ), size
            case SendRange():
                ranged = await network.fetch_range(peer, request.first, request.last)
                blocks, size = await self._opened(ranged.blocks)
                return RangeAnswered(
                    peer=peer,
                    request=number,
                    blocks=blocks,
                    complete_through=ranged.complete_through,
                    highest_round=ranged.highest_round,
                ), size
            case SendBelow():
                below = await network.fetch_below(peer, request.after_commit)
                data = [block for _, evidence in below.commits for block in evidence]
                blocks, size = await self._opened(data)
                last = below.commits[-1][0] if below.commits else request.after_commit
                return BelowAnswered(
                    peer=peer,
                    request=number,
                    floor=below.floor,
                    blocks=blocks,
                    last_commit=CommitIndex(last),
                ), size
            case SendNewest():
                newest = await network.newest(peer, request.author)
                blocks, size = await self._opened([] if newest is None else [newest])
                block = blocks[0] if blocks else None
                return NewestAnswered(peer=peer, request=number, block=block), size

            case SendCommits():
                found = await network.fetch_commits(peer, request.first, request.last)
                commits, certified = self._commits.read(found)
                size = sum(map(len, found.commits))
                return CommitsAnswered(
                    peer=peer, request=number, commits=commits, certified=certified
                ), size
            case SendListed():
                listed = await network.fetch_listed(peer, request.refs)
                blocks, size = await self._opened(listed)
                return ListedAnswered(peer=peer, request=number, blocks=blocks, size=size), size

    async def _opened(self, data: Sequence[bytes]) -> tuple[tuple[VerifiedBlock, ...], int]:
        return await self._receiver.open(data), sum(map(len, data))
