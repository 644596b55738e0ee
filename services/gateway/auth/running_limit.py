from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from services.gateway.auth.api_keys import Caller
from sightline.api.problems import Code, Problem
from sightline.jobs.queue import JobQueue

RETRY_AFTER_S = 2.0
MARGIN_S = 30.0


class RunningLimit:
    """Holds synchronous requests to `max_running` of their key: together with its jobs, as long as Redis can be asked.

    Without Redis it counts what runs through this gateway.
    """

    def __init__(self, queue: JobQueue | None, *, default: int | None) -> None:
        self._queue, self._default = queue, default
        self._running: Counter[str] = Counter()

    @asynccontextmanager
    async def hold(self, caller: Caller, *, longest_s: float) -> AsyncIterator[None]:
        """Raises Problem TOO_MANY_REQUESTS."""
        limit = caller.max_running or self._default
        if limit is None:
            yield
            return
        if self._running[caller.owner] >= limit:
            raise _too_many(limit)
        self._running[caller.owner] += 1
        try:
            async with self._counted_with_jobs(caller.owner, limit, longest_s):
                yield
        finally:
            self._running -= Counter([caller.owner])

    @asynccontextmanager
    async def _counted_with_jobs(self, owner: str, limit: int, longest_s: float) -> AsyncIterator[None]:
        run_id = f"request-{uuid4().hex}"
        if self._queue is None or not await self._enter(self._queue, owner, run_id, limit, longest_s):
            yield
            return
        try:
            yield
        finally:
            with suppress(Problem):
                await self._queue.leave(owner, run_id=run_id)

    async def _enter(self, queue: JobQueue, owner: str, run_id: str, limit: int, longest_s: float) -> bool:
        """Whether Redis counts it; where it cannot be asked, requests go on without."""
        try:
            entered = await queue.enter(owner, run_id=run_id, ttl_s=longest_s + MARGIN_S)
        except Problem:
            return False
        if not entered:
            raise _too_many(limit)
        return True


def _too_many(limit: int) -> Problem:
    detail = f"As many requests and jobs of this key run as may: {limit}; wait until one has ended."
    return Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=RETRY_AFTER_S, max_running=limit)
