import json
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from random import SystemRandom
from typing import Any

import redis.asyncio

from sightline.jobs.job import Lease, Outcome, Progress
from sightline.jobs.keys import Keys
from sightline.jobs.records import job_of_reply, results_json
from sightline.jobs.scripts import Scripts
from sightline.jobs.settings import JobSettings
from sightline.jobs.streams import newest, read


class MustRunAlone(Exception):
    """The next job must have a worker to itself, and this worker holds other jobs."""


class Leases:
    """What workers do with jobs; every method raises Problem QUEUE_UNAVAILABLE while Redis is away.

    Methods that return a bool tell whether the lease is (or was) ours: after False, the run is to be dropped.
    """

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._redis, self._keys = redis, Keys(settings.redis_prefix)
        self._scripts = Scripts(redis, settings)
        self._seen: dict[str, str] = {}  # the last wake-up call of each model

    async def take(self, model: str, *, worker: str, busy: bool = False) -> Lease | None:
        """The next job, by priority and turn; None where none may start now.

        Raises MustRunAlone where that job is `isolated` and the worker is `busy` with others.
        """
        token = uuid.uuid4().hex
        # Run again, it would take another job; one that was taken without anybody knowing comes back by its lease.
        taker = {"worker": worker, "token": token, "busy": busy}
        record = await self._scripts.run("take", repeatable=False, timely=True, model=model, **taker)
        if record == "alone":
            raise MustRunAlone
        return Lease(job_of_reply(record), token) if record else None

    async def report(self, lease: Lease, progress: Progress) -> bool:
        return await self._end("report", lease, progress=json.dumps(asdict(progress)))

    async def finish(self, lease: Lease, outcome: Outcome) -> bool:
        return await self._end(
            "finish",
            lease,
            results=results_json(outcome.results),
            stages_ms=json.dumps(dict(outcome.stages_ms)),
            model_sha256=outcome.model_sha256,
        )

    async def fail(self, lease: Lease, problem: Mapping[str, Any], *, transient: bool) -> bool:
        """Tries again later if `transient` and attempts are left; `problem` is a dump of ProblemDetails."""
        text = json.dumps(dict(problem))
        return await self._end("fail", lease, problem=text, transient=transient, jitter=SystemRandom().random())

    async def give_back(self, lease: Lease, *, isolate: bool = False) -> bool:
        """For any worker to take at once; the attempt does not count. With `isolate` it runs alone from now on."""
        return await self._end("give_back", lease, isolate=isolate)

    async def beat(self, model: str, *, worker: str, slots: int) -> None:
        """Says that a worker is there, and how many jobs it runs at once; due again well within a lease."""
        await self._scripts.run("beat", model=model, worker=worker, slots=slots)

    async def retire(self, model: str, *, worker: str) -> None:
        """Says that a worker takes no more."""
        await self._scripts.run("beat", model=model, worker=worker)

    async def wait_for_work(self, model: str, *, timeout_s: float) -> None:
        """Returns when a job may have come since the last call, at once on the first, or when the time is up."""
        wake = self._keys.wake(model)
        if model not in self._seen:
            self._seen[model] = await newest(self._redis, wake)
            return
        for entry in await read(self._redis, wake, after=self._seen[model], wait_s=timeout_s):
            self._seen[model] = entry.id

    async def cancellations(self, model: str) -> AsyncIterator[str]:
        """Ids of jobs that were cancelled while they ran, from now on; a hint only, the keeper learns it too."""
        stream = self._keys.cancelled(model)
        cursor = await newest(self._redis, stream)
        while True:
            for entry in await read(self._redis, stream, after=cursor):
                yield entry.fields["id"]
                cursor = entry.id

    async def _end(self, script: str, lease: Lease, **arguments: Any) -> bool:
        return bool(await self._scripts.run(script, id=lease.job.id, token=lease.token, **arguments))
