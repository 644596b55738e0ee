"""`POST /v1/<model>`: reads an upload, runs the model, and replies in the media type that the client accepts."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from starlette.responses import Response

from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.deadlines import cancel_on_disconnect
from sightline.http.middleware import add_log_fields
from sightline.http.negotiation import negotiate
from sightline.http.problem_responses import current_request_id
from sightline.http.request_headers import deadline_s, declared_bytes
from sightline.inference.fair_queue import Requester
from sightline.inference.pipeline import InferenceRequest, respond
from sightline.inference.predictor import Plan, Rendered, Upload
from sightline.inference.stages import Stage, Stages
from sightline.jobs.job import Priority, read_priority
from sightline.serving.documentation import describe_predict
from sightline.serving.service import ModelService
from sightline.serving.uploads import UploadReader

BodyT = TypeVar("BodyT")
ResultT = TypeVar("ResultT")


def predict_router(service: ModelService) -> APIRouter:
    router, declaration = APIRouter(), service.predictor.declaration
    reader = UploadReader(declaration, max_pictures=service.settings.max_pictures)

    async def predict(request: Request) -> Response:
        media_type = negotiate(request.headers.get("accept"), declaration.media_types)
        request_id, stages = current_request_id(), Stages()

        def plan(upload: Upload[Any]) -> Plan[Rendered]:
            inference = InferenceRequest(upload, media_type, request_id)
            return respond(service.predictor, inference, service.session, service.identity, service.seal)

        return _reply(await serve_plan(request, service, stages, read=reader.read, plan=plan), stages)

    router.add_api_route(
        declaration.route,
        predict,
        methods=["POST"],
        response_class=Response,
        openapi_extra=describe_predict(declaration, max_pictures=service.settings.max_pictures),
        summary=declaration.title,
        description=declaration.description,
        operation_id=f"predict_{declaration.name}",
        tags=[declaration.name],
    )
    return router


def _reply(rendered: Rendered, stages: Stages) -> Response:
    # `Accept` selects the representation, so caches must keep the replies of this URL apart.
    headers = {**rendered.headers, "Server-Timing": stages.server_timing, "Vary": "Accept"}
    return Response(rendered.body, media_type=rendered.media_type, headers=headers)


async def serve_plan(
    request: Request,
    service: ModelService,
    stages: Stages,
    *,
    read: Callable[[Request], Awaitable[BodyT]],
    plan: Callable[[BodyT], Plan[ResultT]],
) -> ResultT:
    """Reads the body with `read`, runs the plan that `plan` builds from it, and returns the plan's result.

    Raises Problem before it reads the body where there is no room. Stops when the client disconnects or the deadline
    passes.
    """
    arrived_at = time.monotonic()
    left_s = deadline_s(request.headers)
    requester = requester_of(request)
    service.require_room(requester)
    with service.hold(declared_bytes(request.headers) or service.settings.max_bytes, requester):
        try:
            body = await _read(request, read, stages, service.settings.read_timeout_s)
            # The time of a slow upload does not count, unless the client names a deadline.
            default = time.monotonic() + service.settings.deadline_ms / 1e3
            deadline = default if left_s is None else arrived_at + left_s
            pictures = body.files if isinstance(body, Upload) else ()
            running = service.run(plan(body), stages, deadline, pictures=pictures, requester=requester)
            return await cancel_on_disconnect(request.receive, running)
        finally:
            service.observe(stages)
            add_log_fields(request.scope, stages_ms=stages.milliseconds)


def requester_of(request: Request) -> Requester:
    """Returns the caller that the gateway names; without a gateway all requests are of one caller."""
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
        raise Problem(
            Code.DEADLINE_EXCEEDED,
            "The upload took too long; send it again on a faster connection, or send a smaller picture.",
        ) from error
