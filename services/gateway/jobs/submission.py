"""Submission of a request as a job. The reply is the job, or its result where the client waits for it."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Scope

from services.gateway.jobs.backend import require_job_backend
from services.gateway.jobs.options import JobOptions
from services.gateway.jobs.results import result_of
from services.gateway.jobs.schemas import job_path, public_job
from services.gateway.requests.context import RequestContext
from services.gateway.requests.fingerprint import digest_for, fingerprint
from services.gateway.requests.forwarded_headers import public_prefix
from services.gateway.state import Gateway
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.middleware import add_log_fields
from sightline.http.problem_responses import current_request_id, problem_response
from sightline.http.request_headers import declared_bytes, require_uncompressed
from sightline.jobs.blob_references import BeingDeletedError
from sightline.jobs.job import BlobRef, Job, JobReason, StoredRequest, Submission
from sightline.jobs.queue import QueuePosition
from sightline.runtime.retries import retry
from sightline.runtime.tasks import cancel_and_wait
from sightline.runtime.tracing import current_traceparent

KEY_HOLD_S = 30.0  # after the last renewal; a key stays reserved for so long if this process dies
RETRY_AFTER_S = 5.0
MAX_RETRY_AFTER_S = 60.0
RESERVATION_STEP_BYTES = 8 * 1024 * 1024  # for a body without a declared length
RESERVATION_MARGIN_S = 60.0
DELETION_ATTEMPTS = 5
# These are stored in Redis with the job. A query may have polygons in it; the others are short in practice.
MAX_STORED_BYTES = {"content-type": 1024, "accept": 2048}
MAX_QUERY_BYTES = 16 * 1024


class JobSubmitter:
    """Submits one request as a job: streams its body to the blob store, and replies with the job or its result."""

    def __init__(self, gateway: Gateway, model: str, context: RequestContext, options: JobOptions) -> None:
        self._gateway, self._model, self._context, self._options = gateway, model, context, options
        self._backend = require_job_backend(gateway.job_backend)
        self._queue = self._backend.queue
        self._id = uuid4().hex
        self._digest = digest_for(self._content_type)
        self._reserved_bytes = 0

    async def run(self, reason: JobReason) -> None:
        job = await self._submit(reason)
        add_log_fields(self._context.scope, job=job.id)
        # The client sent the same request again while the first one is in progress. It did not ask for a job, so it
        # gets an error that names the running one.
        if reason is JobReason.KEY and job.id != self._id and not job.state.terminal:
            await self._send(_key_in_use(job, self._context.scope))
            return
        wait_s = self._wait_s(reason)
        if wait_s and not job.state.terminal:
            job = await self._queue.wait(job.id, timeout_s=wait_s)
        if job.state.terminal and (wait_s is not None or not self._options.preferences.respond_async):
            await self._send(await self._result(job))
        else:
            await self._send(await self._accepted(job))

    async def _submit(self, reason: JobReason) -> Job:
        require_uncompressed(self._context.headers)
        _require_short_headers(self._context.headers, self._context.scope["query_string"])
        try:
            async with self._key_held():
                await self._reserve_space(declared_bytes(self._context.headers))
                body = await self._backend.store.put(self._chunks(), reserve=self._reserve)
            # The blob store has the body; the copy in memory would only be needed to send it to another replica.
            self._context.body.forget()
            job = await self._queue.submit(self._submission(reason, body), model_sha256=self._model_sha256())
        except BaseException:  # a cancelled upload must free its space as well
            await self._abandon()
            raise
        if job.id != self._id:
            # An earlier job has this idempotency key and its own copy of the body.
            await self._abandon()
        self._gateway.metrics.jobs.labels(self._model, reason, _outcome(job, self._id)).inc()
        return job

    def _model_sha256(self) -> str | None:
        identity = self._gateway.catalog.report(self._model).identity_of(self._model)
        return None if identity is None else identity.sha256

    async def _chunks(self) -> AsyncIterator[bytes]:
        body = self._context.body
        async for chunk in body.stream():
            if body.size_bytes > self._reserved_bytes:
                await self._reserve_space(body.size_bytes + RESERVATION_STEP_BYTES)
            self._digest.feed(chunk)
            yield chunk

    async def _reserve_space(self, size_bytes: int) -> None:
        """Reserves room before bytes are written, so that concurrent uploads cannot overfill the store."""
        if size_bytes > 0:
            ttl_s = self._gateway.settings.job_upload_timeout_s + RESERVATION_MARGIN_S
            references = self._backend.references
            await references.reserve_space(size_bytes, job_id=self._id, caller=self._options.caller, ttl_s=ttl_s)
        self._reserved_bytes = size_bytes

    async def _reserve(self, body: BlobRef) -> None:
        """Claims the blob for the job; retries while an earlier copy of the same bytes is being deleted."""
        reserve = partial(self._backend.references.reserve, body, job_id=self._id, caller=self._options.caller)
        await retry(reserve, on=_is_being_deleted, event=None, max_wait_s=2.0, attempts=DELETION_ATTEMPTS)

    async def _abandon(self) -> None:
        # If Redis cannot be reached, the reservations of this job expire without this call.
        with suppress(Problem):
            await self._queue.abandon(self._id, owner=self._options.owner, key=self._options.idempotency_key)

    @asynccontextmanager
    async def _key_held(self) -> AsyncIterator[None]:
        """Holds the idempotency key, renewed in short intervals so that it is soon free if this process dies."""
        if self._options.idempotency_key is None:
            yield
            return
        await self._reserve_key(self._options.idempotency_key)
        renewal = asyncio.create_task(self._renew_key(self._options.idempotency_key))
        try:
            yield
        finally:
            await cancel_and_wait(renewal)

    async def _renew_key(self, key: str) -> None:
        while True:
            await asyncio.sleep(KEY_HOLD_S / 3)
            # Submission detects another request that has taken the key in the meantime.
            with suppress(Problem):
                await self._reserve_key(key)

    async def _reserve_key(self, key: str) -> None:
        await self._queue.reserve_key(self._options.owner, key, job_id=self._id, ttl_s=KEY_HOLD_S)

    def _submission(self, reason: JobReason, body: BlobRef) -> Submission:
        request, options = self._request(body), self._options
        return Submission(
            id=self._id,
            model=self._model,
            owner=options.owner,
            priority=options.priority,
            reason=reason,
            request=request,
            request_id=current_request_id(),
            fingerprint=fingerprint(
                self._digest,
                body_sha256=body.sha256,
                model=self._model,
                query=request.query,
                accept=request.accept,
            ),
            idempotency_key=options.idempotency_key,
            webhook=options.webhook,
            caller=options.caller,
        )

    def _request(self, body: BlobRef) -> StoredRequest:
        return StoredRequest(
            path=self._context.scope["path"],
            query=self._context.scope["query_string"].decode("latin-1"),
            content_type=self._content_type,
            accept=self._context.headers.get("accept"),
            body=body,
            traceparent=current_traceparent(),
        )

    @property
    def _prefix(self) -> str:
        return public_prefix(self._context.scope)

    @property
    def _content_type(self) -> str:
        return self._context.headers.get("content-type", "")

    def _wait_s(self, reason: JobReason) -> float | None:
        """Returns the longest time to wait for the job's end before replying; None to reply at once."""
        if self._options.preferences.wait_s is not None:
            return min(self._options.preferences.wait_s, self._gateway.settings.max_wait_s)
        return self._context.left_s() if reason is JobReason.KEY else None

    async def _result(self, job: Job) -> Response:
        response = await result_of(job, self._context.scope, self._backend, self._gateway.evidence)
        applied = self._options.preferences.applied(max_wait_s=self._gateway.settings.max_wait_s, later=False)
        response.headers.update({names.PREFERENCE_APPLIED: applied} if applied else {})
        return response

    async def _accepted(self, job: Job) -> Response:
        queue_position = await self._queue.position_of(job)
        body = public_job(
            job, position=queue_position.position, eta_s=queue_position.eta_s, prefix=self._prefix
        ).model_dump(mode="json")
        applied = self._options.preferences.applied(max_wait_s=self._gateway.settings.max_wait_s, later=True)
        headers = {
            "Location": job_path(job.id, self._prefix),
            "Retry-After": retry_after(queue_position),
            names.JOB: job.id,
            **({names.PREFERENCE_APPLIED: applied} if applied else {}),
            **({names.CACHE: "hit"} if job.cached_from else {}),
        }
        return JSONResponse(body, 202, headers)

    async def _send(self, response: Response) -> None:
        if isinstance(response, StreamingResponse):
            # `RequestContext` already reads `receive` and cancels this when the client disconnects. A second reader
            # would take messages from it.
            await response.stream_response(self._context.send)
        else:
            await response(self._context.scope, _never_receive, self._context.send)


def _require_short_headers(headers: Headers, query: bytes) -> None:
    for name, limit_bytes in MAX_STORED_BYTES.items():
        if len(headers.get(name, "")) > limit_bytes:
            detail = f"The header {name.title()} of a job may have at most {limit_bytes} bytes."
            raise Problem(Code.HEADERS_TOO_LARGE, detail, limit_bytes=limit_bytes)
    if len(query) > MAX_QUERY_BYTES:
        detail = f"The query of a job may have at most {MAX_QUERY_BYTES} bytes; send longer options as form fields."
        raise Problem(Code.HEADERS_TOO_LARGE, detail, limit_bytes=MAX_QUERY_BYTES)


def retry_after(queue_position: QueuePosition) -> str:
    """Returns the value of `Retry-After`: whole seconds until the job's estimated end, at most a minute."""
    eta_s = RETRY_AFTER_S if queue_position.eta_s is None else queue_position.eta_s
    return str(max(1, math.ceil(min(eta_s, MAX_RETRY_AFTER_S))))


def _is_being_deleted(error: Exception) -> bool:
    return isinstance(error, BeingDeletedError)


def _outcome(job: Job, own_id: str) -> str:
    if job.id != own_id:
        return "joined"
    return "cached" if job.cached_from else "submitted"


def _key_in_use(job: Job, scope: Scope) -> Response:
    detail = "The first request with this idempotency key is still being processed."
    problem = Problem(Code.KEY_IN_USE, detail, retry_after_s=RETRY_AFTER_S, job=job.id)
    return problem_response(
        problem, scope["path"], {"Location": job_path(job.id, public_prefix(scope)), names.JOB: job.id}
    )


async def _never_receive() -> dict[str, object]:
    raise AssertionError("a response with a complete body does not call receive")
