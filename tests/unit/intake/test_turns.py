"""One user of the journal at a time, each to its end, also when its task is cancelled."""

import asyncio
import threading
import time

import pytest

from node.intake.turns import Turns


async def test_turns_never_overlap() -> None:
    turns, inside, seen = Turns(), [0], []

    def work(number: int) -> int:
        inside[0] += 1
        seen.append(inside[0])
        time.sleep(0.005)
        inside[0] -= 1
        return number

    assert await asyncio.gather(*(turns.take(work, n) for n in range(10))) == list(range(10))
    assert set(seen) == {1}


async def test_a_cancelled_turn_ends_before_its_task_does() -> None:
    turns = Turns()
    started, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait(10)
        ended.set()

    task = asyncio.ensure_future(turns.take(work))
    await asyncio.to_thread(started.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done(), "its thread still writes"
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_errors_of_the_work_are_its_callers() -> None:
    turns = Turns()

    def broken() -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        await turns.take(broken)
    assert await turns.take(lambda: 3) == 3, "the next one has its turn"
