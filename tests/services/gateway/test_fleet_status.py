import threading
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest

from services.gateway.upstream import health_poller
from services.gateway.upstream.replicas import addresses
from tests.services.gateway.conftest import MakeService, OpenGateway, Start, wait_until

SECRET = "prometheus-reads-with-this"
UPSTREAMS = {"hdr_correct": ["http://127.0.0.1:1", "https://[::1]:2"]}


def test_prometheus_hears_of_every_replica(open_gateway: OpenGateway, tmp_path: Path) -> None:
    file = tmp_path / "metrics-credential"
    file.write_text(f"{SECRET}\n")
    gateway = open_gateway(UPSTREAMS, wait=False, metrics_credential_file=str(file))
    headers = {"Authorization": f"Bearer {SECRET}"}
    assert httpx2.get(f"{gateway.url}/metrics/targets", headers=headers).json() == [
        {"targets": ["127.0.0.1:1"], "labels": {"service": "hdr-correct", "__scheme__": "http"}},
        {"targets": ["[::1]:2"], "labels": {"service": "hdr-correct", "__scheme__": "https"}},
    ]


def test_replicas_are_told_to_nobody_else(open_gateway: OpenGateway) -> None:
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


def test_without_a_credential_nobody_hears_of_replicas(open_gateway: OpenGateway) -> None:
    gateway = open_gateway(UPSTREAMS, wait=False)
    assert httpx2.get(f"{gateway.url}/metrics/targets").status_code == 404


PATHS = ("/livez", "/readyz", "/metrics", "/openapi.json", "/v1/models", "/v1/capacity", "/v2/health/ready", "/nowhere")


def test_no_other_route_names_an_address_of_a_replica(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({"echo": ["http://127.0.0.1:61001"]}, wait=False)
    for path in PATHS:
        assert "61001" not in httpx2.get(gateway.url + path).text
    assert "61001" not in httpx2.post(f"{gateway.url}/v1/echo", content=b"x").text


def test_gateway_whose_background_task_fails_is_not_ready_and_says_why(
    open_gateway: OpenGateway, start: Start, make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    doomed = threading.Event()

    async def fail_when_doomed(url: str) -> Sequence[str] | None:
        if doomed.is_set():
            raise ValueError("a fault of the program")
        return await addresses(url)

    monkeypatch.setattr(health_poller, "addresses", fail_when_doomed)
    service = start(make_service())
    gateway = open_gateway({"echo": [service.url.replace("http://127.0.0.1", "dns+http://localhost")]})
    doomed.set()
    wait_until(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 503)
    reply = httpx2.get(f"{gateway.url}/readyz").json()
    assert (reply["ready"], reply["detail"]) == (False, "The background task 'health poller' ended unexpectedly.")
    assert "fault of the program" not in str(reply)
    assert httpx2.get(f"{gateway.url}/livez").status_code == 200
