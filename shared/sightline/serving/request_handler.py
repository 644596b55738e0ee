"""From a request to the result of its plan: a place, the body, a deadline, and an eye on the client."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import Request

from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.deadlines import cancel_on_disconnect
from sightline.http.middleware import add_log_fields
from sightline.http.request_headers import deadline_s, declared_bytes
from sightline.inference.fair_queueing import Requester
from sightline.inference.predictor import Plan, Upload
from sightline.inference.stages import Stage, Stages
from sightline.jobs.job import Priority, read_priority
from sightline.serving.service import ModelService

BodyT = TypeVar("BodyT")
ResultT = TypeVar("ResultT")


async def serve_plan(
    request: Request,
    service: ModelService,
    stages: Stages,
    *,
    read: Callable[[Request], Awaitable[BodyT]],
    plan: Callable[[BodyT], Plan[ResultT]],
) -> ResultT:
    """Read the body and drive the plan that is made of it; a refusal comes before the body is read."""
    arrived_at = time.monotonic()
    left_s = deadline_s(request.headers)
    requester = requester_of(request)
    service.require_room(requester)
    with service.hold(declared_bytes(request.headers) or service.settings.max_bytes, requester):
        try:
            body = await _read(request, read, stages, service.settings.read_timeout_s)
            # How long a slow line took to send the body is not held against the answer, unless the client says so.
            default = time.monotonic() + service.settings.deadline_ms / 1e3
            deadline = default if left_s is None else arrived_at + left_s
            pictures = body.files if isinstance(body, Upload) else ()
            running = service.run(plan(body), stages, deadline, pictures=pictures, requester=requester)
            return await cancel_on_disconnect(request.receive, running)
        finally:
            service.observe(stages)
            add_log_fields(request.scope, stages_ms=stages.milliseconds)


def requester_of(request: Request) -> Requester:
    """As the gateway says; without one everybody is the same caller."""
    bulk = read_priority(request.headers.get(names.PRIORITY)) is Priority.BULK
    return Requester(request.headers.get(names.CALLER, ""), bulk=bulk)


async def receive_bytes(request: Request) -> bytes:
    return await request.body()


async def _read(
    request: Request, read: Callable[[Request], Awaitable[BodyT]], stages: Stages, timeout_s: float
) -> BodyT:
    try:
        with stages.measure(Stage.READ):
            async with asyncio.timeout(timeout_s):
                return await read(request)
    except TimeoutError as error:
        raise Problem(Code.DEADLINE_EXCEEDED, "The request took too long to come in.") from error
