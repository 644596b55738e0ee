"""One attempt at a job, from its stored request to its stored results."""

import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from sightline.api.problems import Code, Problem
from sightline.http.deadlines import due
from sightline.http.negotiation import acceptable_types
from sightline.inference.fair_queueing import Requester
from sightline.inference.pipeline import InferenceRequest, respond_in_all_types
from sightline.inference.predictor import Plan, Rendered, Upload
from sightline.inference.stages import Stage, Stages
from sightline.jobs.blobs import BlobStore
from sightline.jobs.job import BlobRef, Job, Outcome, Priority, Representation
from sightline.jobs.references import References
from sightline.runtime.retries import patiently
from sightline.serving.service import ModelService
from sightline.serving.uploads import UploadReader
from sightline.serving.worker.health import WorkerHealth
from sightline.serving.worker.stored_request import replay

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What attempts at the jobs of one model share."""

    service: ModelService
    reader: UploadReader
    store: BlobStore
    references: References
    health: WorkerHealth


class JobAttempt:
    """Reads, answers and renders as the model's route does, but in every form that the client takes."""

    def __init__(self, shop: WorkerContext, job: Job) -> None:
        self.stages = Stages()
        self._shop, self._job = shop, job
        self._waits_for: Problem | None = None

    async def run(self) -> Outcome:
        """Waits while queue or store are away; raises Problem where the request or the service is at fault.

        Where its time runs out while it waits, what it waits for is at fault and not the job: QUEUE_UNAVAILABLE or
        STORAGE_UNAVAILABLE.
        """
        try:
            return await self._run_until_due()
        except Problem as problem:
            if problem.code is Code.DEADLINE_EXCEEDED and self._waits_for is not None:
                raise self._waits_for from problem
            raise

    async def _run_until_due(self) -> Outcome:
        service = self._shop.service
        deadline = time.monotonic() + service.settings.job_deadline_s
        async with due(deadline):
            forms = await self._answer(await self._patiently(self._read), deadline)
            results = [await self._keep(form) for form in forms]
        return Outcome(tuple(results), service.identity.sha256, self.stages.milliseconds)

    async def _read(self) -> Upload:
        stored = self._job.request
        with self.stages.measure(Stage.READ):
            async with aclosing(self._shop.store.stream(stored.body)) as body:
                try:
                    return await self._shop.reader.read(replay(stored, body))
                except Problem:
                    # To the end, because what is damaged in the store is no fault of the client's.
                    async for _ in body:
                        pass
                    raise

    async def _answer(self, upload: Upload, deadline: float) -> tuple[Rendered, ...]:
        service = self._shop.service
        try:
            return await service.run(
                self._plan(upload),
                self.stages,
                deadline,
                pictures=upload.files,
                at_once=service.settings.max_batch,
                requester=Requester(self._job.caller or self._job.owner, bulk=self._job.priority is Priority.BULK),
            )
        finally:
            service.observe(self.stages)

    def _plan(self, upload: Upload) -> Plan[tuple[Rendered, ...]]:
        service, job = self._shop.service, self._job
        media_type, *others = acceptable_types(job.request.accept, service.predictor.info.media_types)
        question = InferenceRequest(upload, media_type, job.request_id, datetime.fromtimestamp(job.created_at, UTC))
        return respond_in_all_types(
            service.predictor, question, service.session, service.identity, others=others, stages=self.stages
        )

    async def _keep(self, form: Rendered) -> Representation:
        blob = await self._patiently(lambda: self._shop.store.put(form.body, reserve=self._reserve))
        return Representation(form.media_type, blob, form.headers)

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T:
        result = await patiently(step, on_wait=self._on_wait)
        self._waits_for = None
        return result

    def _on_wait(self, problem: Problem) -> None:
        self._waits_for = problem
        if problem.code is Code.STORAGE_UNAVAILABLE:
            self._shop.health.report(problem.detail)

    async def _reserve(self, blob: BlobRef) -> None:
        await self._shop.references.reserve(blob, job_id=self._job.id)
