import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from random import SystemRandom

import redis.asyncio
import structlog

from sightline.api.problems import Problem
from sightline.jobs.blobs import BlobStore
from sightline.jobs.references import References
from sightline.jobs.settings import JobSettings
from sightline.jobs.upkeep import Upkeep
from sightline.runtime.tasks import cancellable

log = structlog.get_logger()

INTERVAL_S = 1.0
CLEARING_INTERVALS = 5  # what is over can wait longer than a job whose worker died
MAX_BACKOFF_S = 30.0
DOUBLINGS = 16  # more would overflow one day
PAGE = 100
# Names that are collected are ours for a minute; whoever was held up that long must not delete what has come anew.
COLLECTED_S = 20.0
SWEEP_INTERVAL_S = 3600.0
ORPHAN_AGE_S = 120.0  # reservations come before bytes; only the clocks of machines may differ by so much
ABANDONED_S = 24 * 3600.0  # for which no upload goes on


class Janitor:
    """Brings back the jobs of workers that died, and clears away what nobody needs; any number may run at once."""

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        settings: JobSettings,
        blobs: BlobStore,
        *,
        interval_s: float = INTERVAL_S,
        orphan_age_s: float = ORPHAN_AGE_S,
    ) -> None:
        self._upkeep, self._references = Upkeep(redis, settings), References(redis, settings)
        self._blobs, self._interval_s, self._orphan_age_s = blobs, interval_s, orphan_age_s
        self._swept_at = -SWEEP_INTERVAL_S

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            # Apart, because a store that hangs must not keep the jobs of dead workers waiting.
            tasks.create_task(self._again_and_again(self.recover, self._interval_s))
            tasks.create_task(self._again_and_again(self.clear, self._interval_s * CLEARING_INTERVALS))

    async def recover(self) -> None:
        """One round of bringing back what dead workers had, and what is due for another attempt."""
        for model in await self._upkeep.models():
            lost = await self._upkeep.recover(model)
            if lost:
                log.warning("leases_lost", model=model, jobs=lost)

    async def clear(self) -> None:
        """One round of letting go of what is over, and of deleting what nobody needs."""
        await self._upkeep.expire(limit=PAGE)
        await self._blobs.verify()
        await self._reconcile()
        await self._delete_unneeded()
        await self._sweep()

    async def _again_and_again(self, work: Callable[[], Awaitable[None]], interval_s: float) -> None:
        """While Redis or the store is away, ever less often."""
        failures = 0
        while True:
            try:
                with cancellable():
                    await work()
                failures = 0
            except Problem as problem:
                failures += 1
                log.warning("janitor_waits", code=problem.code, failures=failures)
            except Exception as error:
                # Whatever is wrong with one round, there must be another.
                failures += 1
                log.error("janitor_failed", error=type(error).__name__)
            longest_s = min(interval_s * 2.0 ** min(failures, DOUBLINGS), max(interval_s, MAX_BACKOFF_S))
            await asyncio.sleep(SystemRandom().uniform(longest_s / 2, longest_s))

    async def _delete_unneeded(self) -> None:
        started = time.monotonic()
        for sha256 in await self._references.collect(limit=PAGE):
            if time.monotonic() - started > COLLECTED_S:
                break
            await self._blobs.delete(sha256)
            await self._references.collected(sha256)

    async def _reconcile(self) -> None:
        """Finds blobs that a Redis without its data forgot."""
        if not await self._references.reconcile_due():
            return
        orphans = 0
        async with aclosing(self._blobs.pages(older_than_s=self._orphan_age_s)) as pages:
            async for page in pages:
                orphans += await self._references.reconcile(page)
        if orphans:
            log.warning("orphaned_blobs_found", blobs=orphans)

    async def _sweep(self) -> None:
        if time.monotonic() - self._swept_at < SWEEP_INTERVAL_S:
            return
        self._swept_at = time.monotonic()
        swept = await self._blobs.sweep(older_than_s=ABANDONED_S)
        if swept:
            log.info("abandoned_uploads_deleted", uploads=swept)
