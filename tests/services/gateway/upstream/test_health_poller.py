"""Polling of replicas: readiness, and the addresses of DNS names."""

import threading
from collections.abc import Sequence

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.upstream import health_poller
from tests.services.gateway.conftest import Eventually, MakeService, OpenGateway, Start, event_set

NAME = "dns+http://echo:8000"


class Dns:
    """The addresses of `echo`; None while DNS is unreachable."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.urls: Sequence[str] | None = ()
        monkeypatch.setattr(health_poller, "resolve_replicas", self._addresses)

    async def _addresses(self, name: str) -> Sequence[str] | None:
        assert name == NAME
        return self.urls


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    return Dns(monkeypatch)


def replicas(gateway_url: str) -> tuple[int, int]:
    """Returns the number of all replicas, and of the ready ones."""
    model = httpx2.get(f"{gateway_url}/v1/models/echo").json()
    return model["replicas"], model["ready_replicas"]


def test_replicas_are_added_and_removed_with_their_dns_addresses(
    dns: Dns, start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    first, second = start(make_service()), start(make_service())
    gateway = open_gateway({"echo": [NAME]}, wait=False)
    assert replicas(gateway.url) == (0, 0)
    assert httpx2.post(f"{gateway.url}/v1/echo", content=b"x").status_code == 503
    dns.urls = [first.url, second.url]
    eventually(lambda: replicas(gateway.url) == (2, 2))
    dns.urls = [second.url]
    eventually(lambda: replicas(gateway.url) == (1, 1))
    first.stop()
    assert httpx2.post(f"{gateway.url}/v1/echo", content=b"x").text == "x"


def test_ready_replicas_stay_while_dns_is_unreachable(
    dns: Dns, start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    first, second = start(make_service()), start(make_service())
    dns.urls = [first.url, second.url]
    gateway = open_gateway({"echo": [NAME]})
    eventually(lambda: replicas(gateway.url) == (2, 2))
    dns.urls = None
    first.stop()
    eventually(lambda: replicas(gateway.url) == (1, 1))


def test_recovered_replica_is_used_again(
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


def test_late_probes_do_not_take_a_replica_out_at_once(
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
