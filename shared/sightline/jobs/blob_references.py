"""References from jobs to blobs, and the space that callers take in the blob store."""

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
    """The same bytes are being deleted at this moment; a retry after a second succeeds."""

    def __init__(self) -> None:
        detail = "There is no space for the request's bytes now; try again later."
        super().__init__(Code.STORAGE_UNAVAILABLE, detail, retry_after_s=DELETING_RETRY_AFTER_S)


class BlobReferences:
    """Records in Redis which jobs need which blobs; the bytes are in the blob store."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._scripts = Scripts(redis, settings)

    async def reserve_space(self, size_bytes: int, *, job_id: str, caller: str, ttl_s: float) -> None:
        """Reserves space for a whole upload that is to become a job, before any of it is written.

        Call it again with more as the upload grows. The space is released when the upload is reserved or abandoned,
        or after `ttl_s`. Raises Problem STORAGE_UNAVAILABLE or TOO_MANY_REQUESTS.
        """
        answer = await self._scripts.run(
            "reserve_space", timely=True, id=job_id, caller=caller, size_bytes=size_bytes, ttl_s=ttl_s
        )
        _require_room(answer)

    async def reserve(self, blob: BlobRef, *, job_id: str, caller: str | None = None) -> None:
        """Adds a reference; uploads and workers call it before the bytes get their name in the store.

        Only uploads pass their caller; that of a job is known. Raises Problem STORAGE_UNAVAILABLE if the store is full
        or the same bytes are being deleted, TOO_MANY_REQUESTS if the caller has used its share of the store, and GONE
        if the job has ended.
        """
        size = {"sha256": blob.sha256, "size_bytes": blob.size_bytes}
        answer = await self._scripts.run("reserve", timely=True, id=job_id, blob=size, caller=caller or "")
        match answer:
            case "ended":
                raise Problem(Code.GONE, "The job has ended in the meantime.")
            case "deleting":
                raise BeingDeletedError
        _require_room(answer)

    async def mark_garbage(self, *, limit: int, grace_s: float = 30.0) -> list[str]:
        """Returns digests without references for `grace_s`; for a minute, or until `forget_blob`, they are locked."""
        return list(await self._scripts.run("mark_garbage", limit=limit, grace_s=grace_s))

    async def resolve_identity(self, found: str | None) -> str | None:
        """Returns the identity that the store must have; None if `found` is not the store with the queue's bytes."""
        identity = await self._scripts.run("resolve_store", found=found, offered=uuid4().hex)
        return None if identity is None else str(identity)

    async def forget_store(self) -> None:
        """Accepts the current blob store, whatever is missing in it."""
        await self._scripts.run("forget_store")

    async def reconcile_due(self) -> bool:
        """Returns whether to `reconcile` now: hourly, and soon after Redis lost its data. Schedules the next time."""
        return bool(await self._scripts.run("reconcile_due", repeatable=False))

    async def reconcile(self, stored: Sequence[BlobRef]) -> int:
        """Marks stored blobs that Redis does not list as garbage; returns their number."""
        return int(await self._scripts.run("reconcile", blobs=[asdict(blob) for blob in stored])) if stored else 0

    async def forget_blob(self, sha256: str) -> None:
        """Records that the bytes were deleted."""
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
        "Your uploads and results use as much of the store as one caller may have; delete jobs, or try again later."
    )
    return Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=FULL_RETRY_AFTER_S)
