"""Authors who submit all the time and write down what the nodes promised.

patient   bound to one member's node, never gives an acknowledged entry again: an acknowledgement alone must be enough, whatever
          happens to the node short of losing its disk
roaming   each entry to the next node in turn; what is not final for long is given to the next node too, as a client does that
          wants its word in the log while a state is cut off
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import grpc

from foedus.v1 import client_pb2 as pb
from foedus.v1 import client_pb2_grpc as rpc
from node.signing.keys import AgencyKeys
from node.signing.statements import entry_hash
from tests.chaos.site import Site
from tests.e2e.statements import Outbox

PAUSE_S = 0.25
CALL_S = 4.0
WAITING_MAX = 64  # entries of one author that are not final yet; then it signs no more
OVERDUE_S = 8.0  # a roaming author gives an entry to another node after so long
# A node that is gone, stopping, overloaded, or behind in the author's chain. Anything else is a wrong answer.
BEARABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNAUTHENTICATED,  # a node that begins anew does not know the author yet
}


@dataclass(frozen=True, slots=True)
class Promise:
    """One acknowledgement."""

    node: str
    at_s: float  # monotonic


@dataclass(kw_only=True)
class Records:
    """What the world was told."""

    acknowledged: dict[bytes, Promise] = field(default_factory=dict)  # by entry hash; the first
    seen_final: dict[bytes, str] = field(default_factory=dict)  # entry hash -> node that said so
    refusals: Counter[str] = field(default_factory=Counter)
    latency_s: list[float] = field(default_factory=list)  # acknowledged until seen final


@dataclass(kw_only=True)
class Author:
    """One chain. `home` is the only node a patient author speaks to."""

    outbox: Outbox
    agency: AgencyKeys
    nodes: dict[str, "rpc.LedgerServiceAsyncStub"]
    turn: int
    records: Records
    home: str | None = None
    waiting: deque[bytes] = field(default_factory=deque)  # acknowledged, not seen final, ascending
    must_repeat: bool = False  # the disk that held its entries is lost

    async def run(self, over: asyncio.Event) -> None:
        entries = self._entries()
        entry: bytes | None = None
        while not over.is_set():
            node = self.home or list(self.nodes)[self.turn % len(self.nodes)]
            self.turn += 1
            try:
                await self._prune(node)
                if self.must_repeat or (self.home is None and self._is_overdue()):
                    await self._repeat(node)
                if entry is None and len(self.waiting) < WAITING_MAX:
                    entry = next(entries)
                if entry is not None and await self._submit(node, entry):
                    self.waiting.append(entry)
                    entry = None
            except grpc.aio.AioRpcError as err:
                if err.code() not in BEARABLE:
                    raise AssertionError(f"{node}: {err.code().name}: {err.details()}") from err
                self.records.refusals[f"{node} {err.code().name}"] += 1
            await asyncio.sleep(PAUSE_S)

    def _entries(self) -> Iterator[bytes]:
        yield self.outbox.facility("dc1", countersigned_by=self.agency)
        for wh in count(1):
            yield self.outbox.energy(wh)

    async def _submit(self, node: str, entry: bytes) -> bool:
        """True once this entry is promised."""
        answer = await self.nodes[node].Submit(pb.SubmitRequest(entry=entry), timeout=CALL_S)
        if answer.state == pb.ENTRY_STATE_HELD:
            self.records.refusals[f"{node} HELD"] += 1
            return False
        promise = Promise(node, time.monotonic())
        self.records.acknowledged.setdefault(entry_hash(entry), promise)
        return True

    async def _prune(self, node: str) -> None:
        """Forget what this node says is final, oldest first."""
        while self.waiting:
            digest = entry_hash(self.waiting[0])
            request = pb.GetEntryStateRequest(entry_hash=digest)
            answer = await self.nodes[node].GetEntryState(request, timeout=CALL_S)
            if answer.state != pb.ENTRY_STATE_FINAL:
                return
            self.waiting.popleft()
            promise = self.records.acknowledged[digest]
            self.records.seen_final[digest] = node
            self.records.latency_s.append(time.monotonic() - promise.at_s)

    def _is_overdue(self) -> bool:
        if not self.waiting:
            return False
        promise = self.records.acknowledged[entry_hash(self.waiting[0])]
        return time.monotonic() - promise.at_s > OVERDUE_S

    async def _repeat(self, node: str) -> None:
        """Everything not final, in order, to this node."""
        if not self.waiting:
            self.must_repeat = False
            return
        request = pb.SubmitManyRequest(entries=list(self.waiting))
        answer = await self.nodes[node].SubmitMany(request, timeout=CALL_S)
        refused = [result.refusal for result in answer.results if result.HasField("refusal")]
        for refusal in refused:
            self.records.refusals[f"{node} {refusal.code}"] += 1
        if not refused:
            self.must_repeat = False


@dataclass(kw_only=True)
class Load:
    """All authors: one patient one for each member, the rest roaming."""

    authors: list[Author]
    records: Records
    channels: list[grpc.aio.Channel]

    async def run(self, over: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            for author in self.authors:
                tasks.create_task(author.run(over))

    def disk_lost(self, state: str) -> None:
        """Entries that only this member's mempool held are gone: their author gives them again."""
        for author in self.authors:
            if author.home == state:
                author.must_repeat = True

    def newest_promises(self) -> list[bytes]:
        """The last acknowledged entry of each author that is not seen final: its chain lies before it."""
        return [entry_hash(author.waiting[-1]) for author in self.authors if author.waiting]

    async def close(self) -> None:
        for channel in self.channels:
            await channel.close()


def make_load(site: Site) -> Load:
    cluster = site.cluster
    channels = {state: cluster.channel(state) for state in site.states}
    nodes = {state: rpc.LedgerServiceStub(channel) for state, channel in channels.items()}
    records = Records()
    authors = [
        Author(
            outbox=Outbox(keys=keys, ledger=cluster.chain_id),
            agency=cluster.homes[site.states[number % len(site.states)]].agency,
            nodes=nodes,
            turn=number,
            records=records,
            home=site.states[number] if number < len(site.states) else None,
        )
        for number, keys in enumerate(cluster.operators)
    ]
    return Load(authors=authors, records=records, channels=list(channels.values()))
