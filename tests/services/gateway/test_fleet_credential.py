"""The fleet credential, in attacks on a service through its gateway."""

import hashlib
from collections.abc import Callable
from http import HTTPStatus

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sightline.api.problems import Code
from tests.services.gateway.conftest import Eventually, MakeService, OpenGateway, Server, Start, plain_png

SECRET, OTHER = "the-fleet-knows-this", "another-fleet-knows-this"
HEADER = "X-Sightline-Fleet-Credential"
KEYS = {"desk": {"sha256": hashlib.sha256(b"desk").hexdigest()}}
DESK = {"X-Api-Key": "desk"}


@pytest.fixture
def service(start: Start, make_inverting_service: Callable[..., FastAPI]) -> Server:
    return start(make_inverting_service(fleet_credential=SECRET))


@pytest.fixture
def gateway(service: Server, open_gateway: OpenGateway) -> Server:
    return open_gateway({"tiny_invert": [service.url]}, keys=KEYS, fleet_credential=SECRET)


def test_service_with_a_credential_answers_its_gateway_alone(gateway: Server, service: Server) -> None:
    assert httpx2.post(f"{gateway.url}/v1/tiny-invert", content=plain_png(), headers=DESK).status_code == 200
    for headers in (DESK, {}, {HEADER: "desk"}):
        assert httpx2.post(f"{service.url}/v1/tiny-invert", content=plain_png(), headers=headers).status_code == 401
    assert httpx2.get(f"{gateway.url}/v1/models/tiny_invert/card", headers=DESK).status_code == 200
    assert httpx2.get(f"{gateway.url}/openapi.json").json()["paths"]["/v1/tiny-invert"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_replies_do_not_expose_the_address_of_the_service(gateway: Server, service: Server, method: str) -> None:
    port = service.url.rpartition(":")[2]
    for path in (
        "/v1/tiny-invert/",
        "/v1/tiny-invert//",
        "/v1/tiny-invert/docs",
        "/v1//tiny-invert",
        "/v1/%74iny-invert/",
        "/v1/models/tiny_invert/",
        "/v1/models/tiny_invert/card/",
        "/v2/models/tiny_invert/",
        "/v2/models/tiny_invert/versions/1.2.3/",
        "/v2/models/tiny_invert/ready/",
        "/v2/",
        "/v1/jobs/",
        "/docs/",
        "/readyz/",
        "/metrics/",
    ):
        reply = httpx2.request(method, gateway.url + path, headers=DESK)
        assert reply.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED), path
        assert port not in f"{reply.headers}{reply.text}"


def test_credential_sent_by_a_client_is_dropped(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    async def tell(request: Request) -> Response:
        got = request.headers.getlist(HEADER)
        return JSONResponse(got, headers={HEADER: SECRET, "X-Seen": ",".join(request.headers)})

    gateway = open_gateway({"echo": [start(make_service(tell)).url]}, fleet_credential=SECRET)
    for sent in (
        [(HEADER, "a")],
        [(HEADER.lower(), "a"), (HEADER.upper(), "b")],
        [("Connection", HEADER), (HEADER, "a")],
    ):
        reply = httpx2.post(f"{gateway.url}/v1/echo/x", headers=sent)
        assert reply.json() == [SECRET]
        assert HEADER not in reply.headers


@pytest.mark.parametrize("credential", [None, OTHER])
def test_gateway_with_another_credential_finds_no_service_ready(
    service: Server, open_gateway: OpenGateway, eventually: Eventually, credential: str | None
) -> None:
    eventually(lambda: httpx2.get(f"{service.url}/readyz").status_code == 200)
    gateway = open_gateway({"tiny_invert": [service.url]}, wait=False, fleet_credential=credential)
    eventually(lambda: httpx2.get(f"{gateway.url}/readyz").status_code == 503)
    reply = httpx2.post(f"{gateway.url}/v1/tiny-invert", content=plain_png())
    assert (reply.status_code, reply.json()["code"]) == (503, Code.NOT_READY)


def test_refused_credential_is_an_upstream_failure(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    async def refuse(request: Request) -> Response:
        return JSONResponse({}, 401, {"WWW-Authenticate": HEADER})

    gateway = open_gateway({"echo": [start(make_service(refuse)).url]}, fleet_credential=SECRET)
    reply = httpx2.post(f"{gateway.url}/v1/echo/x")
    assert (reply.status_code, reply.json()["code"]) == (502, Code.UPSTREAM_FAILED)
    assert "fleet credential" in reply.json()["detail"]


REFERENCES: tuple[tuple[str, str, str | None], ...] = (
    ("Location", "{service}/v1/echo?a=b#c", "/v1/echo?a=b#c"),
    ("Location", "/v2/models/echo", "/v2/models/echo"),
    ("Location", "../echo", "/v1/echo"),
    ("Location", "http://169.254.169.254/latest", None),
    ("Location", "//evil.example/v1/echo", None),
    ("Location", "/\\evil.example", "/%5Cevil.example"),
    ("Location", "{service}//evil.example/", None),
    ("Location", "http://[::1", None),
    ("Location", "javascript:alert(1)", None),
    ("Content-Location", "{service}/v1/echo/1", "/v1/echo/1"),
    (
        "Link",
        '<{service}/v1/echo?page=2>; rel="next", </v1/echo>; rel=first',
        '</v1/echo?page=2>; rel="next", </v1/echo>; rel=first',
    ),
    ("Link", "</v1/echo>; rel=first, <https://evil.example/>; rel=next", None),
    ("Refresh", "0; url={service}/", None),
    ("Alt-Svc", 'h2="127.0.0.1:9"', None),
    ("X-Accel-Redirect", "/internal", None),
    ("Access-Control-Allow-Origin", "*", None),
)


def test_links_of_a_service_are_rewritten(start: Start, make_service: MakeService, open_gateway: OpenGateway) -> None:
    async def refer(request: Request) -> Response:
        name, value, _ = REFERENCES[int(request.query_params["case"])]
        reference = value.format(service=str(request.base_url).rstrip("/"))
        return Response(b"", int(request.query_params["status"]), {name: reference})

    gateway = open_gateway({"echo": [start(make_service(refer)).url]})
    for case, (name, value, seen) in enumerate(REFERENCES):
        for status in (200, 301, 307):
            reply = httpx2.get(f"{gateway.url}/v1/echo/one?case={case}&status={status}")
            assert (reply.status_code, reply.headers.get(name)) == (status, seen), value


def test_probes_follow_no_redirects(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    taken: list[str | None] = []

    async def take(request: Request) -> Response:
        taken.append(request.headers.get(HEADER))
        return JSONResponse({})

    thief = start(make_service(readiness=take))

    async def redirect(request: Request) -> Response:
        return Response(b"", 307, {"Location": f"{thief.url}/readyz"})

    asked: list[str | None] = []

    async def count(request: Request) -> Response:
        asked.append(request.headers.get(HEADER))
        return await redirect(request)

    open_gateway({"echo": [start(make_service(readiness=count)).url]}, wait=False, fleet_credential=SECRET)
    eventually(lambda: len(asked) > 2)
    assert asked[0] == SECRET
    assert taken == []
