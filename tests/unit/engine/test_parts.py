"""The parts of the engine one by one: clock, inbox, recent blocks, own payload."""

import asyncio
import itertools
from typing import Any

import pytest

from consensus.events import (
    Event,
    PayloadPending,
    PeerConnected,
    PeerDisconnected,
    RequestFailed,
    TimerFired,
)
from consensus.types import ValidatorIndex, VerifiedBlock
from node.engine.clock import SlewedClock
from node.engine.inbox import Inbox
from node.engine.recent import RecentBlocks
from tests.unit.engine.nodes import block_of, data_of
from tests.unit.ledger.founding import found

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND


# --- clock ---------------------------------------------------------------------------------------


class Machine:
    """A FAKE of the machine's two clocks."""

    wall = 1_700_000_000 * SECOND
    tick = 55 * SECOND

    def passes(self, nanoseconds: int) -> None:
        self.wall += nanoseconds
        self.tick += nanoseconds


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_step_of_the_wall_clock_is_followed_slowly_and_never_backwards(step: int) -> None:
    machine = Machine()
    clock = SlewedClock(lambda: machine.wall, lambda: machine.tick)
    before = clock.now_ms()
    assert before == 1_700_000_000_000
    machine.wall += step
    seen = [clock.now_ms()]
    assert seen[0] == before
    for _ in range(100):
        machine.passes(SECOND)
        seen.append(clock.now_ms())
    gained = [later - earlier for earlier, later in itertools.pairwise(seen)]
    assert all(995 <= gain <= 1005 for gain in gained)
    assert all((gain > 1000) == (step > 0) for gain in gained)
    for _ in range(300):
        machine.passes(HOUR)
        clock.now_ms()
    assert clock.now_ms() == machine.wall // 1_000_000


# --- inbox ---------------------------------------------------------------------------------------


def failed(number: int) -> Event:
    return RequestFailed(peer=ValidatorIndex(1), request=number)


async def test_own_before_facts_before_events_and_only_the_newest_fact() -> None:
    inbox = Inbox()
    await inbox.put(failed(1))
    await inbox.put(failed(2))
    inbox.tell(("payload", 0), PayloadPending(True))
    inbox.tell(("reader", 3), PeerConnected(ValidatorIndex(3)))
    inbox.tell(("payload", 0), PayloadPending(False))
    inbox.tell(("reader", 3), PeerDisconnected(ValidatorIndex(3)))
    inbox.put_own(TimerFired())
    got = [await inbox.next() for _ in range(5)]
    assert got == [
        TimerFired(),
        PayloadPending(False),
        PeerDisconnected(ValidatorIndex(3)),
        failed(1),
        failed(2),
    ]


@pytest.mark.parametrize(("bounds", "size"), [({"events_max": 2}, 0), ({"bytes_max": 100}, 50)])
async def test_who_brings_more_than_fits_waits(bounds: dict[str, int], size: int) -> None:
    inbox = Inbox(**bounds)
    await inbox.put(failed(1), size)
    await inbox.put(failed(2), size)
    third = asyncio.ensure_future(inbox.put(failed(3), size))
    await asyncio.sleep(0.01)
    assert not third.done()
    assert len(inbox) == 2
    assert await inbox.next() == failed(1)
    await asyncio.wait_for(third, 1)
    assert [await inbox.next(), await inbox.next()] == [failed(2), failed(3)]


# --- recent blocks -------------------------------------------------------------------------------


def test_only_equal_bytes_are_a_copy() -> None:
    founding = found()
    block = block_of(founding, 1, payload=(b"entry",))
    recent = RecentBlocks()
    recent.add(block, data_of(block))
    ref, data = block.block.ref, data_of(block)
    assert recent.copy_of(ref, bytes(bytearray(data))) is block
    assert recent.copy_of(ref, data[:-1] + bytes([data[-1] ^ 1])) is None
    assert recent.data(ref) == data
    assert recent.data_of(block.block) == data


def test_recent_blocks_are_bounded_by_bytes() -> None:
    founding = found()
    recent = RecentBlocks(bytes_max=20_000)
    blocks: list[VerifiedBlock] = []
    for number in range(20):
        blocks.append(block_of(founding, 1, round_=number + 1, payload=(bytes(4_000),)))
        recent.add(blocks[-1], data_of(blocks[-1]))
    assert len(recent) == 4
    assert recent.data(blocks[0].block.ref) is None
    assert recent.data_of(blocks[0].block) == data_of(blocks[0])  # encoded anew
    assert recent.data(blocks[-1].block.ref) is not None


def test_another_signature_of_one_name_does_not_replace_the_first() -> None:
    founding = found()
    block = block_of(founding, 1)
    recent = RecentBlocks()
    recent.add(block, data_of(block))
    other: Any = VerifiedBlock(block.block)
    recent.add(other, b"other bytes")
    assert recent.data(block.block.ref) == data_of(block)
