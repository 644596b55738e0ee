"""A job in the hands of a service, from its lease to its end."""

import asyncio
from contextlib import suppress
from enum import StrEnum
from http import HTTPStatus

import structlog

from sightline.api.problems import Code, Problem
from sightline.inference.stages import Stage, Stages
from sightline.jobs.job import Lease, Outcome, Progress, State
from sightline.jobs.leases import Leases
from sightline.jobs.queue import JobQueue
from sightline.runtime.errors import describe_error, is_out_of_memory, is_shortage
from sightline.runtime.retries import patiently
from sightline.runtime.tasks import cancelled
from sightline.serving.worker.attempt import JobAttempt
from sightline.serving.worker.health import RESOURCES, WorkerHealth

log = structlog.get_logger()

REPORT_INTERVAL_S = 0.5
LAST_WORD_S = 5.0
# What is at fault is neither the job nor this attempt at it, so that it does not count.
NOT_ITS_FAULT = frozenset((Code.NOT_READY, Code.OVERLOADED, Code.QUEUE_UNAVAILABLE, Code.STORAGE_UNAVAILABLE))


class AttemptStatus(StrEnum):
    """What became of a job that was taken."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRYING = "retrying"  # dead, if it was the last attempt
    RETURNED = "returned"
    CANCELLED = "cancelled"
    LOST = "lost"


class JobRun:
    """Runs an attempt, tells how far it is, and writes down how it ended.

    What Redis cannot take now it is told later, for as long as nobody cancels this or takes the lease.
    """

    def __init__(
        self, lease: Lease, attempt: JobAttempt, leases: Leases, queue: JobQueue, health: WorkerHealth
    ) -> None:
        self.lease, self._attempt, self._leases, self._queue = lease, attempt, leases, queue
        self._health = health

    async def run(self) -> AttemptStatus | None:
        """None where the job turned out to be no longer ours."""
        reporting = asyncio.create_task(self._report())
        try:
            outcome = await self._attempt.run()
        except Exception as error:
            return await self._end(error)
        finally:
            reporting.cancel()
        return await self._finish(outcome)

    async def let_go(self) -> AttemptStatus:
        """Hand the job back if it is still ours, else find out what became of it."""
        with suppress(Problem, TimeoutError):
            async with asyncio.timeout(LAST_WORD_S):
                if await self._leases.give_back(self.lease):
                    return AttemptStatus.RETURNED
                job = await self._queue.get(self.lease.job.id)
                return AttemptStatus.CANCELLED if job.state is State.CANCELLED else AttemptStatus.LOST
        return AttemptStatus.LOST

    async def _finish(self, outcome: Outcome) -> AttemptStatus | None:
        return AttemptStatus.SUCCEEDED if await patiently(lambda: self._leases.finish(self.lease, outcome)) else None

    async def _end(self, error: Exception) -> AttemptStatus | None:
        judged = isinstance(error, Problem) and not is_transient(error)
        too_large = self.lease.job.isolated and is_out_of_memory(error)
        if is_shortage(error) and not judged and not too_large:
            log.error("job_met_shortage", **describe_error(error))
            return await self._give_back_for_shortage(error)
        if isinstance(error, Problem):
            return await self._refuse(error)
        log.error("job_failed", **describe_error(error))
        return await self._refuse(Problem(Code.INTERNAL, "The service failed on this request."))

    async def _give_back_for_shortage(self, error: Exception) -> AttemptStatus | None:
        """A job for which the memory does not suffice runs alone next; if it does not then, the job is too large."""
        self._health.report(RESOURCES)
        isolate = is_out_of_memory(error)
        given = await patiently(lambda: self._leases.give_back(self.lease, isolate=isolate))
        return AttemptStatus.RETURNED if given else None

    async def _refuse(self, problem: Problem) -> AttemptStatus | None:
        if problem.code in NOT_ITS_FAULT:
            return AttemptStatus.RETURNED if await patiently(lambda: self._leases.give_back(self.lease)) else None
        details = problem.details(self.lease.job.request_id).model_dump(mode="json")
        transient = is_transient(problem)
        if not await patiently(lambda: self._leases.fail(self.lease, details, transient=transient)):
            return None
        return AttemptStatus.RETRYING if transient else AttemptStatus.FAILED

    async def _report(self) -> None:
        told: Progress | None = None
        while not cancelled():
            progress = progress_of(self._attempt.stages)
            if progress != told:
                with suppress(Problem):
                    await self._leases.report(self.lease, progress)
                    told = progress
            await asyncio.sleep(REPORT_INTERVAL_S)


def progress_of(stages: Stages) -> Progress:
    # What the plan told last is of its rounds, and stays when they are over.
    share = stages.share if stages.current is Stage.INFER else None
    return Progress(stages.current or Stage.READ, None if share is None else round(share, 3))


def is_transient(problem: Problem) -> bool:
    """Whether another attempt may end otherwise; a request at fault ends alike each time."""
    return problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
