"""The job queue for clients and operators: submission, status, cancellation, and dead letters."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import cast

import redis.asyncio

from sightline.api.problems import Code, Problem
from sightline.jobs.blob_references import share_exceeded
from sightline.jobs.connection import redis_errors_as_problems
from sightline.jobs.events import JobEvent, JobEvents
from sightline.jobs.job import Job, JobState, Submission, job_from_hash, job_from_reply, submission_hash
from sightline.jobs.scripts import RedisKeys, Scripts
from sightline.jobs.settings import JobSettings

RETRY_AFTER_S = 15.0


@dataclass(frozen=True, slots=True)
class Page:
    """A page of an owner's jobs, newest first; pass `next` as `after` to get the following page."""

    jobs: tuple[Job, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """A job's position (1 is next, None is not waiting), and the time until its end (None if unknown).

    The position is exact among the current jobs, unless an owner's limit makes one of them wait.
    """

    position: int | None = None
    eta_s: float | None = None


class JobQueue:
    """The client's side of the queue; every method raises Problem QUEUE_UNAVAILABLE while Redis is unavailable."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._redis = redis
        self._keys = RedisKeys(settings.redis_prefix)
        self._scripts = Scripts(redis, settings)
        self._events = JobEvents(redis, settings)

    async def reserve_key(self, owner: str, key: str, *, job_id: str, ttl_s: float) -> str | None:
        """Reserves an idempotency key for a job whose upload is still arriving; call it again to extend the time.

        Returns the id of the job that has the key already. Raises Problem KEY_IN_USE if another upload holds it.
        """
        reply = await self._scripts.run(
            "reserve_key", timely=True, id=job_id, owner=owner, idempotency_key=key, ttl_s=ttl_s
        )
        match reply:
            case ["taken", holder]:
                return str(holder)
            case ["held"]:
                return None
        raise _key_in_use()

    async def abandon(self, job_id: str, *, owner: str, key: str | None = None) -> None:
        """Frees the key and the reserved blobs of an upload that did not become a job; does nothing for a job."""
        await self._scripts.run("abandon_upload", id=job_id, owner=owner, idempotency_key=key)

    async def submit(self, submission: Submission, *, model_sha256: str | None = None) -> Job:
        """Returns the new job, or the one (with another id) that has its idempotency key already. Safe to repeat.

        With `model_sha256`, an identical earlier result of this owner and model is reused (`cached_from`).
        Raises Problem KEY_REUSED, KEY_IN_USE, OVERLOADED, STORAGE_UNAVAILABLE or QUEUE_UNAVAILABLE.
        """
        reply = await self._scripts.run(
            "submit", timely=True, record=submission_hash(submission), model_sha256=model_sha256
        )
        match reply:
            case ["accepted", record]:
                return job_from_reply(record)
            case ["reused", holder]:
                detail = "This idempotency key was used with a different request; send a new key."
                raise Problem(Code.KEY_REUSED, detail, job=str(holder))
            case ["held"]:
                raise _key_in_use()
            case ["crowded"]:
                detail = f"Too many jobs of {submission.model} are waiting; try again later."
                raise Problem(Code.OVERLOADED, detail, retry_after_s=RETRY_AFTER_S, model=submission.model)
            case ["share"]:
                detail = f"You have as many waiting jobs of {submission.model} as one caller may have; try again later."
                raise Problem(Code.TOO_MANY_REQUESTS, detail, retry_after_s=RETRY_AFTER_S, model=submission.model)
            case ["stored_share"]:
                raise share_exceeded()
        detail = "There is no space for the request's bytes now; try again later."
        raise Problem(Code.STORAGE_UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S)

    async def get(self, job_id: str, *, owner: str | None = None) -> Job:
        """Raises Problem NOT_FOUND if there is no such job, or it belongs to another owner."""
        async with redis_errors_as_problems():
            record = cast(dict[str, str], await self._redis.hgetall(self._keys.job(job_id)))
        if not record or owner not in (None, record["owner"]):
            raise unknown_job()
        return job_from_hash(record)

    async def page(
        self,
        owner: str,
        *,
        limit: int,
        after: str | None = None,
        state: JobState | None = None,
        model: str | None = None,
    ) -> Page:
        found = await self._scripts.run("page", owner=owner, limit=limit, after=after, state=state, model=model)
        following, records = found
        return Page(tuple(job_from_reply(record) for record in records), following or None)

    async def position_of(self, job: Job) -> QueuePosition:
        return QueuePosition(**json.loads(await self._scripts.run("queue_position", id=job.id)))

    async def cancel(self, job_id: str, *, owner: str | None = None) -> Job:
        """Ends a job; an ended one keeps its state. Its request, results and idempotency key are released."""
        record = await self._scripts.run("cancel", id=job_id, owner=owner)
        if not record:
            raise unknown_job()
        return job_from_reply(record)

    async def invalidate_result(self, job_id: str) -> None:
        """Removes a damaged result from the cache and frees the job's idempotency key."""
        await self._scripts.run("invalidate_result", id=job_id)

    def events(self, job_id: str, *, after: str | None = None) -> AsyncGenerator[JobEvent | None]:
        """Yields all events since `after`, then as they happen until the job ends; None as a keep-alive."""
        return self._events.follow(job_id, after=after)

    async def has_ended(self, job_id: str, *, after: str) -> bool:
        """Returns whether the job has ended with the event `after`."""
        return await self._events.ended(job_id, after)

    def end_streams(self) -> None:
        """Ends all `events` and `wait` within a few seconds, because this process stops."""
        self._events.end_streams()

    async def wait(self, job_id: str, *, timeout_s: float) -> Job:
        """Returns the job when it has ended, the time is up, or streams end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                async with aclosing(self.events(job_id)) as events:
                    async for _ in events:
                        pass
        return await self.get(job_id)

    async def acquire_slot(self, owner: str, *, run_id: str, ttl_s: float) -> bool:
        """Counts a synchronous request against the owner's limit until `release_slot`; False: the limit is reached."""
        return bool(await self._scripts.run("acquire_slot", owner=owner, id=run_id, ttl_s=ttl_s))

    async def release_slot(self, owner: str, *, run_id: str) -> None:
        await self._scripts.run("release_slot", owner=owner, id=run_id)

    async def set_owner_limit(self, owner: str, *, max_running: int | None) -> None:
        """Sets how many jobs of an owner may run at once over all models; None: the limit of the settings."""
        await self._scripts.run("set_owner_limit", owner=owner, max_running=max_running)


def unknown_job() -> Problem:
    return Problem(Code.NOT_FOUND, "There is no such job.")


def _key_in_use() -> Problem:
    detail = "Another request with this idempotency key is still coming in."
    return Problem(Code.KEY_IN_USE, detail, retry_after_s=RETRY_AFTER_S)


class DeadLetters:
    """Operations on jobs that ran out of attempts; all methods raise Problem QUEUE_UNAVAILABLE."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._scripts = Scripts(redis, settings)

    async def list_for(self, model: str, *, limit: int = 100) -> list[Job]:
        """Lists dead jobs, oldest first within a priority; `limit` applies to each priority."""
        return [job_from_reply(record) for record in await self._scripts.run("dead_letters", model=model, limit=limit)]

    async def retry(self, job_id: str) -> Job:
        """Queues a dead or failed job again, with all attempts; does nothing for a job that has not ended.

        Raises Problem NOT_FOUND, GONE if its request was deleted, INVALID_REQUEST if it ended otherwise.
        """
        match await self._scripts.run("retry", id=job_id):
            case ["queued", record]:
                return job_from_reply(record)
            case ["gone"]:
                raise Problem(Code.GONE, "The request of this job was deleted.")
            case ["ended"]:
                raise Problem(Code.INVALID_REQUEST, "Only a job that is dead or has failed can be retried.")
        raise unknown_job()

    async def purge(self, job_id: str) -> None:
        """Ends the job if necessary, and deletes it with its pictures and results. Raises Problem NOT_FOUND."""
        if not await self._scripts.run("purge", repeatable=False, id=job_id):
            raise unknown_job()
