"""The addresses of the Open Inference Protocol; its inferences go through the same batcher as everything else."""

import math
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from sightline import __version__
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.serving.card import require_model
from sightline.serving.documentation import inlined
from sightline.serving.predictor import Plan
from sightline.serving.receiving import receive_bytes, serve_plan
from sightline.serving.service import ModelService, State
from sightline.serving.stages import Stages
from sightline.serving.v2 import codec
from sightline.serving.v2.describe import model_config, model_metadata
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
        word = "READY" if state is State.READY else "UNAVAILABLE"
        identity = service.identity
        return [RepositoryEntry(name=identity.name, version=identity.version, state=word, reason=state)]


def _add_model_routes(router: APIRouter, service: ModelService) -> None:
    # Triton's client names the version in the path, KServe's mostly does not.
    for path in ("/models/{model}", "/models/{model}/versions/{version}"):
        _add_metadata_routes(router, service, path)
        _add_infer_route(router, service, path)


def _add_metadata_routes(router: APIRouter, service: ModelService, path: str) -> None:
    @router.get(path)
    async def metadata(model: str, version: str | None = None) -> ModelMetadata:
        _require_version(service, model, version)
        return model_metadata(service.identity, service.signature)

    @router.get(f"{path}/ready")
    async def ready(model: str, version: str | None = None) -> ModelReady:
        _require_version(service, model, version)
        service.require_ready()
        return ModelReady(name=model, ready=True)

    @router.get(f"{path}/config")
    async def config(model: str, version: str | None = None) -> dict[str, Any]:
        _require_version(service, model, version)
        return model_config(service.identity, service.signature, max_batch=service.settings.max_batch)


def _add_infer_route(router: APIRouter, service: ModelService, path: str) -> None:
    @router.post(f"{path}/infer", response_model=InferResponse, openapi_extra=_INFER_DOCUMENTATION)
    async def infer(request: Request, model: str, version: str | None = None) -> Response:
        _require_version(service, model, version)
        json_bytes = _json_bytes(request)
        stages = Stages()
        body = await serve_plan(
            request,
            service,
            stages,
            read=receive_bytes,
            plan=lambda content: _infer(service, content, json_bytes),
        )
        return _reply(body, stages, {names.MODEL: str(service.identity)})


_INFER_DOCUMENTATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": inlined(InferRequest.model_json_schema())},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def _infer(service: ModelService, body: bytes, json_bytes: int | None) -> Plan[codec.Body]:
    inference = codec.decode(body, json_bytes, max_values=_max_values(service))
    codec.check_outputs(inference.request, [spec.name for spec in service.signature.outputs])
    samples = codec.split(inference.batch, max_samples=service.settings.max_batch)
    for sample in samples:
        service.signature.key_of(sample)
    outputs = yield samples
    identity = service.identity
    return codec.encode(inference.request, codec.join(outputs), model=identity.name, version=identity.version)


def _max_values(service: ModelService) -> int:
    """Of all inputs of the largest batch together."""
    sample = max(sum(map(math.prod, shapes)) for shapes in service.signature.keys)
    return service.settings.max_batch * sample


def _reply(body: codec.Body, stages: Stages, headers: Mapping[str, str]) -> Response:
    headers = {**headers, "Server-Timing": stages.server_timing}
    if body.json_bytes is None:
        return Response(body.content, media_type="application/json", headers=headers)
    headers = {**headers, HEADER_LENGTH: str(body.json_bytes)}
    return Response(body.content, media_type="application/octet-stream", headers=headers)


def _json_bytes(request: Request) -> int | None:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(Code.UNSUPPORTED_FORMAT, "Compressed bodies are not taken.")
    declared = request.headers.get(HEADER_LENGTH)
    if declared is None:
        return None
    if not (declared.isascii() and declared.isdecimal() and len(declared) <= MAX_LENGTH_DIGITS):
        raise Problem(Code.INVALID_REQUEST, f"The header {HEADER_LENGTH} is not a number of bytes.")
    return int(declared)


def _require_version(service: ModelService, model: str, version: str | None) -> None:
    require_model(model, service.name)
    if version is not None and version != service.identity.version:
        raise Problem(Code.NOT_FOUND, "There is no such version.", versions=[service.identity.version])
