"""Periodic cleanup of the queue and the blob store."""

import asyncio
import time
from contextlib import aclosing

import redis.asyncio
import structlog

from sightline.api.problems import Code, Problem
from sightline.jobs.blob_references import BlobReferences
from sightline.jobs.blob_store import BlobStore
from sightline.jobs.connection import redis_errors_as_problems
from sightline.jobs.scripts import RedisKeys, Scripts
from sightline.jobs.settings import JobSettings
from sightline.runtime.retries import repeat

log = structlog.get_logger()

INTERVAL_S = 1.0
CLEANUP_INTERVALS = 5  # expired data can wait longer than a job whose worker died
MAX_BACKOFF_S = 30.0
PAGE = 100
# Garbage is marked for a minute. A process that was held up that long must not delete bytes that were stored anew.
MAX_DELETION_S = 20.0
ABANDONED_UPLOADS_INTERVAL_S = 3600.0
ORPHAN_AGE_S = 120.0  # references come before bytes, so only the clocks of two machines can differ by this much
ABANDONED_S = 24 * 3600.0  # longer than any upload takes


class QueueMaintenance:
    """The maintenance scripts. Running one twice, or in several processes at once, does no harm."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._redis, self._keys = redis, RedisKeys(settings.redis_prefix)
        self._scripts = Scripts(redis, settings)

    async def models(self) -> list[str]:
        """Returns the models that ever had a job."""
        async with redis_errors_as_problems():
            return sorted(str(model) for model in await self._redis.smembers(self._keys.models()))

    async def recover(self, model: str) -> int:
        """Queues jobs whose lease ran out or whose retry is due; returns the number of lost leases."""
        detail = "The workers of this job stopped responding several times, so it is not tried again."
        problem = Problem(Code.UPSTREAM_FAILED, detail).details(request_id="")
        return int(await self._scripts.run("recover", model=model, problem=problem.model_dump(mode="json")))

    async def expire(self, *, limit: int = 100) -> int:
        """Releases expired results, then their jobs, and uploads that never became jobs; returns their number."""
        return int(await self._scripts.run("expire", limit=limit))


class MaintenanceTask:
    """Recovers the jobs of dead workers and deletes what is no longer needed; any number may run at once."""

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        settings: JobSettings,
        blobs: BlobStore,
        *,
        interval_s: float = INTERVAL_S,
        orphan_age_s: float = ORPHAN_AGE_S,
    ) -> None:
        self._queue, self._references = QueueMaintenance(redis, settings), BlobReferences(redis, settings)
        self._blobs, self._interval_s, self._orphan_age_s = blobs, interval_s, orphan_age_s
        self._abandoned_deleted_at = -ABANDONED_UPLOADS_INTERVAL_S

    async def run(self) -> None:
        """Runs until cancelled."""
        recovery = repeat(
            self.recover, interval_s=self._interval_s, event="queue_recovery_failed", max_wait_s=MAX_BACKOFF_S
        )
        cleanup = repeat(
            self.clean_up,
            interval_s=self._interval_s * CLEANUP_INTERVALS,
            event="queue_cleanup_failed",
            max_wait_s=MAX_BACKOFF_S,
        )
        async with asyncio.TaskGroup() as tasks:
            # Two tasks, because a blob store that hangs must not keep the jobs of dead workers waiting.
            tasks.create_task(recovery)
            tasks.create_task(cleanup)

    async def recover(self) -> None:
        """Queues once the jobs of dead workers, and those whose next attempt is due."""
        for model in await self._queue.models():
            lost = await self._queue.recover(model)
            if lost:
                log.warning("leases_lost", model=model, jobs=lost)

    async def clean_up(self) -> None:
        """Releases once what has expired, and deletes the bytes that no job needs."""
        await self._queue.expire(limit=PAGE)
        await self._blobs.verify()
        await self._reconcile()
        await self._delete_garbage()
        await self._delete_abandoned_uploads()

    async def _delete_garbage(self) -> None:
        started = time.monotonic()
        for sha256 in await self._references.mark_garbage(limit=PAGE):
            if time.monotonic() - started > MAX_DELETION_S:
                break
            await self._blobs.delete(sha256)
            await self._references.forget_blob(sha256)

    async def _reconcile(self) -> None:
        """Finds stored blobs that Redis does not list because it lost its data."""
        if not await self._references.reconcile_due():
            return
        orphans = 0
        async with aclosing(self._blobs.pages(older_than_s=self._orphan_age_s)) as pages:
            async for page in pages:
                orphans += await self._references.reconcile(page)
        if orphans:
            log.warning("orphaned_blobs_found", blobs=orphans)

    async def _delete_abandoned_uploads(self) -> None:
        if time.monotonic() - self._abandoned_deleted_at < ABANDONED_UPLOADS_INTERVAL_S:
            return
        self._abandoned_deleted_at = time.monotonic()
        deleted = await self._blobs.delete_abandoned(older_than_s=ABANDONED_S)
        if deleted:
            log.info("abandoned_uploads_deleted", uploads=deleted)
