"""Statistics of the queues, for operators, metrics and admission."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import redis.asyncio
from pydantic import TypeAdapter

from sightline.jobs.connection import redis_errors_as_problems
from sightline.jobs.job import Priority
from sightline.jobs.scripts import Scripts
from sightline.jobs.settings import JobSettings


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Statistics of one model's queue of one priority.

    `oldest_age_s` is the age of the oldest waiting job, 0 if none waits. `totals` count since the queue was created:
    submitted, cached, attempts, retries, lost_leases, succeeded, failed, dead, cancelled.
    """

    model: str
    priority: Priority
    waiting: int
    oldest_age_s: float
    running: int
    retrying: int
    dead: int
    totals: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """Load of a model; `run_s` is the moving average of run times, `eta_s` the time until a new job would end."""

    waiting: int
    slots: int
    run_s: float | None = None
    eta_s: float | None = None


_stats = TypeAdapter(list[QueueStats])


class QueueInspector:
    """Reads statistics of the queues; all methods raise Problem QUEUE_UNAVAILABLE."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._redis, self._scripts = redis, Scripts(redis, settings)

    async def queue_stats(self, models: Sequence[str]) -> list[QueueStats]:
        """Returns the statistics per model and priority."""
        return _stats.validate_json(await self._scripts.run("queue_stats", models=list(models)))

    async def model_load(self, model: str) -> ModelLoad:
        return ModelLoad(**json.loads(await self._scripts.run("model_load", model=model)))

    async def probe(self) -> float:
        """Writes a key; returns how far the clock of Redis is ahead of this machine's, in seconds.

        Raises Problem QUEUE_UNAVAILABLE also if Redis can be read but not written.
        """
        before_s = time.time()
        wall_s = float(await self._scripts.run("probe"))
        return wall_s - (before_s + time.time()) / 2

    async def used_bytes(self) -> int:
        """Returns the memory that Redis uses."""
        async with redis_errors_as_problems():
            return int(cast(Mapping[str, int], await self._redis.info("memory"))["used_memory"])
