"""Ending tasks for sure: `asyncio.wait_for` of Python 3.11, which redis-py sends by, may swallow a cancellation."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

AGAIN_S = 2.0  # leaves time to clear up


def cancelled() -> bool:
    """Whether this task was told to end, even if the exception that told it was swallowed on its way."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextmanager
def cancellable() -> Iterator[None]:
    """Raises CancelledError for a cancellation that came inside and got lost.

    `asyncio.wait_for` of Python 3.11, by which redis-py writes, drops one that comes in the moment it is done: a task
    that loops over Redis would then never end.
    """
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    yield
    if task.cancelling() > before:
        raise asyncio.CancelledError


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks until all have ended; how they ended is theirs to tell."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def in_background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Runs what has no end, for as long as the block lasts."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        await end(task)
        if not task.cancelled():
            task.result()
