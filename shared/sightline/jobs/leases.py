"""Leases: how workers take jobs, renew their claims and end jobs."""

import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from random import SystemRandom
from typing import Any

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from sightline.jobs.connection import connect_sync, newest_id, read_stream
from sightline.jobs.job import Lease, Outcome, StageProgress, job_from_reply, results_json
from sightline.jobs.scripts import RedisKeys, Scripts, script_arguments, script_source
from sightline.jobs.settings import JobSettings

log = structlog.get_logger()
RETRY_WAIT_S = 0.5


class MustRunAloneError(Exception):
    """The next job must run alone, and this worker holds other jobs."""


class Leases:
    """The worker's side of the queue; every method raises Problem QUEUE_UNAVAILABLE while Redis is unavailable.

    Methods that return a bool return whether this worker held the lease. After False, the worker must drop the run.
    """

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._redis, self._keys = redis, RedisKeys(settings.redis_prefix)
        self._scripts = Scripts(redis, settings)
        self._seen: dict[str, str] = {}  # id of the last wake-up entry of each model

    async def take(self, model: str, *, worker: str, busy: bool = False) -> Lease | None:
        """Takes the next job by priority and turn; returns None if no job may start now.

        Raises MustRunAloneError if that job is `isolated` and the worker is `busy` with others.
        """
        token = uuid.uuid4().hex
        # Not repeatable: a second run would take another job. If the reply is lost, the lease of the job runs out.
        taker = {"worker": worker, "token": token, "busy": busy}
        record = await self._scripts.run("take", repeatable=False, timely=True, model=model, **taker)
        if record == "alone":
            raise MustRunAloneError
        return Lease(job_from_reply(record), token) if record else None

    async def report_progress(self, lease: Lease, progress: StageProgress) -> bool:
        return await self._end("report_progress", lease, progress=json.dumps(asdict(progress)))

    async def finish(self, lease: Lease, outcome: Outcome) -> bool:
        return await self._end(
            "finish",
            lease,
            results=results_json(outcome.results),
            stages_ms=json.dumps(dict(outcome.stages_ms)),
            model_sha256=outcome.model_sha256,
        )

    async def fail(self, lease: Lease, problem: Mapping[str, Any], *, transient: bool) -> bool:
        """Ends an attempt; retries if `transient` and attempts are left. `problem` is a dump of ProblemDetails."""
        text = json.dumps(dict(problem))
        return await self._end("fail", lease, problem=text, transient=transient, jitter=SystemRandom().random())

    async def release(self, lease: Lease, *, isolate: bool = False) -> bool:
        """Returns the job to the queue; the attempt does not count. With `isolate` it runs alone from now on."""
        return await self._end("release", lease, isolate=isolate)

    async def heartbeat(self, model: str, *, worker: str, slots: int) -> None:
        """Registers a worker and its number of slots; must be repeated well within the duration of a lease."""
        await self._scripts.run("heartbeat", model=model, worker=worker, slots=slots)

    async def retire(self, model: str, *, worker: str) -> None:
        """Unregisters a worker that takes no more jobs."""
        await self._scripts.run("heartbeat", model=model, worker=worker)

    async def wait_for_work(self, model: str, *, timeout_s: float) -> None:
        """Waits until a job may have arrived since the last call, at most `timeout_s`; the first call does not wait."""
        wake = self._keys.wake(model)
        if model not in self._seen:
            self._seen[model] = await newest_id(self._redis, wake)
            return
        for entry in await read_stream(self._redis, wake, after=self._seen[model], wait_s=timeout_s):
            self._seen[model] = entry.id

    async def cancellations(self, model: str) -> AsyncIterator[str]:
        """Yields ids of running jobs that are cancelled from now on; a hint, as renewing the lease detects it too."""
        stream = self._keys.cancelled(model)
        cursor = await newest_id(self._redis, stream)
        while True:
            for entry in await read_stream(self._redis, stream, after=cursor):
                yield entry.fields["id"]
                cursor = entry.id

    async def _end(self, script: str, lease: Lease, **arguments: Any) -> bool:
        return bool(await self._scripts.run(script, id=lease.job.id, token=lease.token, **arguments))


class LeaseRenewer:
    """Renews leases in a separate thread, so that a blocked event loop loses none.

    `lost` is called in that thread, once for each lease that was lost or whose job was cancelled. While Redis is
    unavailable leases are kept; whether they are still valid is known when Redis is back.
    """

    def __init__(self, url: str, settings: JobSettings, *, lost: Callable[[Lease], None]) -> None:
        self._settings, self._lost = settings, lost
        self._redis = connect_sync(url)
        self._renew = self._redis.register_script(script_source("renew"))
        self._leases: dict[str, Lease] = {}  # by token
        self._changing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-renewer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops renewing; leases that were not ended run out."""
        self._stopping.set()
        self._thread.join()
        self._redis.close()

    def add(self, lease: Lease) -> None:
        with self._changing:
            self._leases[lease.token] = lease

    def remove(self, lease: Lease) -> None:
        with self._changing:
            self._leases.pop(lease.token, None)

    def _run(self) -> None:
        wait_s = self._settings.lease_s / 3
        while not self._stopping.wait(wait_s):
            wait_s = self._settings.lease_s / 3 if self._renew_all() else min(wait_s, RETRY_WAIT_S)

    def _renew_all(self) -> bool:
        with self._changing:
            leases = dict(self._leases)
        if not leases:
            return True
        held = [(lease.job.id, token) for token, lease in leases.items()]
        keys, args = script_arguments(self._settings, {"leases": held})
        try:
            lost = self._renew(keys=keys, args=args)
        except RedisError as error:
            log.warning("leases_not_renewed", leases=len(leases), error=type(error).__name__)
            return False
        for token in lost:
            self._give_up(leases[token])
        return True

    def _give_up(self, lease: Lease) -> None:
        with self._changing:
            ours = self._leases.pop(lease.token, None)
        if ours:  # it may have been removed because its run has just ended
            log.warning("lease_lost", job=lease.job.id)
            self._lost(lease)
