"""Real servers on real sockets: the gateway, and services small enough to be defined in a test."""

import asyncio
import io
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

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
from sightline.api.declaration import route_of
from sightline.api.problems import Problem
from sightline.inference.settings import Provider
from sightline.inference.weights import load_weights
from sightline.jobs.blob_references import BlobReferences
from sightline.jobs.blob_store import BlobStore
from sightline.jobs.connection import connect
from sightline.jobs.job import Job, Lease, Outcome, Representation, StageProgress
from sightline.jobs.leases import Leases
from sightline.jobs.settings import JobSettings
from sightline.serving.app import create_app as create_service
from sightline.serving.settings import ServiceSettings
from tests.redis_server import RedisServer, running_redis
from tests.tiny_service import CONTRACT, InvertingPredictor, inverting_graph

PATIENCE_S = 20.0

T = TypeVar("T")

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
    def __call__(
        self,
        upstreams: Mapping[str, Sequence[str]],
        *,
        wait: bool = True,
        jobs: JobSettings | None = None,
        **settings: Any,
    ) -> Server: ...


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


async def hang_up(request: Request) -> None:
    """Returns when the client of a service has disconnected."""
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
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, proxy_headers=False, timeout_graceful_shutdown=1)
    )
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


def make_echo(endpoint: Endpoint | None = None, *, model: str = "echo", readiness: Endpoint | None = None) -> Starlette:
    paths = route_of(model), route_of(model) + "/{rest:path}"
    routes = [Route(path, endpoint or _echo, methods=["GET", "POST"]) for path in paths]
    return Starlette(routes=[Route("/readyz", readiness or _ready), *routes])


@pytest.fixture
def make_service() -> MakeService:
    """Returns a model's service with this endpoint, or one that echoes the body."""

    return make_echo


@pytest.fixture
def open_gateway(start: Start) -> OpenGateway:
    def open_gateway(
        upstreams: Mapping[str, Sequence[str]],
        *,
        wait: bool = True,
        jobs: JobSettings | None = None,
        **settings: Any,
    ) -> Server:
        chosen = {"poll_interval_s": 0.05, "overview_interval_s": 0.05, "upstreams": upstreams, **settings}
        gateway = start(create_app(GatewaySettings.model_validate(chosen), jobs=jobs))
        if wait:
            wait_until(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 200)
        return gateway

    return open_gateway


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def redis_server(redis_process: RedisServer) -> RedisServer:
    """A running, empty Redis."""
    with redis_process.client() as client:
        client.flushall()
    return redis_process


@pytest.fixture(scope="session")
def blobs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs") / "blobs"


@pytest.fixture
def blobs(blobs_folder: Path) -> Path:
    """An empty folder for blobs."""
    shutil.rmtree(blobs_folder, ignore_errors=True)
    return blobs_folder


@pytest.fixture
def jobs(redis_server: RedisServer, blobs: Path) -> JobSettings:
    return JobSettings(redis_url=redis_server.url, blobs_url=f"file://{blobs}")


class ManualWorker:
    """A job worker that a test drives step by step."""

    def __init__(self, jobs: JobSettings) -> None:
        assert jobs.redis_url
        assert jobs.blobs_url
        self._jobs, self._url = jobs, jobs.redis_url
        self.store = BlobStore.from_url(jobs.blobs_url, resolve_identity=self._resolve_identity)

    def take(self, model: str = "echo") -> Lease:
        """Returns the lease of the next job, and waits for one."""
        deadline = time.monotonic() + PATIENCE_S
        while (lease := self._do(lambda leases: leases.take(model, worker="manual"))) is None:
            assert time.monotonic() < deadline, "no job came"
            time.sleep(0.01)
        return lease

    def idle(self, model: str = "echo") -> bool:
        """Returns True where no job may start now."""
        return self._do(lambda leases: leases.take(model, worker="manual")) is None

    def body(self, job: Job) -> bytes:
        return asyncio.run(self.store.read(job.request.body))

    def report(self, lease: Lease, stage: str, share: float | None = None) -> None:
        assert self._do(lambda leases: leases.report_progress(lease, StageProgress(stage, share)))

    def finish(self, lease: Lease, forms: Mapping[str, bytes], *, model_sha256: str = "ab" * 32) -> None:
        results = tuple(asyncio.run(self._store(lease, media_type, body)) for media_type, body in forms.items())
        outcome = Outcome(results, model_sha256, {"infer": 5.0})
        assert self._do(lambda leases: leases.finish(lease, outcome))

    def fail(self, lease: Lease, problem: Problem, *, transient: bool = False) -> None:
        details = problem.details("theirs").model_dump(mode="json")
        assert self._do(lambda leases: leases.fail(lease, details, transient=transient))

    def heartbeat(self, model: str = "echo") -> None:
        self._do(lambda leases: leases.heartbeat(model, worker="manual", slots=1))

    def _do(self, act: Callable[[Leases], Coroutine[Any, Any, T]]) -> T:
        async def acting() -> T:
            async with connect(self._url) as redis:
                return await act(Leases(redis, self._jobs))

        return asyncio.run(acting())

    async def _resolve_identity(self, found: str | None) -> str | None:
        async with connect(self._url) as redis:
            return await BlobReferences(redis, self._jobs).resolve_identity(found)

    async def _store(self, lease: Lease, media_type: str, body: bytes) -> Representation:
        async with connect(self._url) as redis:
            references = BlobReferences(redis, self._jobs)
            blob = await self.store.put(body, reserve=lambda blob: references.reserve(blob, job_id=lease.job.id))
        return Representation(media_type, blob, {"X-Sightline-Model": "echo@1+abc", "X-Sightline-Form": media_type})


@pytest.fixture
def worker(jobs: JobSettings) -> ManualWorker:
    return ManualWorker(jobs)


@pytest.fixture(scope="session")
def standing_gateway(redis_process: RedisServer, blobs_folder: Path) -> Iterator[Server]:
    jobs = JobSettings(redis_url=redis_process.url, blobs_url=f"file://{blobs_folder}")
    limits: dict[str, Any] = {"sync_pixels": 64 * 32, "max_bytes": 200_000, "max_job_bytes": 2_000_000}
    quick: dict[str, Any] = {"poll_interval_s": 0.05, "overview_interval_s": 0.05}
    with running(make_echo()) as service:
        settings = GatewaySettings(upstreams={"echo": [service.url]}, **limits, **quick)
        with running(create_app(settings, jobs=jobs)) as gateway:
            wait_until(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 200)
            yield gateway


@pytest.fixture
def job_gateway(standing_gateway: Server, jobs: JobSettings) -> Server:
    """The gateway that all tests share; it processes pictures over 64 x 32 pixels and bodies over 200 kB as jobs.

    It has no jobs at the beginning of each test.
    """
    return standing_gateway


def encode_png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 50).save(file, "PNG")
    return file.getvalue()


def plain_png() -> bytes:
    """A picture of 8 x 8 pixels, without the value that the inverting service fails on."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (50, 60, 70)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def png() -> bytes:
    """A picture of 64 x 32 pixels."""
    return encode_png(64, 32)


@pytest.fixture
def make_inverting_service(tmp_path: Path) -> Callable[..., FastAPI]:
    """The service of a real model, `tiny_invert`."""
    path = tmp_path / "tiny.onnx"
    onnx.save(inverting_graph(), path)
    path.with_suffix(".toml").write_text(CONTRACT)

    def make(**settings: Any) -> FastAPI:
        predictor = InvertingPredictor(load_weights(path, path.with_suffix(".toml"), shipped=True), step_s=0.0)
        given = {"providers": (Provider.CPU,), "intra_op_threads": 1, "codec_threads": 1, **settings}
        return create_service(predictor, ServiceSettings.model_validate(given))

    return make


@pytest.fixture
def inverting_service(make_inverting_service: Callable[..., FastAPI]) -> FastAPI:
    return make_inverting_service()
