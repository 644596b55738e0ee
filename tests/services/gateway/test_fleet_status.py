import threading
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.upstream import health_poller
from services.gateway.upstream.replicas import resolve_replicas
from sightline.api.problems import Code
from tests.services.gateway.conftest import Eventually, MakeService, OpenGateway, Start, wait_until

SECRET = "prometheus-reads-with-this"
UPSTREAMS = {"hdr_correct": ["http://127.0.0.1:1", "https://[::1]:2"]}


def test_targets_list_every_replica(open_gateway: OpenGateway, tmp_path: Path) -> None:
    file = tmp_path / "metrics-credential"
    file.write_text(f"{SECRET}\n")
    gateway = open_gateway(UPSTREAMS, wait=False, metrics_credential_file=str(file))
    headers = {"Authorization": f"Bearer {SECRET}"}
    assert httpx2.get(f"{gateway.url}/metrics/targets", headers=headers).json() == [
        {"targets": ["127.0.0.1:1"], "labels": {"service": "hdr-correct", "__scheme__": "http"}},
        {"targets": ["[::1]:2"], "labels": {"service": "hdr-correct", "__scheme__": "https"}},
    ]


def test_targets_need_the_metrics_credential(open_gateway: OpenGateway) -> None:
    url = f"{open_gateway(UPSTREAMS, wait=False, metrics_credential=SECRET).url}/metrics/targets"
    for sent in (
        [],
        [("Authorization", SECRET)],
        [("Authorization", "Bearer")],
        [("Authorization", f"Bearer {SECRET}x")],
        [("Authorization", f"Bearer {SECRET}"), ("Authorization", "Bearer other")],
        [("X-Api-Key", SECRET)],
    ):
        reply = httpx2.get(url, headers=sent)
        assert (reply.status_code, "127.0.0.1" in reply.text) == (401, False)


def test_targets_are_not_found_without_a_configured_credential(open_gateway: OpenGateway) -> None:
    gateway = open_gateway(UPSTREAMS, wait=False)
    assert httpx2.get(f"{gateway.url}/metrics/targets").status_code == 404


PATHS = ("/livez", "/readyz", "/metrics", "/openapi.json", "/v1/models", "/v1/capacity", "/v2/health/ready", "/nowhere")


def test_other_routes_do_not_expose_replica_addresses(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({"echo": ["http://127.0.0.1:61001"]}, wait=False)
    for path in PATHS:
        assert "61001" not in httpx2.get(gateway.url + path).text
    assert "61001" not in httpx2.post(f"{gateway.url}/v1/echo", content=b"x").text


def test_readiness_names_a_background_task_that_failed(
    open_gateway: OpenGateway, start: Start, make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = threading.Event()

    async def fail_when_doomed(url: str) -> Sequence[str] | None:
        if doomed.is_set():
            raise ValueError("a fault of the program")
        return await resolve_replicas(url)

    monkeypatch.setattr(health_poller, "resolve_replicas", fail_when_doomed)
    service = start(make_service())
    gateway = open_gateway({"echo": [service.url.replace("http://127.0.0.1", "dns+http://localhost")]})
    doomed.set()
    wait_until(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 503)
    reply = httpx2.get(f"{gateway.url}/readyz").json()
    assert (reply["ready"], reply["detail"]) == (False, "The background task 'health poller' ended unexpectedly.")
    assert "fault of the program" not in str(reply)
    assert httpx2.get(f"{gateway.url}/livez").status_code == 200
    assert httpx2.get(f"{gateway.url}/v2/health/ready").status_code == 503


def test_readiness_follows_the_readiness_of_every_model(
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


def test_gateway_without_models_is_not_ready(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False)
    assert httpx2.get(f"{gateway.url}/readyz").status_code == 503


def test_models_are_listed_with_their_services_descriptions(start: Start, open_gateway: OpenGateway) -> None:
    service = FastAPI()
    detector = {"name": "picodet", "version": "1", "weights_sha256": "cd" * 32}

    @service.get("/readyz")
    async def readyz() -> dict[str, object]:
        weights = {"version": "1.2.3", "weights_sha256": "ab" * 32, "contract": "shipped"}
        return {**weights, "provider": "CPU", "detector": detector, "stronger_weights": "There are."}

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
        "detector": detector,
        "stronger_weights": "There are.",
        "provider": "CPU",
        "precision": None,
        "card": "/v1/models/hdr_correct/card",
        "replicas": 1,
        "ready_replicas": 1,
    }
    assert httpx2.get(f"{gateway.url}/v1/models/hdr_correct").json() == model
    assert httpx2.get(f"{gateway.url}/v1/models/hdr-correct").json() == model  # as in its route
    assert httpx2.get(gateway.url + model["card"]).json()["title"] == "HDR correction"


def test_capacity_has_limits_and_loads(start: Start, make_service: MakeService, open_gateway: OpenGateway) -> None:
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
