"""Entries of a node without a seat: handed to members, who put them in their blocks.

A node takes entries from anyone and promises to see them into the log (RULINGS R58, R59). One whose state has left the treaty, or
waits for its seat, has no blocks to put them in: what it holds it gives to one member after the other, and keeps, until it finds
them in the log that it goes on reading (decision 0174).

    seat    take      from a peer without one: into a bounded queue, and from there through admission as a client's would go
    none    run       each turn the next entries to the next member; given again to another after `AGAIN_S`, if not logged by then

Nobody need believe anybody: entries are signed by their authors, and admission checks them here as there.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from node.ledger.admission import Admission
from node.ledger.mempool import Mempool
from node.network.hosting import Rejected
from node.network.link import Unanswered
from node.network.network import Network
from node.network.wire import HANDED_BYTES_MAX, HANDED_MAX
from node.signing.statements import entry_hash
from node.telemetry import event

TURN_S: Final = 0.5
AGAIN_S: Final = 5.0
QUEUE_MAX: Final = 4 * HANDED_MAX  # entries of others that wait for admission
_log = logging.getLogger("foedus.engine")


class HandingOver:
    """One per epoch. `run` until cancelled; `end` when the epoch is over: what was given is the next one's to see to."""

    def __init__(
        self,
        mempool: Mempool,
        admission: Admission,
        network: Callable[[], Network],
        *,
        seated: bool,
    ) -> None:
        self._mempool = mempool
        self._admission = admission
        self._network = network
        self._seated = seated
        self._queue: deque[bytes] = deque()
        self._some = asyncio.Event()
        self._given: deque[tuple[float, tuple[bytes, ...]]] = deque()  # when, and entry hashes
        self._turn = 0
        self._ended = False

    def take(self, entries: tuple[bytes, ...]) -> int:
        """Of a peer that has no seat; how many there is room for. One without a seat itself takes none."""
        if not self._seated or self._ended:
            return 0
        taken = entries[: QUEUE_MAX - len(self._queue)]
        self._queue.extend(taken)
        if taken:
            self._some.set()
        return len(taken)

    async def run(self) -> None:
        """Raises WriteFailed: the disk refused what was handed in."""
        if self._seated:
            await self._admit()
        else:
            await self._give()

    def end(self) -> None:
        """No more of this epoch. What no commit has brought yet is proposed, or given, again."""
        self._ended = True
        while self._given:
            self._mempool.release(self._given.popleft()[1])

    async def _admit(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._queue:
                entries = [self._queue.popleft() for _ in range(min(HANDED_MAX, len(self._queue)))]
                # What is refused here is refused everywhere, or its giver comes again.
                await self._admission.submit_many(entries)

    async def _give(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._ended:
            while self._given and loop.time() - self._given[0][0] >= AGAIN_S:
                self._mempool.release(self._given.popleft()[1])
            entries = self._mempool.take(HANDED_BYTES_MAX, HANDED_MAX)
            if not entries:
                await asyncio.sleep(TURN_S)
                continue
            self._given.append((loop.time(), tuple(map(entry_hash, entries))))
            if not await self._gave(entries):
                # As if never taken out: in order, for the next member.
                self._mempool.release(self._given.pop()[1] if self._given else ())
                await asyncio.sleep(TURN_S)

    async def _gave(self, entries: tuple[bytes, ...]) -> bool:
        """Whether the next member in turn took all of them."""
        network = self._network()
        asked = [member for member in network.members() if network.is_connected(member)]
        if not asked:
            return False
        self._turn += 1
        member = asked[self._turn % len(asked)]
        try:
            taken = await network.hand_over(member, entries)
        except Unanswered as err:
            event(_log, "nothing handed over", level=logging.DEBUG, member=member, why=str(err))
            return False
        except Rejected as err:
            network.charge(member, str(err), err.points)
            return False
        return taken >= len(entries)
