"""The gateway's own routes."""

import asyncio
import re
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.upstream.health_poller import HealthPoller
from sightline.api.problems import Code
from tests.services.gateway.conftest import Eventually, MakeService, OpenGateway, Start, event_set, plain_png

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "package", ["numpy", "onnxruntime", "PIL", "torch", "sightline.serving", "sightline.inference"]
)
def test_starting_the_gateway_imports_no_package_of_the_services(package: str) -> None:
    code = f"import sys, sightline.http.__main__, services.gateway.app; print({package!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_readiness_names_a_background_task_that_ended(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, run = threading.Event(), HealthPoller.run

    async def run_until_broken(poller: HealthPoller) -> None:
        polling = asyncio.create_task(run(poller))
        await event_set(broken)
        polling.cancel()

    monkeypatch.setattr(HealthPoller, "run", run_until_broken)
    gateway = open_gateway({"echo": [start(make_service()).url]})
    assert httpx2.get(f"{gateway.url}/readyz").json()["detail"] is None
    broken.set()
    eventually(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 503)
    assert "'health poller'" in httpx2.get(f"{gateway.url}/readyz").json()["detail"]
    assert httpx2.get(f"{gateway.url}/v2/health/ready").status_code == 503


def test_is_ready_once_every_model_is(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    warm = threading.Event()

    async def readiness(request: Request) -> Response:
        return JSONResponse({}, 200 if warm.is_set() else 503)

    slow = start(make_service(model="slow", readiness=readiness))
    gateway = open_gateway({"echo": [start(make_service()).url], "slow": [slow.url]}, wait=False)
    eventually(lambda: httpx2.get(f"{gateway.url}/readyz").json()["models"] == {"echo": True, "slow": False})
    assert httpx2.get(f"{gateway.url}/readyz").status_code == 503
    assert httpx2.get(f"{gateway.url}/v2/health/ready").status_code == 503
    assert httpx2.get(f"{gateway.url}/livez").status_code == 200
    reply = httpx2.post(f"{gateway.url}/v1/slow")
    assert (reply.status_code, reply.json()["code"]) == (503, Code.NOT_READY)
    warm.set()
    eventually(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 200)


def test_a_replica_that_comes_back_is_used_again(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    draining = threading.Event()

    async def readiness(request: Request) -> Response:
        return JSONResponse({}, 503 if draining.is_set() else 200)

    gateway = open_gateway({"echo": [start(make_service(readiness=readiness)).url]})
    draining.set()
    eventually(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 503)
    draining.clear()
    eventually(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 200)


def test_a_busy_replica_that_answers_late_stays_in_use(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    busy, release, probes = threading.Event(), threading.Event(), []

    async def readiness(request: Request) -> Response:
        probes.append(busy.is_set())
        if busy.is_set():
            await event_set(release)
        return JSONResponse({})

    service = start(make_service(readiness=readiness))
    gateway = open_gateway({"echo": [service.url]}, poll_timeout_s=0.1, poll_misses=5)
    busy.set()
    eventually(lambda: probes.count(True) == 2)
    assert httpx2.get(f"{gateway.url}/readyz").status_code == 200
    eventually(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 503)
    assert probes.count(True) >= 5
    release.set()


def test_unknown_addresses_and_models_are_answered_with_the_known_ones(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    gateway = open_gateway({"hra_screening": [start(make_service(model="hra_screening")).url]})
    reply = httpx2.post(f"{gateway.url}/v1/inpaint")
    assert (reply.status_code, reply.json()["code"]) == (404, Code.NOT_FOUND)
    assert reply.json()["routes"] == ["/v1/hra-screening"]
    assert reply.headers["content-type"] == "application/problem+json"
    for path in ("/v1/models/inpaint", "/v1/models/inpaint/card", "/v2/models/inpaint", "/v2/models/inpaint/ready"):
        reply = httpx2.get(gateway.url + path)
        assert (reply.status_code, reply.json()["models"]) == (404, ["hra_screening"])


def test_wrong_methods_are_problems_too(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False)
    reply = httpx2.post(f"{gateway.url}/v1/models")
    assert (reply.status_code, reply.json()["code"]) == (405, Code.METHOD_NOT_ALLOWED)


def test_a_gateway_without_models_is_not_ready(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False)
    assert httpx2.get(f"{gateway.url}/readyz").status_code == 503


def test_lists_the_models_as_their_services_describe_them(start: Start, open_gateway: OpenGateway) -> None:
    service = FastAPI()

    @service.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"version": "1.2.3", "weights_sha256": "ab" * 32, "contract": "shipped", "provider": "CPU"}

    @service.get("/v1/models/hdr_correct/card")
    async def card() -> dict[str, object]:
        return {"title": "HDR correction", "description": "Corrects exposure.", "media_types": ["image/png"]}

    gateway = open_gateway({"hdr_correct": [start(service).url]})
    (model,) = httpx2.get(f"{gateway.url}/v1/models").json()["models"]
    assert model == {
        "name": "hdr_correct",
        "route": "/v1/hdr-correct",
        "title": "HDR correction",
        "description": "Corrects exposure.",
        "media_types": ["image/png"],
        "version": "1.2.3",
        "weights_sha256": "ab" * 32,
        "contract": "shipped",
        "provider": "CPU",
        "precision": None,
        "card": "/v1/models/hdr_correct/card",
        "replicas": 1,
        "ready_replicas": 1,
    }
    assert httpx2.get(f"{gateway.url}/v1/models/hdr_correct").json() == model
    assert httpx2.get(gateway.url + model["card"]).json()["title"] == "HDR correction"


def test_tells_its_capacity(start: Start, make_service: MakeService, open_gateway: OpenGateway) -> None:
    async def readiness(request: Request) -> Response:
        return JSONResponse({"estimated_queue_ms": 12.5})

    service = start(make_service(readiness=readiness))
    gateway = open_gateway({"echo": [service.url]}, max_pixels=1000, max_bytes=2000)
    capacity = httpx2.get(f"{gateway.url}/v1/capacity").json()
    assert capacity["limits"]["max_pixels"] == 1000
    assert capacity["limits"]["max_bytes"] == 2000
    assert capacity["models"] == [
        {"name": "echo", "replicas": 1, "ready_replicas": 1, "in_flight": 0, "estimated_queue_ms": 12.5, "queue": None}
    ]


def test_measures_requests_by_model_route_and_status(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    service = start(make_service())
    gateway = open_gateway({"echo": [service.url]})
    httpx2.post(f"{gateway.url}/v1/echo/some-file-name", content=b"abc", headers={"Content-Type": "text/plain"})
    httpx2.post(f"{gateway.url}/v1/echo", content=b"this is not a picture")
    metrics = httpx2.get(f"{gateway.url}/metrics").text.splitlines()
    for line in (
        'sightline_gateway_requests_total{model="echo",route="/v1/echo/{rest:path}",status="200"} 1.0',
        'sightline_gateway_requests_total{model="echo",route="/v1/echo",status="415"} 1.0',
        'sightline_gateway_rejected_total{code="unsupported_format",model="echo"} 1.0',
        'sightline_gateway_received_bytes_total{model="echo"} 24.0',
        'sightline_gateway_sent_bytes_total{model="echo"} 3.0',
    ):
        assert line in metrics
    (label,) = re.findall(
        r'sightline_gateway_replica_ready{model="echo",replica="(echo-[0-9a-f]{8})"} 1.0', "\n".join(metrics)
    )
    assert f'sightline_gateway_upstream_in_flight{{model="echo",replica="{label}"}} 0.0' in metrics
    assert service.url.rpartition(":")[2] not in "\n".join(metrics)
    assert not [line for line in metrics if "some-file-name" in line]


def test_merges_the_services_openapi_documents(start: Start, open_gateway: OpenGateway, eventually: Eventually) -> None:
    class Options(BaseModel):
        strength: float

    def service(model: str) -> FastAPI:
        app = FastAPI(title=model, description=f"What {model} does")

        @app.get("/readyz")
        async def readyz() -> dict[str, str]:
            return {}

        @app.post(f"/v1/{model}")
        async def predict(options: Options) -> None: ...

        return app

    gateway = open_gateway({"one": [start(service("one")).url], "two": [start(service("two")).url]})
    document = httpx2.get(f"{gateway.url}/openapi.json").json()
    assert {"/v1/one", "/v1/two", "/v1/models", "/v2/health/ready"} <= set(document["paths"])
    assert document["paths"]["/v1/two"]["post"]["tags"] == ["two"]
    assert {tag["name"]: tag["description"] for tag in document["tags"]}["two"] == "What two does"
    assert list(document["components"]["schemas"]).count("Options") == 1


def test_shows_the_documentation_without_the_internet(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False)
    page = httpx2.get(f"{gateway.url}/docs").text
    assert "https://" not in page
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f'"docs/assets/{asset}"' in page
        assert httpx2.get(f"{gateway.url}/docs/assets/{asset}").status_code == 200


def test_the_documentation_can_take_its_assets_from_elsewhere(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False, docs_assets_url="https://assets.example/ui/")
    assert "https://assets.example/ui/swagger-ui.css" in httpx2.get(f"{gateway.url}/docs").text


def test_a_real_service_is_reached_described_and_documented(
    start: Start, open_gateway: OpenGateway, inverting_service: FastAPI
) -> None:
    gateway = open_gateway({"tiny_invert": [start(inverting_service).url]})
    reply = httpx2.post(f"{gateway.url}/v1/tiny-invert", files={"image": plain_png()})
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png"), reply.text
    assert reply.headers["x-sightline-model"].startswith("tiny_invert@1.2.3+")
    model = httpx2.get(f"{gateway.url}/v1/models/tiny_invert").json()
    assert (model["title"], model["version"], model["ready_replicas"]) == ("Inversion", "1.2.3", 1)
    assert model["provider"] == "CPUExecutionProvider"
    assert httpx2.get(gateway.url + model["card"]).text == "# Inversion\n"
    paths = httpx2.get(f"{gateway.url}/openapi.json").json()["paths"]
    assert "multipart/form-data" in paths["/v1/tiny-invert"]["post"]["requestBody"]["content"]
    assert {"/v1/models/{model}/card", "/v2/models/{model}/infer"} <= set(paths)
