import socket
from collections.abc import Sequence

import httpx2
import pytest

from services.gateway.upstream import health_poller
from services.gateway.upstream.discovery import addresses
from tests.services.gateway.conftest import Eventually, MakeService, OpenGateway, Start

NAME = "dns+http://echo:8000"


@pytest.mark.anyio
async def test_every_address_of_a_name_is_a_replica() -> None:
    assert "http://127.0.0.1:8000" in (await addresses("dns+http://localhost:8000") or ())


@pytest.mark.anyio
@pytest.mark.parametrize(("error", "expected"), [(socket.EAI_NONAME, ()), (socket.EAI_AGAIN, None)])
async def test_a_name_that_is_not_there_differs_from_a_dns_that_is_not(
    monkeypatch: pytest.MonkeyPatch, error: int, expected: tuple[str, ...] | None
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(error, "no")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert await addresses(NAME) == expected


@pytest.mark.anyio
async def test_an_address_that_dns_says_twice_is_one_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::5", 8000, 0, 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [stream, stream])
    assert await addresses(NAME) == ["http://[fd00::5]:8000"]


class Dns:
    """What `echo` stands for, as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.urls: Sequence[str] | None = ()
        monkeypatch.setattr(health_poller, "addresses", self._addresses)

    async def _addresses(self, name: str) -> Sequence[str] | None:
        assert name == NAME
        return self.urls


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    return Dns(monkeypatch)


def replicas(gateway_url: str) -> tuple[int, int]:
    """All, and those that are ready."""
    model = httpx2.get(f"{gateway_url}/v1/models/echo").json()
    return model["replicas"], model["ready_replicas"]


def test_replicas_come_and_go_with_their_name(
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


def test_while_dns_is_away_those_that_are_well_stay(
    dns: Dns, start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    first, second = start(make_service()), start(make_service())
    dns.urls = [first.url, second.url]
    gateway = open_gateway({"echo": [NAME]})
    eventually(lambda: replicas(gateway.url) == (2, 2))
    dns.urls = None
    first.stop()
    eventually(lambda: replicas(gateway.url) == (1, 1))
