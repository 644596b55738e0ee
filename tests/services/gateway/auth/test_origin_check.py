"""Pages of other sites change nothing, and read nothing but what they are allowed to."""

import httpx2
import pytest

from sightline.api.problems import Code
from tests.services.gateway.conftest import Hand, MakeService, OpenGateway, Server, Start

DESK = "https://desk.example.org"


@pytest.fixture
def gateway(start: Start, make_service: MakeService, open_gateway: OpenGateway) -> Server:
    return open_gateway(
        {"echo": [start(make_service()).url]}, cors_origins="https://JobBackend.example.org:443/,http://a:81"
    )


def post(server: Server, *headers: tuple[str, str]) -> httpx2.Response:
    return httpx2.post(f"{server.url}/v1/echo/x", content=b"x", headers=[("Content-Type", "text/plain"), *headers])


def test_takes_what_the_console_and_other_clients_send(gateway: Server) -> None:
    own = ("Origin", gateway.url)
    for headers in (
        [],
        [own],
        [own, ("Sec-Fetch-Site", "same-origin")],
        [("Sec-Fetch-Site", "same-origin")],
        [("Sec-Fetch-Site", "none")],
        [("Origin", "null"), ("Sec-Fetch-Site", "same-origin")],
        [("Origin", "https://localhost"), ("Host", "localhost")],
        [("Origin", "http://localhost:80"), ("Host", "LOCALHOST")],
        [("Origin", DESK)],
        [("Origin", DESK), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", "http://a:81"), ("Sec-Fetch-Site", "cross-site")],
    ):
        assert post(gateway, *headers).status_code == 200, headers


def test_refuses_what_pages_of_other_sites_send(gateway: Server) -> None:
    port = gateway.address[1]
    evil = ("Origin", "http://evil.example")
    for headers in (
        [evil],
        [evil, ("Sec-Fetch-Site", "same-origin")],
        [evil, ("Sec-Fetch-Site", "cross-site")],
        [evil, ("Host", "localhost")],
        [("Origin", "null")],
        [("Origin", "null"), ("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site")],
        [("Sec-Fetch-Site", "CROSS-SITE")],
        [("Sec-Fetch-Site", "")],
        [("Origin", "http://localhost:1")],
        [("Origin", f"http://127.0.0.1:{port}.evil.example")],
        [("Origin", f"http://localhost:{port}")],
        [("Origin", "http://127.0.0.1")],
        [("Origin", gateway.url), evil],
        [("Origin", gateway.url), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", f"{gateway.url}, http://evil.example")],
        [("Origin", "https://desk.example.org.evil.example")],
        [("Origin", "http://desk.example.org")],
        [("Origin", "")],
        [("Origin", "http://[")],
        [evil, ("X-Forwarded-Host", "evil.example")],
    ):
        reply = post(gateway, *headers)
        assert (reply.status_code, reply.json()["code"]) == (403, Code.CROSS_SITE), headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_is_asked_of_every_method_that_changes_something_on_every_route(gateway: Server, method: str) -> None:
    for path in ("/v1/echo", "/v1/jobs/1", "/v1/webhooks/test", "/v2/repository/index", "/v2/models/echo/infer", "/x"):
        reply = httpx2.request(method, gateway.url + path, headers={"Origin": "http://evil.example"})
        assert (reply.status_code, reply.json()["code"]) == (403, Code.CROSS_SITE)


def test_reading_is_left_to_the_browsers_own_rule(gateway: Server) -> None:
    reply = httpx2.get(f"{gateway.url}/v1/models", headers={"Origin": "http://evil.example"})
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


def test_a_job_is_not_deleted_from_another_site(job_gateway: Server, hand: Hand, png: bytes) -> None:
    job = httpx2.post(f"{job_gateway.url}/v1/echo", content=png, headers={"Prefer": "respond-async"}).headers[
        "location"
    ]
    assert httpx2.delete(job_gateway.url + job, headers={"Origin": "http://evil.example"}).status_code == 403
    assert hand.take().job.state == "running"


def test_an_allowed_page_may_call_and_read(gateway: Server) -> None:
    preflight = {"Origin": DESK, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    asked = httpx2.options(f"{gateway.url}/v1/echo", headers=preflight)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, DESK)
    assert "x-api-key" in asked.headers["access-control-allow-headers"]
    reply = post(gateway, ("Origin", DESK))
    assert reply.headers["access-control-allow-origin"] == DESK
    assert {"Location", "Retry-After", "X-Request-Id"} <= set(
        reply.headers["access-control-expose-headers"].split(", ")
    )
    assert "access-control-allow-credentials" not in reply.headers


def test_a_preflight_passes_before_the_key_and_errors_can_be_read(open_gateway: OpenGateway) -> None:
    keys = {"a": {"sha256": "ab" * 32}}
    gateway = open_gateway({}, wait=False, keys=keys, cors_origins=[DESK])
    preflight = {"Origin": DESK, "Access-Control-Request-Method": "DELETE"}
    assert httpx2.options(f"{gateway.url}/v1/jobs/1", headers=preflight).status_code == 200
    refused = httpx2.delete(f"{gateway.url}/v1/jobs/1", headers={"Origin": DESK})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, DESK)
    other = httpx2.options(f"{gateway.url}/v1/jobs/1", headers={**preflight, "Origin": "https://evil.example"})
    assert (other.status_code, other.headers.get("access-control-allow-origin")) == (403, None)
    assert other.json()["code"] == Code.CROSS_SITE


def test_cors_is_off_unless_origins_are_named(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False)
    preflight = {"Origin": DESK, "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "GET"):
        reply = httpx2.request(method, f"{gateway.url}/v1/models", headers=preflight)
        assert not [name for name in reply.headers if name.startswith("access-control-")]
