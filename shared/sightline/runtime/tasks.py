"""Background tasks: supervised while they run, and cancelled for certain.

`asyncio.wait_for` of Python 3.11, by which redis-py writes, drops a cancellation that comes in the moment it is done. A
task that loops over Redis would then never end, so this module checks whether a task was cancelled, and cancels again.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import structlog

from sightline.runtime.errors import describe_error

log = structlog.get_logger()

RECANCEL_INTERVAL_S = 2.0  # leaves time to clear up


class TaskSupervisor:
    """The background tasks of one process, each of which must run until its block ends.

    `failure` says which task ended early, for readiness to report; None while all run. Set `stopping` when the process
    begins to stop: from then on tasks may end by themselves.
    """

    def __init__(self) -> None:
        self.failure: str | None = None
        self.stopping = False

    @asynccontextmanager
    async def running(self, name: str, work: Coroutine[Any, Any, object]) -> AsyncIterator["asyncio.Task[object]"]:
        """Runs `work`, which must not end by itself, as a task for as long as the block lasts."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._on_end)
        try:
            yield task
        finally:
            task.remove_done_callback(self._on_end)
            await cancel_and_wait(task)

    def _on_end(self, task: "asyncio.Task[object]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is None and self.stopping:
            return
        log.critical("task_ended", task=task.get_name(), **({} if error is None else describe_error(error)))
        if not self.stopping:
            self.failure = f"The background task {task.get_name()!r} ended unexpectedly."


def cancelled() -> bool:
    """Returns whether the current task was cancelled, even if the CancelledError was swallowed on its way."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextmanager
def cancellable() -> Iterator[None]:
    """Raises CancelledError at the end of the block for a cancellation that was swallowed inside."""
    task = asyncio.current_task()
    assert task is not None
    before = task.cancelling()
    yield
    if task.cancelling() > before:
        raise asyncio.CancelledError


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancels the tasks until all have ended; their results and exceptions are dropped."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=RECANCEL_INTERVAL_S)
    await asyncio.gather(*tasks, return_exceptions=True)
