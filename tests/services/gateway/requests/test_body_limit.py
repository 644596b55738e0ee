import json
from collections.abc import Iterator

import httpx2
import pytest

from services.gateway.requests.body_limit import MAX_JSON_BYTES
from tests.services.gateway.conftest import MakeService, OpenGateway, Server, Start

TEXT = json.dumps({"url": "https://a.org/", "secret": "x"})


@pytest.fixture
def gateway(start: Start, open_gateway: OpenGateway, make_service: MakeService) -> Server:
    return open_gateway({"echo": [start(make_service()).url]}, max_bytes=200_000)


def pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


@pytest.mark.parametrize("path", ["/v1/webhooks/test", "/v2/repository/index", "/v1/other"])
@pytest.mark.parametrize("chunked", [True, False])
def test_json_for_the_gateway_itself_is_limited(gateway: Server, path: str, chunked: bool) -> None:
    body = TEXT.ljust(MAX_JSON_BYTES + 1).encode()
    reply = httpx2.post(
        f"{gateway.url}{path}",
        content=pieces(body) if chunked else body,
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 413
    assert reply.json()["limit_bytes"] == MAX_JSON_BYTES
    assert reply.headers["content-type"] == "application/problem+json"


def test_as_much_as_is_allowed_is_read(gateway: Server) -> None:
    body = TEXT.ljust(MAX_JSON_BYTES).encode()
    headers = {"Content-Type": "application/json"}
    reply = httpx2.post(f"{gateway.url}/v1/webhooks/test", content=pieces(body), headers=headers)
    assert reply.status_code == 400
    assert "secret" in reply.json()["detail"]


def test_bodies_for_services_are_larger(gateway: Server) -> None:
    url, headers, body = f"{gateway.url}/v1/echo/more", {"Content-Type": "text/plain"}, bytes(150_000)
    assert httpx2.post(url, content=body, headers=headers).content == body
    assert httpx2.post(url, content=bytes(250_000), headers=headers).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"9" * 60_000,
        b'{"url": %b}' % (b"9" * 50_000),
        b"[" + b"{}," * 20_000,
        b"\xff",
    ],
)
@pytest.mark.parametrize("path", ["/v1/webhooks/test", "/v2/repository/index"])
def test_hostile_json_is_refused_in_few_words(gateway: Server, path: str, body: bytes) -> None:
    reply = httpx2.post(f"{gateway.url}{path}", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["code"] == "invalid_request"
    assert len(reply.content) < 10_000
