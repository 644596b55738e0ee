"""One attempt at a job, from its stored request to its stored results."""

import time
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from sightline.api.problems import Problem
from sightline.imaging.accept import acceptable
from sightline.jobs.blobs import BlobStore
from sightline.jobs.job import BlobRef, Job, Outcome, Representation
from sightline.jobs.references import References
from sightline.serving.answering import Question, answer_in_all
from sightline.serving.hangup import due
from sightline.serving.outages import patiently
from sightline.serving.predictor import Plan, Rendered, Upload
from sightline.serving.service import ModelService
from sightline.serving.stages import Stage, Stages
from sightline.serving.stored import replay
from sightline.serving.uploads import UploadReader


@dataclass(frozen=True, slots=True)
class Workshop:
    """What attempts at the jobs of one model share."""

    service: ModelService
    reader: UploadReader
    store: BlobStore
    references: References


class Attempt:
    """Reads, answers and renders as the model's route does, but in every form that the client takes."""

    def __init__(self, shop: Workshop, job: Job) -> None:
        self.stages = Stages()
        self._shop, self._job = shop, job

    async def run(self) -> Outcome:
        """Waits while queue or store are away; raises Problem where the request or the service is at fault."""
        service = self._shop.service
        deadline = time.monotonic() + service.settings.job_deadline_s
        async with due(deadline):
            forms = await self._answer(await patiently(self._read), deadline)
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
            return await service.run(self._plan(upload), self.stages, deadline, at_once=service.settings.max_batch)
        finally:
            service.observe(self.stages)

    def _plan(self, upload: Upload) -> Plan[tuple[Rendered, ...]]:
        service, job = self._shop.service, self._job
        media_type, *others = acceptable(job.request.accept, service.predictor.info.media_types)
        question = Question(upload, media_type, job.request_id, datetime.fromtimestamp(job.created_at, UTC))
        return answer_in_all(
            service.predictor, question, service.session, service.identity, others=others, stages=self.stages
        )

    async def _keep(self, form: Rendered) -> Representation:
        blob = await patiently(lambda: self._shop.store.put(form.body, reserve=self._reserve))
        return Representation(form.media_type, blob, form.headers)

    async def _reserve(self, blob: BlobRef) -> None:
        await self._shop.references.reserve(blob, job_id=self._job.id)
