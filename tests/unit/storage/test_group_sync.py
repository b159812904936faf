"""One flush for many, and never too early a one."""

import asyncio
import gc
import threading

import pytest

from node.storage.errors import WriteFailed
from node.storage.group_sync import GroupSync


class Disk:
    """A disk whose flush waits until it is let go; remembers what was written when each flush began."""

    def __init__(self) -> None:
        self.written = 0
        self.flushed = 0
        self.go = threading.Semaphore(0)
        self.began = threading.Semaphore(0)
        self.fail = False

    def flush(self) -> None:
        covers = self.written
        self.began.release()
        assert self.go.acquire(timeout=20)
        if self.fail:
            raise WriteFailed("no space")
        self.flushed = covers


async def test_who_writes_during_a_flush_waits_for_the_next_one() -> None:
    disk = Disk()
    group = GroupSync(disk.flush)

    async def write() -> None:
        disk.written += 1
        mine = disk.written
        await group.durable()
        assert disk.flushed >= mine, f"write {mine} was called durable at {disk.flushed}"

    first = asyncio.create_task(write())
    await asyncio.to_thread(disk.began.acquire)
    others = [asyncio.create_task(write()) for _ in range(10)]
    await asyncio.sleep(0)
    disk.go.release()
    await asyncio.to_thread(disk.began.acquire)
    late = asyncio.create_task(write())
    await asyncio.sleep(0)
    assert first.done()
    assert not any(task.done() for task in others)
    disk.go.release()
    disk.go.release()
    await asyncio.wait_for(asyncio.gather(first, *others, late), 20)
    assert group.flushes == 3
    group.close()


async def test_what_needs_the_flush_is_done_after_it_and_before_the_answer() -> None:
    disk = Disk()
    group = GroupSync(disk.flush)
    seen: list[tuple[str, int]] = []

    async def write(name: str) -> None:
        disk.written += 1
        mine = disk.written
        await group.durable(lambda: seen.append((name, disk.flushed)))
        assert name in dict(seen), f"{name}: answered before its own work was done"
        assert disk.flushed >= mine

    first = asyncio.create_task(write("first"))
    await asyncio.to_thread(disk.began.acquire)
    second = asyncio.create_task(write("second"))
    await asyncio.sleep(0)
    assert seen == []
    disk.go.release()
    disk.go.release()
    await asyncio.wait_for(asyncio.gather(first, second), 20)
    assert seen == [("first", 1), ("second", 2)]
    assert group.flushes == 2
    group.close()


async def test_work_after_a_flush_is_not_done_if_the_flush_failed_and_its_fault_is_told() -> None:
    disk = Disk()
    disk.go.release()
    disk.fail = True
    group = GroupSync(disk.flush)
    with pytest.raises(WriteFailed, match="no space"):
        await group.durable(lambda: pytest.fail("done on a disk that refused"))
    disk.fail = False
    disk.go.release()

    def refuse() -> None:
        raise WriteFailed("block: no space")

    with pytest.raises(WriteFailed, match="block: no space"):
        await group.durable(refuse)
    group.close()


async def test_a_failed_flush_fails_all_who_wait() -> None:
    disk = Disk()
    disk.fail = True
    group = GroupSync(disk.flush)
    first = asyncio.create_task(group.durable())
    await asyncio.to_thread(disk.began.acquire)
    second = asyncio.create_task(group.durable())
    await asyncio.sleep(0)
    disk.go.release()
    for task in (first, second):
        with pytest.raises(WriteFailed, match="no space"):
            await asyncio.wait_for(task, 20)
    group.close()


async def test_a_caller_who_gives_up_disturbs_nobody() -> None:
    disk = Disk()
    group = GroupSync(disk.flush)
    first = asyncio.create_task(group.durable())
    await asyncio.to_thread(disk.began.acquire)
    impatient, patient = (asyncio.create_task(group.durable()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    impatient.cancel()
    disk.go.release()
    disk.go.release()
    await asyncio.wait_for(patient, 20)
    assert group.flushes == 2
    group.close()


@pytest.mark.parametrize("waiters", [1, 2])
async def test_a_failure_that_nobody_waits_for_any_more_is_no_noise(waiters: int) -> None:
    """The first who meets it ends the node, and takes the others away: the log has its one line already."""
    disk = Disk()
    disk.fail = True
    group = GroupSync(disk.flush)
    noise: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    tasks = [asyncio.create_task(group.durable()) for _ in range(waiters)]
    await asyncio.to_thread(disk.began.acquire)
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    disk.go.release()
    await asyncio.to_thread(group.close)
    await asyncio.sleep(0)
    del tasks, task, group
    gc.collect()
    assert noise == []
