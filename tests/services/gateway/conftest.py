"""Real servers on real sockets: the gateway, and services small enough to be defined in a test."""

import asyncio
import io
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx2
import onnx
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from services.gateway.app import create_app
from services.gateway.settings import GatewaySettings
from sightline.api.routes import route_of
from sightline.serving.app import create_app as create_service
from sightline.serving.settings import Provider, ServiceSettings
from sightline.serving.weights import load_weights
from tests.serving.conftest import CONTRACT, InvertingPredictor, inverting_graph

PATIENCE_S = 20.0

Endpoint = Callable[[Request], Awaitable[Response]]
Eventually = Callable[[Callable[[], bool]], None]


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    stop: Callable[[], None]

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rpartition(":")[2])


class Start(Protocol):
    def __call__(self, app: ASGIApp) -> Server: ...


class MakeService(Protocol):
    def __call__(
        self, endpoint: Endpoint | None = None, *, model: str = "echo", readiness: Endpoint | None = None
    ) -> Starlette: ...


class OpenGateway(Protocol):
    def __call__(self, upstreams: Mapping[str, Sequence[str]], *, wait: bool = True, **settings: Any) -> Server: ...


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


async def hang_up(request: Request) -> None:
    """Returns when the client of a service has hung up."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)


async def event_set(event: threading.Event) -> None:
    while not event.is_set():
        await asyncio.sleep(0.01)


@pytest.fixture
def eventually() -> Eventually:
    return wait_until


@contextmanager
def running(app: ASGIApp) -> Iterator[Server]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join()

    try:
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started, "the server did not start"
        yield Server(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", stop)
    finally:
        stop()


@pytest.fixture
def start() -> Iterator[Start]:
    """Serves apps until the test ends, or until it stops them."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(running(app))


async def _ready(_: Request) -> Response:
    return JSONResponse({"status": "ready"})


async def _echo(request: Request) -> Response:
    return Response(await request.body(), media_type=request.headers.get("content-type"))


@pytest.fixture
def make_service() -> MakeService:
    """A model's service with this endpoint; one that sends the body back if none is given."""

    def make_service(
        endpoint: Endpoint | None = None, *, model: str = "echo", readiness: Endpoint | None = None
    ) -> Starlette:
        paths = route_of(model), route_of(model) + "/{rest:path}"
        routes = [Route(path, endpoint or _echo, methods=["GET", "POST"]) for path in paths]
        return Starlette(routes=[Route("/readyz", readiness or _ready), *routes])

    return make_service


@pytest.fixture
def open_gateway(start: Start) -> OpenGateway:
    def open_gateway(upstreams: Mapping[str, Sequence[str]], *, wait: bool = True, **settings: Any) -> Server:
        chosen = {"poll_interval_s": 0.05, "upstreams": upstreams, **settings}
        gateway = start(create_app(GatewaySettings.model_validate(chosen)))
        if wait:
            wait_until(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 200)
        return gateway

    return open_gateway


def encode_png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 50).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def png() -> bytes:
    """64 x 32 pixels."""
    return encode_png(64, 32)


@pytest.fixture
def inverting_service(tmp_path: Path) -> FastAPI:
    """A real model's service: `tiny_invert`."""
    path = tmp_path / "tiny.onnx"
    onnx.save(inverting_graph(), path)
    path.with_suffix(".toml").write_text(CONTRACT)
    predictor = InvertingPredictor(load_weights(path, path.with_suffix(".toml"), shipped=True), step_s=0.0)
    settings = ServiceSettings(providers=(Provider.CPU,), intra_op_threads=1, codec_threads=1)
    return create_service(predictor, settings)
