"""The run of one leased job: the attempt, its progress reports, its outcome in Redis, and the metrics of jobs."""

import asyncio
from contextlib import suppress
from enum import StrEnum
from http import HTTPStatus

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sightline.api.problems import Code, Problem
from sightline.inference.stages import Stage, Stages
from sightline.jobs.job import Job, JobState, Lease, Outcome, Priority, StageProgress
from sightline.jobs.leases import Leases
from sightline.jobs.queue import JobQueue
from sightline.runtime.errors import describe_error, is_out_of_memory, is_shortage
from sightline.runtime.retries import retry_outages
from sightline.runtime.tasks import cancel_and_wait, cancelled
from sightline.serving.worker.attempt import JobAttempt
from sightline.serving.worker.health import RESOURCES, WorkerHealth

log = structlog.get_logger()

LABELS = ("model", "priority")
MINUTE_S, HOUR_S = 60.0, 3600.0
BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, MINUTE_S, 2 * MINUTE_S, 5 * MINUTE_S, 15 * MINUTE_S, HOUR_S, 6 * HOUR_S)

REPORT_INTERVAL_S = 0.5
RELEASE_TIMEOUT_S = 5.0
# These are not caused by the job, so the attempt does not count.
NOT_THE_JOBS_FAULT = frozenset((Code.NOT_READY, Code.OVERLOADED, Code.QUEUE_UNAVAILABLE, Code.STORAGE_UNAVAILABLE))


class AttemptStatus(StrEnum):
    """The outcome of an attempt at a job."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRYING = "retrying"  # dead, if it was the last attempt
    RETURNED = "returned"
    CANCELLED = "cancelled"
    LOST = "lost"


class JobRun:
    """The run of one leased job: makes an attempt, reports its progress, and records its outcome in Redis.

    While Redis cannot be reached, it retries until the lease is lost or the run is cancelled.
    """

    def __init__(
        self, lease: Lease, attempt: JobAttempt, leases: Leases, queue: JobQueue, health: WorkerHealth
    ) -> None:
        self.lease, self._attempt, self._leases, self._queue = lease, attempt, leases, queue
        self._health = health

    async def run(self) -> AttemptStatus | None:
        """Returns the outcome; None if the lease was lost in the meantime."""
        reporting = asyncio.create_task(self._report())
        try:
            outcome = await self._attempt.run()
        except Exception as error:
            return await self._record_error(error)
        finally:
            await cancel_and_wait(reporting)
        return await self._finish(outcome)

    async def release(self) -> AttemptStatus:
        """Returns the job to the queue if the lease is still valid; returns the outcome of the attempt."""
        with suppress(Problem, TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                if await self._leases.release(self.lease):
                    return AttemptStatus.RETURNED
                job = await self._queue.get(self.lease.job.id)
                return AttemptStatus.CANCELLED if job.state is JobState.CANCELLED else AttemptStatus.LOST
        return AttemptStatus.LOST

    async def _finish(self, outcome: Outcome) -> AttemptStatus | None:
        return (
            AttemptStatus.SUCCEEDED if await retry_outages(lambda: self._leases.finish(self.lease, outcome)) else None
        )

    async def _record_error(self, error: Exception) -> AttemptStatus | None:
        is_invalid = isinstance(error, Problem) and not is_transient(error)
        # Even alone in the process the job did not fit into memory, so another attempt would fail as well.
        too_large = self.lease.job.isolated and is_out_of_memory(error)
        if is_shortage(error) and not is_invalid and not too_large:
            log.error("job_met_shortage", **describe_error(error))
            return await self._release_for_shortage(error)
        if isinstance(error, Problem):
            return await self._record_problem(error)
        log.error("job_failed", **describe_error(error))
        return await self._record_problem(Problem(Code.INTERNAL, "The service failed on this request."))

    async def _release_for_shortage(self, error: Exception) -> AttemptStatus | None:
        """Returns the job to the queue; after a lack of memory, its next attempt runs alone."""
        self._health.report(RESOURCES)
        isolate = is_out_of_memory(error)
        released = await retry_outages(lambda: self._leases.release(self.lease, isolate=isolate))
        return AttemptStatus.RETURNED if released else None

    async def _record_problem(self, problem: Problem) -> AttemptStatus | None:
        if problem.code in NOT_THE_JOBS_FAULT:
            return AttemptStatus.RETURNED if await retry_outages(lambda: self._leases.release(self.lease)) else None
        details = problem.details(self.lease.job.request_id).model_dump(mode="json")
        transient = is_transient(problem)
        if not await retry_outages(lambda: self._leases.fail(self.lease, details, transient=transient)):
            return None
        return AttemptStatus.RETRYING if transient else AttemptStatus.FAILED

    async def _report(self) -> None:
        reported: StageProgress | None = None
        while not cancelled():
            progress = progress_of(self._attempt.stages)
            if progress != reported:
                with suppress(Problem):
                    await self._leases.report_progress(self.lease, progress)
                    reported = progress
            await asyncio.sleep(REPORT_INTERVAL_S)


def progress_of(stages: Stages) -> StageProgress:
    # The share is that of the plan's last round of inference, and stays set when the rounds are over.
    share = stages.share if stages.current is Stage.INFER else None
    return StageProgress(stages.current or Stage.READ, None if share is None else round(share, 3))


def is_transient(problem: Problem) -> bool:
    """Returns True for a fault of the service, after which another attempt may succeed."""
    return problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR


class JobMetrics:
    """Prometheus metrics of the jobs of a service, by model and priority."""

    def __init__(self, registry: CollectorRegistry, model: str, health: WorkerHealth) -> None:
        self.attempts = Counter("sightline_job_attempts", "Attempts at jobs", LABELS, registry=registry)
        self.ends = Counter(
            "sightline_job_attempt_ends",
            "Ended attempts by outcome: succeeded, failed, retrying, returned, cancelled or lost",
            (*LABELS, "end"),
            registry=registry,
        )
        self.lost_leases = Counter(
            "sightline_job_lost_leases", "Attempts that lost their lease", LABELS, registry=registry
        )
        self.in_flight = Gauge("sightline_jobs_in_flight", "Attempts in progress", LABELS, registry=registry)
        self.queue_s = _histogram("sightline_job_queue_duration_seconds", "From submission to first start", registry)
        self.run_s = _histogram("sightline_job_run_duration_seconds", "From start to end of an attempt", registry)
        self.total_s = _histogram("sightline_job_duration_seconds", "From submission to success", registry)
        takes = Gauge("sightline_service_takes_jobs", "1 while this replica takes jobs", ["model"], registry=registry)
        takes.labels(model).set_function(lambda: health.trouble is None)
        self._announce(model)

    def _announce(self, model: str) -> None:
        """Creates all counters at 0: `rate` misses the first event of a counter that begins with it."""
        for priority in Priority:
            for metric in (self.attempts, self.lost_leases, self.in_flight, self.queue_s, self.run_s, self.total_s):
                metric.labels(model, priority)
            for status in AttemptStatus:
                self.ends.labels(model, priority, status)

    def start(self, job: Job) -> None:
        labels = (job.model, job.priority)
        self.attempts.labels(*labels).inc()
        self.in_flight.labels(*labels).inc()
        if job.attempts == 1:
            self.queue_s.labels(*labels).observe(_waited_s(job))

    def end(self, job: Job, status: AttemptStatus, *, ran_s: float) -> None:
        labels = (job.model, job.priority)
        self.in_flight.labels(*labels).dec()
        self.ends.labels(*labels, status).inc()
        self.run_s.labels(*labels).observe(ran_s)
        if status is AttemptStatus.SUCCEEDED:
            self.total_s.labels(*labels).observe(_waited_s(job) + ran_s)
        if status is AttemptStatus.LOST:
            self.lost_leases.labels(*labels).inc()


def _waited_s(job: Job) -> float:
    """Returns the seconds from submission to this start, both by the clock of Redis."""
    return max(0.0, (job.started_at or job.created_at) - job.created_at)


def _histogram(name: str, help_text: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(name, help_text, LABELS, buckets=BUCKETS_S, registry=registry)
