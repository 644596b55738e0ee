import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


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
