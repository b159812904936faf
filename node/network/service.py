"""The peers' side: what members call on us. Admit, look up, answer bytes.

`Subscribe` is the one long call: a reader's frames, from a queue that never grows beyond its bound. A second stream of the same
member replaces the first, as after a connection that only one side has noticed to be dead.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpc import StatusCode

from foedus.v1 import peer_pb2 as pb
from node.network import wire
from node.network.doorkeeper import Context, Doorkeeper, R
from node.network.hosting import Hosted
from node.network.outbox import Outbox, share_of
from node.storage.errors import StorageError
from node.telemetry import Metrics, event

SERVICE: Final = pb.DESCRIPTOR.services_by_name["PeerService"].full_name
_log = logging.getLogger("foedus.network")


class PeerService:
    """The handlers, and the outboxes of those who read from us."""

    def __init__(
        self,
        door: Doorkeeper,
        hosted: Hosted,
        states: list[str],
        metrics: Metrics,
        on_reader: Callable[[int], None],
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._on_reader = on_reader
        self._door = door
        self._hosted = hosted
        self._states = states
        self._on_fatal = on_fatal
        self.readers: dict[int, Outbox] = {}
        # Requests and answers are bytes: `wire` reads and writes them.
        self.unary: dict[str, Callable[[bytes, Context], Awaitable[bytes]]] = {
            "Fetch": self._unary(wire.read_fetch, hosted.fetch, wire.write_fetched),
            "FetchRange": self._unary(wire.read_range, hosted.fetch_range, wire.write_ranged),
            "FetchBelow": self._unary(wire.read_below, hosted.fetch_below, wire.write_below_answer),
            "FetchCommits": self._unary(
                wire.read_commits, hosted.fetch_commits, wire.write_commits_answer
            ),
            "FetchListed": self._unary(
                wire.read_listed, hosted.fetch_listed, wire.write_listed_answer
            ),
            "GetNewestBlock": self._unary(
                wire.read_newest, hosted.newest, wire.write_newest_answer
            ),
            "GetCosignatures": self._unary(
                wire.read_cosignatures, hosted.cosignatures, wire.write_lines
            ),
            "HandOver": self._unary(wire.read_hand_over, hosted.hand_over, wire.write_taken),
        }
        self._dropped = metrics.counter(
            "foedus_peer_queue_overflows", "Times a slow reader's queue was dropped.", ("state",)
        )
        metrics.read_at_scrape(
            "foedus_peer_queue_bytes",
            "Bytes that wait for readers.",
            lambda: sum(box.bytes_held for box in self.readers.values()),
        )

    @property
    def outbox_bytes(self) -> tuple[int, int]:
        """What waits for all readers, and the most that may."""
        members = len(self._states)
        held = sum(box.bytes_held for box in self.readers.values())
        return held, share_of(members) * (members - 1)

    def send(self, member: int, frame: bytes) -> None:
        """Queue a frame for this member, if it reads."""
        box = self.readers.get(member)
        if box is not None and not box.push(frame):
            state = self._states[member]
            self._dropped.labels(state).inc()
            event(_log, "slow reader: queue dropped", level=logging.WARNING, peer=state)

    def close(self) -> None:
        """End all streams."""
        for box in self.readers.values():
            box.close()

    async def subscribe(self, data: bytes, context: Context) -> None:
        member, request = await self._door.admit(data, wire.read_subscribe, context)
        box = Outbox(self._hosted.newest_own_frame, bytes_max=share_of(len(self._states)))
        if (old := self.readers.pop(member, None)) is not None:
            old.close()
        self.readers[member] = box
        event(_log, "peer reads from us", peer=self._states[member], after=request.after_round)
        try:
            for frame in self._hosted.greeting(request.after_round):
                box.push(frame)
            self._hosted.reader_came(member)
            self._on_reader(member)
            await context.send_initial_metadata(())
            while (next_frame := await box.next()) is not None:
                await context.write(next_frame)
        except (StorageError, AssertionError) as err:
            await self._fatal(context, err)
        finally:
            box.close()
            if self.readers.get(member) is box:
                del self.readers[member]
                self._hosted.reader_left(member)
                event(_log, "peer reads no more", peer=self._states[member])

    def _unary(
        self, read: Callable[[bytes], R], answer: Callable[[R], Any], write: Callable[[Any], bytes]
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def handle(data: bytes, context: Context) -> bytes:
            member, request = await self._door.admit(data, read, context)
            try:
                found = write(answer(request))
            except (StorageError, AssertionError) as err:
                return await self._fatal(context, err)
            self._door.spent(member, len(found))
            return found

        return handle

    async def _fatal(self, context: Context, err: BaseException) -> bytes:
        """Nothing may be answered any more by a process that cannot trust its disk or itself."""
        self._on_fatal(err)
        await context.abort(StatusCode.UNAVAILABLE, "this node met a fault of its own and stops")
        raise AssertionError("abort raises")
