"""The Open Inference Protocol's routes for the whole fleet; a model's own routes are forwarded to its service."""

from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, Field

from services.gateway.state import CallerDep, Gateway, GatewayDep
from sightline import __version__

router = APIRouter(prefix="/v2", tags=["open inference protocol"])


class ServerMetadata(BaseModel):
    """The gateway as one server of the Open Inference Protocol."""

    name: str = "sightline"
    version: str = __version__
    extensions: list[str] = ["binary_tensor_data", "model_repository"]


class ModelState(StrEnum):
    """The state of a model, with the values of Triton's repository extension."""

    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"


class IndexRequest(BaseModel):
    """The filter of the repository index."""

    ready: Annotated[bool, Field(strict=True)] = False


class IndexEntry(BaseModel):
    """One model in the repository index, with the fields of Triton's extension."""

    name: str
    version: str
    state: ModelState
    reason: str


@router.get("", summary="Server metadata")
async def server_metadata() -> ServerMetadata:
    return ServerMetadata()


@router.get("/health/live", summary="Liveness of the gateway")
async def server_live() -> dict[str, bool]:
    return {"live": True}


@router.get("/health/ready", summary="Readiness of every model")
async def server_ready(gateway: GatewayDep, response: Response) -> dict[str, bool]:
    # The status carries the state as well, because most probes ignore the body.
    if not gateway.ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return {"ready": gateway.ready}


@router.post("/repository/index", summary="The models that the caller may use, and their state")
async def repository_index(
    gateway: GatewayDep, caller: CallerDep, request: Annotated[IndexRequest | None, Body()] = None
) -> list[IndexEntry]:
    entries = [_entry(gateway, model) for model in gateway.fleet.models if caller.may_use(model)]
    only_ready = request is not None and request.ready
    return [entry for entry in entries if entry.state == ModelState.READY or not only_ready]


def _entry(gateway: Gateway, model: str) -> IndexEntry:
    ready = bool(gateway.fleet.ready_replicas(model))
    return IndexEntry(
        name=model,
        version=gateway.catalog.report(model).version or "",
        state=ModelState.READY if ready else ModelState.UNAVAILABLE,
        reason="" if ready else "no ready replica",
    )
