"""Several things at once; the first that fails ends the others."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


async def side_by_side(*parts: Coroutine[Any, Any, Answer]) -> list[Answer]:
    """What each came to, in the order given. Raises what the first one to fail raised, by itself and not in a group."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part) for part in parts]
    except BaseExceptionGroup as group:
        raise first_of(group) from None
    return [task.result() for task in running]


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a tree of groups: the one that ended the others."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
