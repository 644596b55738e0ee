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


class BeingDeletedError(Problem):
    """These very bytes are being deleted, which takes a moment."""

    def __init__(self) -> None:
        detail = "There is no room for the request's bytes now; try again later."
        super().__init__(Code.STORAGE_UNAVAILABLE, detail, retry_after_s=DELETING_RETRY_AFTER_S)


class BlobReferences:
    """Which blobs are needed, and by which jobs; the bytes themselves are the blob store's."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._scripts = Scripts(redis, settings)

    async def reserve_space(self, size_bytes: int, *, job_id: str, caller: str, ttl_s: float) -> None:
        """Sets aside room for all of an upload that is to become a job, before any of it is written.

        Call it again with more as the upload grows. What has been set aside is given back when the upload is
        reserved or abandoned, or after `ttl_s`. Raises Problem STORAGE_UNAVAILABLE or TOO_MANY_REQUESTS.
        """
        answer = await self._scripts.run(
            "reserve_space", timely=True, id=job_id, caller=caller, size_bytes=size_bytes, ttl_s=ttl_s
        )
        _require_room(answer)

    async def reserve(self, blob: BlobRef, *, job_id: str, caller: str | None = None) -> None:
        """To be called before the bytes are put in their place, by uploads and by workers alike.

        Only uploads name their caller: that of a job is known. Raises Problem STORAGE_UNAVAILABLE where the store is
        full or these very bytes are being deleted, TOO_MANY_REQUESTS where the caller has its share of the store, and
        GONE where the job ended meanwhile.
        """
        size = {"sha256": blob.sha256, "size_bytes": blob.size_bytes}
        answer = await self._scripts.run("reserve", timely=True, id=job_id, blob=size, caller=caller or "")
        match answer:
            case "ended":
                raise Problem(Code.GONE, "The job ended meanwhile.")
            case "deleting":
                raise BeingDeletedError
        _require_room(answer)

    async def mark_garbage(self, *, limit: int, grace_s: float = 30.0) -> list[str]:
        """SHA-256s that nothing has needed for `grace_s`; until `collected` no one can reserve them (for a minute)."""
        return list(await self._scripts.run("mark_garbage", limit=limit, grace_s=grace_s))

    async def resolve_identity(self, found: str | None) -> str | None:
        """The identity that the blob store must have; None where the queue's bytes lie in another than `found`."""
        identity = await self._scripts.run("resolve_store", found=found, offered=uuid4().hex)
        return None if identity is None else str(identity)

    async def forget_store(self) -> None:
        """Accepts the blob store that is there now, whatever is missing in it."""
        await self._scripts.run("forget_store")

    async def reconcile_due(self) -> bool:
        """Whether it is time to `reconcile`: every hour, and at once after Redis lost its data; asking settles it."""
        return bool(await self._scripts.run("reconcile_due", repeatable=False))

    async def reconcile(self, stored: Sequence[BlobRef]) -> int:
        """Makes garbage of stored blobs that nothing is known of; returns how many."""
        return int(await self._scripts.run("reconcile", blobs=[asdict(blob) for blob in stored])) if stored else 0

    async def forget_blob(self, sha256: str) -> None:
        """The bytes are deleted."""
        await self._scripts.run("forget_blob", sha256=sha256)


def _require_room(answer: str) -> None:
    match answer:
        case "no_space":
            detail = "The store for jobs is full; try again later."
            raise Problem(Code.STORAGE_UNAVAILABLE, detail, retry_after_s=FULL_RETRY_AFTER_S)
        case "share":
            raise share_exceeded()


def share_exceeded() -> Problem:
    detail = (
        "Your uploads and results take as much of the store as one caller may have; delete jobs, or try again later."
    )
    return Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=FULL_RETRY_AFTER_S)
