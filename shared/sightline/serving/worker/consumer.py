"""The consumer of a model's job queue: takes as many jobs as it has slots, and runs each to its end."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from sightline.api.problems import Problem
from sightline.jobs.job import Lease
from sightline.jobs.leases import LeaseRenewer, Leases, MustRunAloneError
from sightline.jobs.queue import JobQueue
from sightline.jobs.settings import JobSettings
from sightline.runtime.errors import describe_error
from sightline.runtime.retries import repeat
from sightline.runtime.tasks import cancel_and_wait
from sightline.runtime.tracing import job_span
from sightline.serving.service import ServiceState
from sightline.serving.worker.attempt import JobAttempt, WorkerContext
from sightline.serving.worker.run import AttemptStatus, JobMetrics, JobRun

log = structlog.get_logger()

ROOM_POLL_S = 0.1
IDLE_S = 5.0  # the longest wait for a signal, in case one is lost
HEARTBEAT_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A leased job, and the task that runs it."""

    lease: Lease
    task: "asyncio.Task[None]"


class Consumer:
    """A worker of one model's queue; it holds at most `job_slots` leases, and works on each."""

    def __init__(
        self,
        context: WorkerContext,
        queue: JobQueue,
        leases: Leases,
        settings: JobSettings,
        metrics: JobMetrics,
        *,
        worker: str,
    ) -> None:
        self._context, self._queue, self._leases, self._metrics = context, queue, leases, metrics
        self._worker, self._slots = worker, context.service.settings.job_slots
        self._held: dict[str, _Held] = {}
        self._free, self._ended, self._taking = asyncio.Event(), asyncio.Event(), asyncio.Lock()
        self._free.set()
        assert settings.redis_url is not None
        self._keeper = LeaseRenewer(settings.redis_url, settings, lost=self._on_lost)

    @property
    def _model(self) -> str:
        return self._context.service.name

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works until the block ends; then jobs may finish within the drain time, and the rest is handed back."""
        self._loop = asyncio.get_running_loop()
        self._keeper.start()
        tasks = self._context.service.tasks
        try:
            async with (
                tasks.running("worker heartbeat", repeat(self._send_heartbeat)),
                tasks.running("job cancellations", repeat(self._follow_cancellations)),
                tasks.running("job consumer", repeat(self._take_one)) as taking,
            ):
                try:
                    yield
                finally:
                    self._context.service.start_draining()
                    await self._stop_taking(taking)
                    await self._finish_in_time()
        finally:
            with suppress(Problem):
                await self._leases.retire(self._model, worker=self._worker)
            await asyncio.to_thread(self._keeper.stop)

    async def _take_one(self) -> None:
        await self._free.wait()
        if self._context.health.trouble is not None:
            await self._context.health.recovered()
        # A job that is leased too early would wait here, although another worker may have room for it.
        if not self._context.service.has_room:
            await asyncio.sleep(ROOM_POLL_S)
            return
        self._ended.clear()
        try:
            lease = await self._take_lease()
        except MustRunAloneError:
            await self._wait_for_end()
            return
        if lease is None:
            await self._leases.wait_for_work(self._model, timeout_s=IDLE_S)

    async def _take_lease(self) -> Lease | None:
        async with self._taking:
            lease = await self._leases.take(self._model, worker=self._worker, busy=bool(self._held))
            if lease is not None:
                self._begin(lease)
        return lease

    async def _wait_for_end(self) -> None:
        """Waits until a job of this worker ends, or for `IDLE_S`, as another worker may take the waiting job."""
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S):
                await self._ended.wait()

    def _begin(self, lease: Lease) -> None:
        self._keeper.add(lease)
        run = JobRun(lease, JobAttempt(self._context, lease.job), self._leases, self._queue, self._context.health)
        self._held[lease.token] = _Held(lease, asyncio.create_task(self._run_job(run)))
        if len(self._held) >= self._slots or lease.job.isolated:
            self._free.clear()

    async def _run_job(self, run: JobRun) -> None:
        job, began_at, status = run.lease.job, time.monotonic(), AttemptStatus.LOST
        with (
            structlog.contextvars.bound_contextvars(request_id=job.request_id, job=job.id),
            job_span(job.model, job.request.traceparent, job=job.id, attempt=job.attempts),
        ):
            self._metrics.start(job)
            try:
                status = await self._run(run) or await run.release()
            except Exception as error:
                # Not released: the end of its lease counts as an attempt. A released job would be retried without end.
                log.error("job_left", **describe_error(error))
            finally:
                self._forget(run.lease)
                ran_s = time.monotonic() - began_at
                self._metrics.end(job, status, ran_s=ran_s)
                log.info("job", end=status, attempt=job.attempts, ran_s=round(ran_s, 3))

    async def _run(self, run: JobRun) -> AttemptStatus | None:
        try:
            return await run.run()
        except asyncio.CancelledError:
            return None  # by `_drop` or at the end: the task goes on to release the job
        finally:
            self._keeper.remove(run.lease)

    def _forget(self, lease: Lease) -> None:
        del self._held[lease.token]
        self._free.set()
        self._ended.set()

    def _on_lost(self, lease: Lease) -> None:
        """Called in the renewer's thread."""
        self._loop.call_soon_threadsafe(self._drop, lease.token)

    def _drop(self, token: str) -> None:
        if held := self._held.get(token):
            held.task.cancel()

    async def _follow_cancellations(self) -> None:
        async for job_id in self._leases.cancellations(self._model):
            for held in self._held.values():
                if held.lease.job.id == job_id:
                    held.task.cancel()

    async def _send_heartbeat(self) -> None:
        if self._context.service.state is ServiceState.READY and self._context.health.trouble is None:
            await self._leases.heartbeat(self._model, worker=self._worker, slots=self._slots)
        await asyncio.sleep(HEARTBEAT_S)

    async def _stop_taking(self, taking: "asyncio.Task[object]") -> None:
        async with self._taking:  # cancelled inside, it could hold a lease that is not in `_held`
            taking.cancel()
        await cancel_and_wait(taking)

    async def _finish_in_time(self) -> None:
        tasks = [held.task for held in self._held.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=self._context.service.drain_left_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
