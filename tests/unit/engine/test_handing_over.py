"""Entries of a node without a seat go to members, one after the other, until they are in the log (decision 0174)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from unittest import mock

from node.engine import handing_over
from node.engine.handing_over import QUEUE_MAX, HandingOver
from node.network.link import Unanswered
from node.signing.statements import entry_hash
from tests.unit.network.members import until


@dataclass
class FakeMempool:
    """A FAKE: entries to propose, in order; taken ones come back by `release`."""

    ready: list[bytes]
    released: list[bytes] = field(default_factory=list)
    out: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, max_bytes: int, max_count: int) -> tuple[bytes, ...]:
        taken: list[bytes] = []
        while self.ready and len(taken) < max_count:
            if sum(map(len, taken)) + len(self.ready[0]) > max_bytes:
                break
            taken.append(self.ready.pop(0))
        self.out |= {entry_hash(entry): entry for entry in taken}
        return tuple(taken)

    def release(self, hashes: Sequence[bytes]) -> None:
        back = [self.out.pop(digest) for digest in hashes]
        self.released += back
        self.ready = back + self.ready


@dataclass
class FakeNetwork:
    """A FAKE: members 0 to 2, of whom some take and some do not answer."""

    takes: dict[int, int]
    given: list[tuple[int, tuple[bytes, ...]]] = field(default_factory=list)

    def members(self) -> list[int]:
        return [0, 1, 2]

    def is_connected(self, member: int) -> bool:
        return member in self.takes

    async def hand_over(self, member: int, entries: tuple[bytes, ...]) -> int:
        self.given.append((member, entries))
        if self.takes[member] < 0:
            raise Unanswered("asleep")
        return min(self.takes[member], len(entries))


class FakeAdmission:
    """A FAKE: remembers what was submitted."""

    def __init__(self) -> None:
        self.submitted: list[bytes] = []

    async def submit_many(self, raws: Sequence[bytes]) -> list[Any]:
        self.submitted += raws
        return []


@asynccontextmanager
async def handing(
    mempool: FakeMempool, network: FakeNetwork, *, seated: bool = False
) -> AsyncIterator[tuple[HandingOver, FakeAdmission]]:
    admission = FakeAdmission()
    made = HandingOver(
        cast(Any, mempool), cast(Any, admission), lambda: cast(Any, network), seated=seated
    )
    with mock.patch.multiple(handing_over, TURN_S=0.001, AGAIN_S=0.02):
        task = asyncio.get_running_loop().create_task(made.run())
        try:
            yield made, admission
        finally:
            task.cancel()
            await asyncio.wait((task,))
    assert task.cancelled() or task.exception() is None


async def test_what_no_member_takes_goes_to_the_next_in_order() -> None:
    entries = [b"first", b"second", b"third"]
    mempool, network = FakeMempool(list(entries)), FakeNetwork({0: -1, 1: 2, 2: 9})
    async with handing(mempool, network):
        await until(lambda: any(member == 2 for member, _ in network.given), "the one who takes")
    assert {given for _, given in network.given} == {tuple(entries)}
    assert [member for member, _ in network.given[:2]] == [1, 2], "1 had no room for all"


async def test_what_is_not_in_the_log_in_time_is_given_again_to_another() -> None:
    mempool, network = FakeMempool([b"entry"]), FakeNetwork({0: 9, 1: 9})
    async with handing(mempool, network):
        await until(lambda: len(network.given) >= 2, "given twice")
    assert [given for _, given in network.given[:2]] == [(b"entry",)] * 2
    assert network.given[0][0] != network.given[1][0]


async def test_a_request_holds_no_more_than_its_bounds() -> None:
    entries = [bytes([number]) * 30_000 for number in range(5)]
    mempool, network = FakeMempool(list(entries)), FakeNetwork({1: 64})
    async with handing(mempool, network):
        await until(lambda: len(network.given) >= 3, "all of them")
    assert all(sum(map(len, given)) <= 65_536 for _, given in network.given)
    assert [entry for _, given in network.given[:3] for entry in given] == entries


async def test_nobody_to_ask_keeps_all_ready() -> None:
    mempool, network = FakeMempool([b"entry"]), FakeNetwork({})
    async with handing(mempool, network):
        await until(lambda: len(mempool.released) >= 2, "tried twice")
    assert not network.given


async def test_at_the_epochs_end_what_was_given_is_the_next_ones() -> None:
    mempool, network = FakeMempool([b"entry"]), FakeNetwork({0: 9})
    async with handing(mempool, network) as (made, _):
        await until(lambda: bool(network.given), "given")
        made.end()
        assert b"entry" in mempool.ready
        await asyncio.sleep(0.01)
        assert b"entry" in mempool.ready, "nothing is taken out any more"


async def test_a_member_admits_what_it_is_handed_and_bounds_it() -> None:
    mempool, network = FakeMempool([b"own"]), FakeNetwork({0: 9})
    async with handing(mempool, network, seated=True) as (made, admission):
        entries = tuple(b"%d" % number for number in range(QUEUE_MAX))
        assert made.take(entries[:-1]) == QUEUE_MAX - 1
        assert made.take((entries[-1], b"too much")) == 1
        assert made.take((b"too much",)) == 0
        await until(lambda: len(admission.submitted) == QUEUE_MAX, "admitted")
        assert tuple(admission.submitted) == entries
        made.end()
        assert made.take((b"late",)) == 0
    assert mempool.ready == [b"own"], "its own entries go into its own blocks"


async def test_who_has_no_seat_takes_nothing() -> None:
    async with handing(FakeMempool([]), FakeNetwork({})) as (made, admission):
        assert made.take((b"entry",)) == 0
    assert not admission.submitted
