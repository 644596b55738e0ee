"""`POST /v1/<model>`: pictures in, the representation out that the client accepts."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from sightline.http.negotiation import negotiate
from sightline.http.problem_responses import current_request_id
from sightline.inference.pipeline import InferenceRequest, respond
from sightline.inference.predictor import Plan, Rendered, Upload
from sightline.inference.stages import Stages
from sightline.serving.documentation import describe_predict
from sightline.serving.request_handler import serve_plan
from sightline.serving.service import ModelService
from sightline.serving.uploads import UploadReader


def predict_router(service: ModelService) -> APIRouter:
    router, declaration = APIRouter(), service.predictor.declaration
    reader = UploadReader(declaration, max_pictures=service.settings.max_pictures)

    async def predict(request: Request) -> Response:
        media_type = negotiate(request.headers.get("accept"), declaration.media_types)
        request_id, stages = current_request_id(), Stages()

        def plan(upload: Upload[Any]) -> Plan[Rendered]:
            question = InferenceRequest(upload, media_type, request_id)
            return respond(service.predictor, question, service.session, service.identity)

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
    # One address answers in several representations, which caches must keep apart.
    headers = {**rendered.headers, "Server-Timing": stages.server_timing, "Vary": "Accept"}
    return Response(rendered.body, media_type=rendered.media_type, headers=headers)
