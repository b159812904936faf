"""The load generator: a process of its own that signs, submits, and sees entries become final.

    python -m node.cli.bench.load          one JSON command a line on standard input, one JSON answer a line on standard output

    {"do": "lanes", "genesis": PATH, "lanes": [{"author", "seed", "node", "seq", "prev"}, ...]}
    {"do": "prepare", "entries": N, "bytes": 300}        signs N statements, spread over the lanes, before any clock starts
    {"do": "closed", "seconds": S, "in_flight": K}       at most K entries of each node are on their way: what the network can do
    {"do": "open", "seconds": S, "rate": R}              R entries a second, whatever the network does: latency at that load

Every phase ends by itself: when its time is over, or its statements are used up, and then when all that was sent is final, or
`DRAIN_S` later. The end of the input ends the process.

How latency is measured: from the moment a call should be made (open: by the schedule, so that a late call counts against the
network) or is made (closed), to the moment at which the node that took the entries says that the *last* of that call is
final. One author's entries become final in order, so this is the most that any entry of the call took; plus up to `POLL_S`
for the question, which is asked about each node's oldest call alone.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from foedus.v1 import client_pb2 as pb
from node.cli.bench.workload import Lane
from node.cli.client import LedgerClient, node_at
from node.cli.errors import BadAnswer, ClientError, CouldNot, TooLate
from node.cli.founding import Founded, read_founded
from node.signing.acknowledgement import verify_acknowledgement
from node.signing.statements import entry_hash

POLL_S: Final = 0.02
TICK_S: Final = 0.025  # open loop: one call to each node in so long
CALL_ENTRIES_MAX: Final = 128  # closed loop: entries in one call
CALL_S: Final = 30.0
DRAIN_S: Final = 60.0
OPEN_IN_FLIGHT_S: Final = (
    10  # open loop: gives up when so many seconds' worth of entries are on their way
)
SIGNED_PER_REPORT: Final = 5_000


@dataclass(slots=True, kw_only=True)
class Call:
    """One SubmitMany under way, or taken and not yet final."""

    lane: Lane
    entries: int
    last_hash: bytes
    began: float  # event loop's clock
    final: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What one phase came to."""

    began: float
    submitted: int = 0
    final_in_time: int = 0  # seen final before the phase's time was over
    final: int = 0
    retried: int = 0  # calls that a node answered by "come back later"
    late: int = 0  # open loop: calls made more than a tick after their time
    last_final: float = 0.0
    calls: list[tuple[float, int]] = field(default_factory=list)  # latency in ms, entries

    def document(self, seconds: float) -> dict[str, Any]:
        return {
            "seconds": seconds,
            "submitted": self.submitted,
            "final_in_time": self.final_in_time,
            "final": self.final,
            "retried_calls": self.retried,
            "late_calls": self.late,
            "last_final_s": self.last_final,
            "calls": [[round(ms, 2), entries] for ms, entries in self.calls],
        }


class NodeLoad:
    """One node's part of a phase: calls made, and their way to finality."""

    def __init__(self, client: LedgerClient, lanes: Sequence[Lane], tally: Tally, end: float):
        self.lanes = tuple(lanes)
        self.in_flight = 0  # entries
        self._free: asyncio.Queue[Lane] = asyncio.Queue()
        for lane in lanes:
            self._free.put_nowait(lane)
        self._client = client
        self._tally = tally
        self._end = end
        self._pending: deque[Call] = deque()  # taken, in order of calls
        self._some = asyncio.Event()

    async def free_lane(self) -> Lane:
        """The lane that has waited longest, once there is one without an unanswered call."""
        return await self._free.get()

    def free(self, lane: Lane) -> None:
        self._free.put_nowait(lane)

    async def submit(self, lane: Lane, count: int, began: float) -> Call | None:
        """Give the lane's next statements; returns once they are acknowledged. None if the lane has none left."""
        entries = lane.take(count)
        if not entries:
            return None
        call = Call(lane=lane, entries=len(entries), last_hash=entry_hash(entries[-1]), began=began)
        self.in_flight += len(entries)
        self._tally.submitted += len(entries)
        await self._acknowledged(entries)
        self._pending.append(call)
        self._some.set()
        return call

    async def _acknowledged(self, entries: Sequence[bytes]) -> None:
        """Until the node has promised every one of these. Giving the same bytes again is harmless."""
        request = pb.SubmitManyRequest(entries=entries)
        address = self._client.address
        while True:
            try:
                answer = await self._client.stub.SubmitMany(request, timeout=CALL_S)
            except grpc.aio.AioRpcError as err:
                if err.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise ClientError(address.state, f"{err.code().name}: {err.details()}") from err
                pause_ms = 500
            else:
                pause_ms = _judge(answer, address.state)
                if not pause_ms:
                    break
            self._tally.retried += 1
            await asyncio.sleep(pause_ms / 1000)
        # Clients check every promise; here one of each call is, for their processors are not the network's.
        last = answer.results[-1].taken
        promise = verify_acknowledgement(last.acknowledgement, address.log_key)
        if promise is None or promise.entry_hash != entry_hash(entries[-1]):
            raise BadAnswer(address.state, "an acknowledgement is not of this entry by its log key")

    async def follow(self) -> None:
        """See calls become final, oldest first, until cancelled. Raises ClientError."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._pending:
                self._some.clear()
                await self._some.wait()
            call = self._pending[0]
            now = await self._client.progress(call.last_hash)
            if now.code:
                raise ClientError(now.node, f"a statement of the bench was refused: {now.code}")
            if now.state != pb.ENTRY_STATE_FINAL:
                await asyncio.sleep(POLL_S)
                continue
            self._pending.popleft()
            self._count(call, loop.time())

    def _count(self, call: Call, at: float) -> None:
        tally = self._tally
        self.in_flight -= call.entries
        tally.final += call.entries
        tally.last_final = at - tally.began
        if at <= self._end:
            tally.final_in_time += call.entries
        tally.calls.append(((at - call.began) * 1000, call.entries))
        call.final.set()


def _judge(answer: pb.SubmitManyResponse, node: str) -> int:
    """0 if all were acknowledged, milliseconds to wait if the node is full. Raises ClientError."""
    pause_ms = 0
    for result in answer.results:
        if result.WhichOneof("result") == "refusal":
            refusal = result.refusal
            if refusal.code != "OVERLOADED":
                raise ClientError(node, f"refused: {refusal.code}: {refusal.why}")
            pause_ms = max(pause_ms, refusal.retry_after_ms, 1)
        elif not result.taken.acknowledgement:
            pause_ms = max(pause_ms, 50)  # held behind one that was refused
    return pause_ms


# --- phases --------------------------------------------------------------------------------------


@asynccontextmanager
async def _phase(
    founded: Founded, lanes: Sequence[Lane], seconds: float
) -> AsyncIterator[tuple[list[NodeLoad], Tally]]:
    """Connections that stand before the clock starts, and the followers of calls. At the end all that was sent is final."""
    by_node: dict[str, list[Lane]] = {}
    for lane in lanes:
        by_node.setdefault(lane.node, []).append(lane)
    async with AsyncExitStack() as stack:
        clients = {
            state: await stack.enter_async_context(
                LedgerClient(node_at(founded.genesis, founded.chain_id, state), call_s=CALL_S)
            )
            for state in by_node
        }
        await asyncio.gather(*(client.status() for client in clients.values()))
        tally = Tally(began=asyncio.get_running_loop().time())
        end = tally.began + seconds
        loads = [NodeLoad(clients[state], group, tally, end) for state, group in by_node.items()]
        async with asyncio.TaskGroup() as followers:
            following = [followers.create_task(load.follow()) for load in loads]
            yield loads, tally
            await _drained(loads)
            for task in following:
                task.cancel()


async def _drained(loads: Sequence[NodeLoad]) -> None:
    deadline = time.monotonic() + DRAIN_S
    while left := sum(load.in_flight for load in loads):
        if time.monotonic() > deadline:
            raise TooLate("all", f"{left} entries not final {DRAIN_S:g} s after the last was sent")
        await asyncio.sleep(POLL_S)


async def closed_loop(
    founded: Founded, lanes: Sequence[Lane], seconds: float, in_flight: int
) -> Tally:
    """Each lane sends its next statements when its last ones are final: as fast as the network goes, never more than
    `in_flight` entries of one node on their way.
    """
    async with _phase(founded, lanes, seconds) as (loads, tally):
        end = tally.began + seconds

        async def run(load: NodeLoad, lane: Lane, count: int) -> None:
            loop = asyncio.get_running_loop()
            while (now := loop.time()) < end:
                call = await load.submit(lane, count, now)
                if call is None:
                    return
                await call.final.wait()

        async with asyncio.TaskGroup() as tasks:
            for load in loads:
                count = max(1, min(CALL_ENTRIES_MAX, in_flight // len(load.lanes)))
                for lane in load.lanes:
                    tasks.create_task(run(load, lane, count))
    return tally


async def open_loop(founded: Founded, lanes: Sequence[Lane], seconds: float, rate: float) -> Tally:
    """`rate` entries a second over all nodes, by the clock, in one call to each node every `TICK_S`."""
    async with _phase(founded, lanes, seconds) as (loads, tally), asyncio.TaskGroup() as tasks:
        for number, load in enumerate(loads):
            phase_s = TICK_S * number / len(loads)  # nodes are not all called at one moment
            share = rate / len(loads)
            tasks.create_task(_offer(load, tally, seconds, share, phase_s, tasks))
    return tally


async def _offer(
    load: NodeLoad,
    tally: Tally,
    seconds: float,
    rate: float,
    phase_s: float,
    tasks: asyncio.TaskGroup,
) -> None:
    loop = asyncio.get_running_loop()
    owed = 0.0

    async def send(lane: Lane, count: int, due: float) -> None:
        await load.submit(lane, count, due)
        load.free(lane)  # one call of a lane at a time: its entries must arrive in order

    for tick in range(1, int(seconds / TICK_S) + 1):
        due = tally.began + phase_s + tick * TICK_S
        await asyncio.sleep(max(0.0, due - loop.time()))
        lane = await load.free_lane()
        if loop.time() > due + TICK_S:
            tally.late += 1
        owed += rate * TICK_S
        if load.in_flight > rate * OPEN_IN_FLIGHT_S:
            why = (
                f"{load.in_flight} entries on their way at {rate:.0f} a second: it does not keep up"
            )
            raise TooLate(lane.node, why)
        tasks.create_task(send(lane, int(owed), due))
        owed -= int(owed)


# --- the process ---------------------------------------------------------------------------------


class Generator:
    """Carries out the commands of the module's text."""

    def __init__(self) -> None:
        self._founded: Founded | None = None
        self._lanes: list[Lane] = []

    def obey(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """One command's answer. Raises CouldNot."""
        match command["do"]:
            case "lanes":
                return self._take_lanes(command)
            case "prepare":
                return self._prepare(command["entries"], command["bytes"])
            case "closed":
                seconds = command["seconds"]
                phase = closed_loop(self._ledger, self._lanes, seconds, command["in_flight"])
                return asyncio.run(phase).document(seconds)
            case "open":
                seconds = command["seconds"]
                phase = open_loop(self._ledger, self._lanes, seconds, command["rate"])
                return asyncio.run(phase).document(seconds)
            case unknown:
                raise CouldNot(f"command {unknown!r}: want lanes, prepare, closed or open")

    @property
    def _ledger(self) -> Founded:
        if self._founded is None:
            raise CouldNot("no lanes yet")
        return self._founded

    def _take_lanes(self, command: Mapping[str, Any]) -> dict[str, Any]:
        self._founded = read_founded(Path(command["genesis"]))
        for item in command["lanes"]:
            lane = Lane.of_seed(
                item["author"], bytes.fromhex(item["seed"]), item["node"], self._founded.chain_id
            )
            lane.seq, lane.prev = item["seq"], bytes.fromhex(item["prev"])
            self._lanes.append(lane)
        return {"lanes": len(self._lanes)}

    def _prepare(self, entries: int, size: int) -> dict[str, Any]:
        """Statements left over from the phase before are given first: their chains go on."""
        began = time.monotonic()
        want = -(-entries // len(self._lanes))
        signed = 0
        for lane, part in _in_turns(self._lanes, want):
            lane.sign_more(part, size)
            signed += part
            if signed % SIGNED_PER_REPORT < part:
                answer({"signed": signed, "of": entries})
        return {
            "ready": sum(len(lane.ready) for lane in self._lanes),
            "seconds": time.monotonic() - began,
        }


def _in_turns(lanes: Sequence[Lane], want: int, step: int = 500) -> Iterator[tuple[Lane, int]]:
    """(lane, how many more), so that each has at least `want`; in pieces, for the sake of progress."""
    for lane in lanes:
        missing = max(0, want - len(lane.ready))
        full, rest = divmod(missing, step)
        yield from itertools.repeat((lane, step), full)
        if rest:
            yield lane, rest


def answer(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def main() -> int:
    generator = Generator()
    for line in sys.stdin:
        try:
            answer({"done": generator.obey(json.loads(line))})
        except* (CouldNot, OSError) as group:
            answer({"error": "; ".join(dict.fromkeys(map(str, _leaves(group))))})
    return 0


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[BaseException]:
    for err in group.exceptions:
        if isinstance(err, BaseExceptionGroup):
            yield from _leaves(err)
        else:
            yield err


if __name__ == "__main__":
    sys.exit(main())
