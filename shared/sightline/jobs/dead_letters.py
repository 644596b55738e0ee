import redis.asyncio

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Job
from sightline.jobs.queue import unknown
from sightline.jobs.records import job_of_reply
from sightline.jobs.scripts import Scripts
from sightline.jobs.settings import JobSettings


class DeadLetters:
    """What operators do with jobs that ran out of attempts; all methods raise Problem QUEUE_UNAVAILABLE."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._scripts = Scripts(redis, settings)

    async def of(self, model: str, *, limit: int = 100) -> list[Job]:
        """Oldest first within a priority; `limit` is for each priority."""
        return [job_of_reply(record) for record in await self._scripts.run("dead", model=model, limit=limit)]

    async def retry(self, job_id: str) -> Job:
        """Queues a dead or failed job anew, with all its attempts; one that is on its way already is left alone.

        Raises Problem NOT_FOUND, GONE where its request was deleted, INVALID_REQUEST where it ended otherwise.
        """
        match await self._scripts.run("retry", id=job_id):
            case ["queued", record]:
                return job_of_reply(record)
            case ["gone"]:
                raise Problem(Code.GONE, "The request of this job was deleted.")
            case ["ended"]:
                raise Problem(Code.INVALID_REQUEST, "Only a job that is dead or has failed can be retried.")
        raise unknown()

    async def purge(self, job_id: str) -> None:
        """Ends the job if it still lives, and forgets it with all it has. Raises Problem NOT_FOUND."""
        if not await self._scripts.run("purge", repeatable=False, id=job_id):
            raise unknown()
