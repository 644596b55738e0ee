"""One attempt at a job, from its stored request to its stored results."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.types import Message

from sightline.api.problems import Code, Problem
from sightline.http.deadlines import enforce_deadline
from sightline.http.negotiation import acceptable_types
from sightline.inference.fair_queue import Requester
from sightline.inference.pipeline import InferenceRequest, respond_in_all_types
from sightline.inference.predictor import Plan, Rendered, Upload
from sightline.inference.stages import Stage, Stages
from sightline.jobs.blob_references import BlobReferences
from sightline.jobs.blob_store import BlobStore
from sightline.jobs.job import BlobRef, Job, Outcome, Priority, Representation, StoredRequest
from sightline.runtime.retries import retry_outages
from sightline.serving.service import ModelService
from sightline.serving.uploads import UploadReader
from sightline.serving.worker.health import WorkerHealth

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The parts that all attempts of one worker share."""

    service: ModelService
    reader: UploadReader[Any]
    store: BlobStore
    references: BlobReferences
    health: WorkerHealth


class JobAttempt:
    """One attempt at a job: reads, predicts and renders as the model's route does, in every accepted media type."""

    def __init__(self, context: WorkerContext, job: Job) -> None:
        self.stages = Stages()
        self._context, self._job = context, job
        self._outage: Problem | None = None

    async def run(self) -> Outcome:
        """Returns the stored results; waits while the queue or the store cannot be reached.

        Raises Problem where the request or the service is at fault. Where the time runs out during an outage, the
        outage is at fault and not the job: QUEUE_UNAVAILABLE or STORAGE_UNAVAILABLE.
        """
        try:
            return await self._run_until_due()
        except Problem as problem:
            if problem.code is Code.DEADLINE_EXCEEDED and self._outage is not None:
                raise self._outage from problem
            raise

    async def _run_until_due(self) -> Outcome:
        service = self._context.service
        deadline = time.monotonic() + service.settings.job_deadline_s
        async with enforce_deadline(deadline):
            renderings = await self._predict(await self._retry_outages(self._read), deadline)
            results = [await self._store(rendered) for rendered in renderings]
        return Outcome(tuple(results), service.identity.sha256, self.stages.milliseconds)

    async def _read(self) -> Upload[Any]:
        stored = self._job.request
        with self.stages.measure(Stage.READ):
            async with aclosing(self._context.store.stream(stored.body)) as body:
                try:
                    return await self._context.reader.read(replay(stored, body))
                except Problem:
                    # Read to the end: the store checks the digest there, and damage in the store is not the client's.
                    async for _ in body:
                        pass
                    raise

    async def _predict(self, upload: Upload[Any], deadline: float) -> tuple[Rendered, ...]:
        service = self._context.service
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

    def _plan(self, upload: Upload[Any]) -> Plan[tuple[Rendered, ...]]:
        service, job = self._context.service, self._job
        media_type, *others = acceptable_types(job.request.accept, service.predictor.declaration.media_types)
        request = InferenceRequest(upload, media_type, job.request_id, datetime.fromtimestamp(job.created_at, UTC))
        return respond_in_all_types(
            service.predictor,
            request,
            service.session,
            service.identity,
            others=others,
            stages=self.stages,
            seal=service.seal,
        )

    async def _store(self, rendered: Rendered) -> Representation:
        blob = await self._retry_outages(lambda: self._context.store.put(rendered.body, reserve=self._reserve))
        return Representation(rendered.media_type, blob, rendered.headers)

    async def _retry_outages(self, step: Callable[[], Awaitable[T]]) -> T:
        result = await retry_outages(step, on_wait=self._on_outage)
        self._outage = None
        return result

    def _on_outage(self, error: Exception) -> None:
        assert isinstance(error, Problem)
        self._outage = error
        if error.code is Code.STORAGE_UNAVAILABLE:
            self._context.health.report(error.detail)

    async def _reserve(self, blob: BlobRef) -> None:
        await self._context.references.reserve(blob, job_id=self._job.id)


def replay(stored: StoredRequest, body: AsyncIterator[bytes]) -> Request:
    """Returns a Starlette request with the stored headers, and with a body that is streamed from `body`."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": stored.path,
        "query_string": stored.query.encode("latin-1"),
        "headers": [(b"content-type", stored.content_type.encode("latin-1"))] if stored.content_type else [],
    }

    async def receive() -> Message:
        chunk = await anext(body, b"")
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    return Request(scope, receive)
