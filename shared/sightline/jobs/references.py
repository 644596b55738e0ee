from collections.abc import Sequence
from dataclasses import asdict
from uuid import uuid4

import redis.asyncio

from sightline.api.problems import Code, Problem
from sightline.jobs.job import BlobRef
from sightline.jobs.scripts import Scripts
from sightline.jobs.settings import JobSettings

DELETING_RETRY_AFTER_S = 1.0
FULL_RETRY_AFTER_S = 60.0


class References:
    """Which blobs are needed, and by which jobs; the bytes themselves are the blob store's."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._scripts = Scripts(redis, settings)

    async def reserve(self, blob: BlobRef, *, job_id: str) -> None:
        """To be called before the bytes are put in their place, by uploads and by workers alike.

        Raises Problem STORAGE_UNAVAILABLE where the store is full or these very bytes are being deleted, and GONE where
        the job ended meanwhile.
        """
        size = {"sha256": blob.sha256, "size_bytes": blob.size_bytes}
        match await self._scripts.run("reserve", timely=True, id=job_id, blob=size):
            case "ended":
                raise Problem(Code.GONE, "The job ended meanwhile.")
            case "deleting":
                detail = "An earlier copy of these bytes is being deleted; try again shortly."
                raise Problem(Code.STORAGE_UNAVAILABLE, detail, retry_after_s=DELETING_RETRY_AFTER_S)
            case "no_space":
                detail = "The store for jobs is full; try again later."
                raise Problem(Code.STORAGE_UNAVAILABLE, detail, retry_after_s=FULL_RETRY_AFTER_S)

    async def collect(self, *, limit: int, grace_s: float = 30.0) -> list[str]:
        """SHA-256s that nothing has needed for `grace_s`; until `collected` no one can reserve them (for a minute)."""
        return list(await self._scripts.run("collect", limit=limit, grace_s=grace_s))

    async def recognize(self, found: str | None) -> str | None:
        """The identity that the blob store must have; None where the queue's bytes lie in another than `found`."""
        identity = await self._scripts.run("store", found=found, offered=uuid4().hex)
        return None if identity is None else str(identity)

    async def reconcile_due(self) -> bool:
        """Whether it is time to `reconcile`: every hour, and at once after Redis lost its data; asking settles it."""
        return bool(await self._scripts.run("reconcile_due", repeatable=False))

    async def reconcile(self, stored: Sequence[BlobRef]) -> int:
        """Makes garbage of stored blobs that nothing is known of; returns how many."""
        return int(await self._scripts.run("reconcile", blobs=[asdict(blob) for blob in stored])) if stored else 0

    async def collected(self, sha256: str) -> None:
        """The bytes are deleted."""
        await self._scripts.run("collected", sha256=sha256)
