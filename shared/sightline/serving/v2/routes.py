"""Routes of the Open Inference Protocol; inferences go through the same batcher as all others."""

import math
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from sightline import __version__
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.openapi import BINARY, header_references, reference
from sightline.http.request_headers import require_uncompressed
from sightline.inference.predictor import Plan
from sightline.inference.stages import Stages
from sightline.serving.card import require_model
from sightline.serving.predict_route import receive_bytes, serve_plan
from sightline.serving.service import ModelService, ServiceState
from sightline.serving.v2 import codec
from sightline.serving.v2.metadata import model_config, model_metadata
from sightline.serving.v2.schemas import (
    InferRequest,
    InferResponse,
    ModelMetadata,
    ModelReady,
    RepositoryEntry,
    ServerLive,
    ServerMetadata,
    ServerReady,
)

HEADER_LENGTH = "Inference-Header-Content-Length"
MAX_LENGTH_DIGITS = 15
EXTENSIONS = ["binary_tensor_data", "model_configuration", "model_repository"]


_INFER_DOCUMENTATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": reference(InferRequest)},
            "application/octet-stream": {"schema": dict(BINARY)},
        },
    }
}
_INFER_REPLIES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The outputs; as `application/octet-stream` where binary data are requested",
        "headers": header_references(names.MODEL, "Server-Timing"),
        "content": {"application/octet-stream": {"schema": dict(BINARY)}},
    }
}
_INFER_ROUTE: dict[str, Any] = {
    "response_model": InferResponse,
    "responses": _INFER_REPLIES,
    "openapi_extra": _INFER_DOCUMENTATION,
}


def v2_router(service: ModelService) -> APIRouter:
    router = APIRouter(prefix="/v2", tags=["open inference protocol"])
    _add_server_routes(router, service)
    _add_model_routes(router, service)
    return router


def _add_server_routes(router: APIRouter, service: ModelService) -> None:
    @router.get("")
    async def server() -> ServerMetadata:
        return ServerMetadata(name="sightline", version=__version__, extensions=EXTENSIONS)

    @router.get("/health/live")
    async def live() -> ServerLive:
        return ServerLive(live=True)

    @router.get("/health/ready")
    async def ready() -> ServerReady:
        service.require_ready()
        return ServerReady(ready=True)

    @router.post("/repository/index")
    async def index() -> list[RepositoryEntry]:
        state = service.state
        word = "READY" if state is ServiceState.READY else "UNAVAILABLE"
        identity = service.identity
        return [RepositoryEntry(name=identity.name, version=identity.version, state=word, reason=state)]


def _add_model_routes(router: APIRouter, service: ModelService) -> None:
    # Triton's client names the version in the path, KServe's mostly does not.
    _add_unversioned_routes(router, service)
    _add_versioned_routes(router, service)


def _add_unversioned_routes(router: APIRouter, service: ModelService) -> None:
    path = "/models/{model}"

    @router.get(path, summary="Inputs and outputs of a model")
    async def metadata(model: str) -> ModelMetadata:
        require_model(model, service.name)
        return model_metadata(service.identity, service.signature)

    @router.get(f"{path}/ready", summary="Whether a model can answer")
    async def ready(model: str) -> ModelReady:
        require_model(model, service.name)
        return _readiness(service)

    @router.get(f"{path}/config", summary="A model's configuration in Triton's form")
    async def config(model: str) -> dict[str, Any]:
        require_model(model, service.name)
        return _config(service)

    @router.post(f"{path}/infer", summary="Infer tensors from tensors", **_INFER_ROUTE)
    async def infer(request: Request, model: str) -> Response:
        require_model(model, service.name)
        return await _answer(request, service)


def _add_versioned_routes(router: APIRouter, service: ModelService) -> None:
    path = "/models/{model}/versions/{version}"

    @router.get(path, summary="Inputs and outputs of a model's version")
    async def version_metadata(model: str, version: str) -> ModelMetadata:
        _require_version(service, model, version)
        return model_metadata(service.identity, service.signature)

    @router.get(f"{path}/ready", summary="Whether a model's version can answer")
    async def version_ready(model: str, version: str) -> ModelReady:
        _require_version(service, model, version)
        return _readiness(service)

    @router.get(f"{path}/config", summary="The configuration of a model's version in Triton's form")
    async def version_config(model: str, version: str) -> dict[str, Any]:
        _require_version(service, model, version)
        return _config(service)

    @router.post(f"{path}/infer", summary="Infer tensors from tensors with a model's version", **_INFER_ROUTE)
    async def version_infer(request: Request, model: str, version: str) -> Response:
        _require_version(service, model, version)
        return await _answer(request, service)


def _readiness(service: ModelService) -> ModelReady:
    service.require_ready()
    return ModelReady(name=service.name, ready=True)


def _config(service: ModelService) -> dict[str, Any]:
    return model_config(service.identity, service.signature, max_batch=service.settings.max_batch)


async def _answer(request: Request, service: ModelService) -> Response:
    json_bytes, stages = _json_bytes(request), Stages()
    body = await serve_plan(
        request,
        service,
        stages,
        read=receive_bytes,
        plan=lambda content: _infer(service, content, json_bytes),
    )
    return _reply(body, stages, {names.MODEL: str(service.identity)})


def _infer(service: ModelService, body: bytes, json_bytes: int | None) -> Plan[codec.EncodedReply]:
    inference = codec.decode(body, json_bytes, max_values=_max_values(service))
    codec.check_outputs(inference.request, [spec.name for spec in service.signature.outputs])
    samples = codec.split(inference.batch, max_samples=service.settings.max_batch)
    for sample in samples:
        service.signature.key_of(sample)
    outputs = yield samples
    identity = service.identity
    return codec.encode(inference.request, codec.join(outputs), model=identity.name, version=identity.version)


def _max_values(service: ModelService) -> int:
    """Returns the number of values in all inputs of the largest batch."""
    sample = max(sum(map(math.prod, shapes)) for shapes in service.signature.keys)
    return service.settings.max_batch * sample


def _reply(body: codec.EncodedReply, stages: Stages, headers: Mapping[str, str]) -> Response:
    headers = {**headers, "Server-Timing": stages.server_timing}
    if body.json_bytes is None:
        return Response(body.content, media_type="application/json", headers=headers)
    headers = {**headers, HEADER_LENGTH: str(body.json_bytes)}
    return Response(body.content, media_type="application/octet-stream", headers=headers)


def _json_bytes(request: Request) -> int | None:
    require_uncompressed(request.headers)
    declared = request.headers.get(HEADER_LENGTH)
    if declared is None:
        return None
    if not (declared.isascii() and declared.isdecimal() and len(declared) <= MAX_LENGTH_DIGITS):
        raise Problem(Code.INVALID_REQUEST, f"The header {HEADER_LENGTH} must be a whole number of bytes.")
    return int(declared)


def _require_version(service: ModelService, model: str, version: str) -> None:
    require_model(model, service.name)
    if version != service.identity.version:
        raise Problem(
            Code.NOT_FOUND,
            "There is no such version of the model; `versions` lists the available ones.",
            versions=[service.identity.version],
        )
