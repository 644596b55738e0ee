"""Routes of jobs: list, state, result, deletion, and server-sent events."""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing
from typing import Annotated
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.responses import Content, StreamingResponse
from starlette.types import Receive, Scope, Send

from services.gateway.auth.api_keys import Caller
from services.gateway.documentation.jobs import EVENTS_REPLIES, JOB_REPLIES, PAGE_REPLIES, RESULT_REPLIES
from services.gateway.jobs.backend import EventStreams, JobBackend
from services.gateway.jobs.results import result_of
from services.gateway.jobs.schemas import JobPage, PublicJob, job_path, job_webhook, public_job
from services.gateway.jobs.submission import retry_after
from services.gateway.requests.forwarded_headers import public_prefix
from services.gateway.state import CallerDep, GatewayDep, JobBackendDep, PrefixDep
from sightline.api.problems import Code, Problem
from sightline.http.concurrency import ConcurrencyLimiter
from sightline.http.middleware import is_head
from sightline.jobs.events import JobEvent
from sightline.jobs.job import Job, JobState
from sightline.jobs.queue import QueuePosition

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
log = structlog.get_logger()
EVENT_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RETRY_MS = 3000
_EVENT_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_MAX_EVENT_NUMBER = 2**64 - 1  # Redis' limit for either half of an id


@router.get("", summary="The caller's jobs, the newest first", responses=PAGE_REPLIES)
async def list_jobs(
    backend: JobBackendDep,
    caller: CallerDep,
    prefix: PrefixDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[
        str | None, Query(pattern=r"^\d{1,16}$", description="From the `next` link of the previous page")
    ] = None,
    state: JobState | None = None,
    model: Annotated[str | None, Query(max_length=100)] = None,
) -> JobPage:
    if model is not None:
        caller.require_model(model)
    page = await backend.queue.page(caller.owner, limit=limit, after=after, state=state, model=model)
    parameters = {"limit": limit, "after": page.next, "state": state, "model": model}
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    # A key may have lost the right to a model since it submitted the job.
    jobs = [public_job(job, prefix=prefix) for job in page.jobs if caller.may_use(job.model)]
    return JobPage(jobs=jobs, next=f"{prefix}/v1/jobs?{query}" if page.next else None)


@router.get("/{job_id}", summary="The state of a job", responses=JOB_REPLIES)
async def get_job(
    job_id: str, backend: JobBackendDep, caller: CallerDep, prefix: PrefixDep, response: Response
) -> PublicJob:
    job = await _job(job_id, backend, caller)
    if job.state.terminal:
        delivery = await backend.delivery_queue.delivery(job.id) if job.webhook else None
        return public_job(job, prefix=prefix).model_copy(update={"webhook": job_webhook(job, delivery)})
    queue_position = await backend.queue.position_of(job)
    response.headers["Retry-After"] = retry_after(queue_position)
    return public_job(job, position=queue_position.position, eta_s=queue_position.eta_s, prefix=prefix)


@router.get(
    "/{job_id}/result",
    summary="The result of a job, in a media type that the client accepts",
    response_class=Response,
    responses=RESULT_REPLIES,
)
async def get_result(
    job_id: str, gateway: GatewayDep, backend: JobBackendDep, caller: CallerDep, request: Request
) -> Response:
    gateway.limiter.check(caller.fairness_key)
    job = await _job(job_id, backend, caller)
    if not job.state.terminal:
        raise _not_finished(job, await backend.queue.position_of(job), public_prefix(request.scope))
    response = await result_of(job, request.scope, backend, gateway.evidence)
    if isinstance(response, StreamingResponse):
        response.body_iterator = _count_in_flight(response.body_iterator, gateway.limiter, caller.fairness_key)
    return response


@router.get(
    "/{job_id}/events",
    summary="The events of a job, as server-sent events",
    response_class=StreamingResponse,
    responses=EVENTS_REPLIES,
)
async def get_events(
    job_id: str,
    backend: JobBackendDep,
    caller: CallerDep,
    request: Request,
    last_event_id: Annotated[str | None, Header(description="Id of the last received event; resumes after it")] = None,
) -> Response:
    await _job(job_id, backend, caller)
    after = read_event_id(last_event_id)
    if after and await backend.queue.has_ended(job_id, after=after):
        # 204 is the only reply after which a browser's EventSource does not reconnect.
        return Response(status_code=204)
    if is_head(request.scope):
        return Response(headers=EVENT_HEADERS, media_type=EventSourceResponse.media_type)
    backend.streams.require_place(caller.fairness_key)
    events = backend.queue.events(job_id, after=after)
    return EventStreamResponse(events, backend.streams, caller.fairness_key)


@router.delete("/{job_id}", summary="Cancel a job and delete its bytes", responses=JOB_REPLIES)
async def delete_job(
    job_id: str, gateway: GatewayDep, backend: JobBackendDep, caller: CallerDep, prefix: PrefixDep
) -> PublicJob:
    """Cancels a job that has not ended; deletes the upload, the result and the evidence records of one that has."""
    job = await backend.queue.cancel(job_id, owner=caller.owner)
    if gateway.evidence is not None:
        await gateway.evidence.delete(caller.owner, job.request_id)
    return public_job(job, prefix=prefix)


async def _job(job_id: str, backend: JobBackend, caller: Caller) -> Job:
    """Returns the caller's job; raises Problem NOT_FOUND, or FORBIDDEN where its key may no longer use the model."""
    job = await backend.queue.get(job_id, owner=caller.owner)
    caller.require_model(job.model)
    return job


async def _count_in_flight(
    blocks: AsyncIterable[Content], limiter: ConcurrencyLimiter, caller: str
) -> AsyncIterator[Content]:
    """Yields the blocks. Until the last one the reply counts as a request in flight: a slow client holds memory."""
    limiter.add(caller, requests=1)
    try:
        async for block in blocks:
            yield block
    finally:
        limiter.add(caller, requests=-1)


def _not_finished(job: Job, queue_position: QueuePosition, prefix: str) -> Problem:
    detail = f"The job has not ended yet; its state is {job.state}."
    return Problem(
        Code.NOT_FINISHED,
        detail,
        retry_after_s=float(retry_after(queue_position)),
        state=job.state,
        status_url=job_path(job.id, prefix),
    )


def read_event_id(last_event_id: str | None) -> str | None:
    """Returns the header's value if it is an id of Redis Streams; otherwise None, which sends all events."""
    match = _EVENT_ID.fullmatch(last_event_id or "")
    return last_event_id if match and max(map(int, match.groups())) <= _MAX_EVENT_NUMBER else None


class EventStreamResponse(EventSourceResponse):
    """A response that streams the events of one job, and closes its generators when the client disconnects.

    It replaces FastAPI's streaming of generator endpoints, which cannot reply 204 to a client that has all events. The
    generators are closed in the task of the request: the garbage collector could close one while the other runs.
    """

    def __init__(self, events: AsyncGenerator[JobEvent | None], streams: EventStreams, caller: str) -> None:
        self._chunks = event_stream(events, streams, caller)
        super().__init__(self._chunks, headers=EVENT_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._chunks):
            await super().__call__(scope, receive, send)


async def event_stream(
    events: AsyncGenerator[JobEvent | None], streams: EventStreams, caller: str
) -> AsyncGenerator[bytes]:
    """Yields encoded events. Ends early if Redis cannot be reached; the client then reconnects and resumes."""
    async with aclosing(events):
        with streams.place(caller):
            yield format_sse_event(retry=RETRY_MS)
            try:
                async for event in events:
                    yield encode_event(event)
            except Problem as problem:
                log.info("events_cut_short", code=problem.code)


def encode_event(event: JobEvent | None) -> bytes:
    """Returns the event in the format of server-sent events; for None, a comment that keeps the connection alive."""
    if event is None:
        return format_sse_event(comment="keep-alive")
    return format_sse_event(id=event.id, event=event.name, data_str=json.dumps(event.data))
