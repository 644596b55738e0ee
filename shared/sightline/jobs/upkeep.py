import redis.asyncio

from sightline.api.problems import Code, Problem
from sightline.jobs.connection import reachable
from sightline.jobs.keys import Keys
from sightline.jobs.scripts import Scripts
from sightline.jobs.settings import JobSettings


class Upkeep:
    """What must be done now and then by anybody; doing it twice, or in many processes, does no harm."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._redis, self._keys = redis, Keys(settings.redis_prefix)
        self._scripts = Scripts(redis, settings)

    async def models(self) -> list[str]:
        """Those that ever had a job."""
        async with reachable():
            return sorted(str(model) for model in await self._redis.smembers(self._keys.models()))

    async def recover(self, model: str) -> int:
        """Queues the jobs of silent workers and those whose retry is due; returns how many leases were lost."""
        detail = "The job's workers fell silent over and over, so it is not tried again."
        problem = Problem(Code.UPSTREAM_FAILED, detail).details(request_id="")
        return int(await self._scripts.run("recover", model=model, problem=problem.model_dump(mode="json")))

    async def expire(self, *, limit: int = 100) -> int:
        """Lets go of expired results, then of their jobs, and of uploads that came to nothing; returns how many."""
        return int(await self._scripts.run("expire", limit=limit))
