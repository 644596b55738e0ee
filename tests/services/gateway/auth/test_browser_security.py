"""Host check, origin check, CORS and security headers of replies."""

import hashlib
import socket
from collections.abc import Callable, Sequence

import httpx2
import pytest
from fastapi import FastAPI

from sightline.api.problems import Code
from tests.services.gateway.conftest import MakeService, ManualWorker, OpenGateway, Server, Start, encode_png

DESK = "https://desk.example.org"
PAGES = ("/docs", "/docs/assets/swagger-ui.css", "/openapi.json", "/console/", "/console", "/metrics", "/")


@pytest.fixture
def gateway(open_gateway: OpenGateway) -> Server:
    return open_gateway({}, wait=False, allowed_hosts=["photos.example.org", "*.lab.example", "192.0.2.7"])


def ask(server: Server, headers: Sequence[str], *, path: str = "/livez", version: str = "1.1") -> tuple[int, str]:
    """Sends a request with exactly these header lines; returns its status and body."""
    with socket.create_connection(server.address) as client:
        lines = [f"GET {path} HTTP/{version}", *headers, "Connection: close", "", ""]
        client.sendall("\r\n".join(lines).encode("latin-1"))
        reply = b"".join(iter(lambda: client.recv(65536), b""))
    return int(reply.split()[1]), reply.decode()


def test_own_and_allowed_hosts_are_served(gateway: Server) -> None:
    for host in (
        "localhost",
        "LocalHost.:8080",
        "127.0.0.1",
        "127.8.9.1:80",
        "[::1]:8080",
        "[0:0::1]",
        "[::ffff:127.0.0.1]",
        socket.gethostname(),
        "photos.example.org",
        "PHOTOS.Example.org:443",
        "a.lab.example",
        "b.a.lab.example:8080",
        "192.0.2.7:8080",
    ):
        assert ask(gateway, [f"Host: {host}"])[0] == 200, host


def test_other_hosts_are_refused(gateway: Server) -> None:
    for host in (
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io",
        "photos.example.org.evil.example",
        "evilphotos.example.org",
        "lab.example",
        "evil-lab.example",
        "localhost@evil.example",
        "evil.example#localhost",
        "evil.example/localhost",
        "localhost:8080@evil.example",
        "localhost:port",
        "localhost, evil.example",
        "[::1].evil.example",
        "169.254.169.254",
        "192.0.2.8",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "127.1",
        "[::]",
        "*",
        "*.lab.example",
        "xn--lcalhost-54a",
    ):
        for path in ("/livez", "/v1/models", "/v1/jobs", "/nowhere", "/console/", "/metrics"):
            status, reply = ask(gateway, [f"Host: {host}"], path=path)
            assert (status, Code.HOST_NOT_ALLOWED in reply) == (421, True), host
    assert "SIGHTLINE_ALLOWED_HOSTS" in reply


def test_request_has_exactly_one_host(gateway: Server) -> None:
    for headers in (["Host: localhost", "Host: evil.example"], ["Host: evil.example", "Host: localhost"], []):
        status, reply = ask(gateway, headers)
        assert (status, Code.INVALID_REQUEST in reply or "Invalid" in reply) == (400, True)
    assert ask(gateway, [], version="1.0")[0] == 200
    assert ask(gateway, ["Host: "])[0] == 421


def test_other_headers_do_not_replace_the_host(gateway: Server) -> None:
    for header in ("X-Forwarded-Host: localhost", "Forwarded: host=localhost", "X-Host: localhost"):
        assert ask(gateway, ["Host: evil.example", header])[0] == 421
    assert ask(gateway, ["Host: localhost", "X-Forwarded-Host: evil.example"])[0] == 200
    assert ask(gateway, ["Host: evil.example"], path="http://localhost/livez")[0] == 421


def test_job_is_not_deleted_under_another_host(gateway: Server) -> None:
    reply = httpx2.delete(f"{gateway.url}/v1/jobs/1", headers={"Host": "evil.example"})
    assert (reply.status_code, reply.headers["content-type"]) == (421, "application/problem+json")
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_all_hosts_can_be_allowed(open_gateway: OpenGateway) -> None:
    assert ask(open_gateway({}, wait=False, allowed_hosts=["*"]), ["Host: whatever.example"])[0] == 200


def test_wildcard_address_is_not_an_allowed_host(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False, host="0.0.0.0", allowed_hosts=["0.0.0.0", "::"])
    assert ask(gateway, ["Host: 0.0.0.0:8080"])[0] == 421


@pytest.fixture
def cors_gateway(start: Start, make_service: MakeService, open_gateway: OpenGateway) -> Server:
    return open_gateway({"echo": [start(make_service()).url]}, cors_origins="https://Desk.example.org:443/,http://a:81")


def post(server: Server, *headers: tuple[str, str]) -> httpx2.Response:
    return httpx2.post(f"{server.url}/v1/echo/x", content=b"x", headers=[("Content-Type", "text/plain"), *headers])


def test_requests_of_console_and_other_clients_pass_the_origin_check(cors_gateway: Server) -> None:
    own = ("Origin", cors_gateway.url)
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
        assert post(cors_gateway, *headers).status_code == 200, headers


def test_requests_of_other_sites_are_refused(cors_gateway: Server) -> None:
    port = cors_gateway.address[1]
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
        [("Origin", cors_gateway.url), evil],
        [("Origin", cors_gateway.url), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        [("Origin", f"{cors_gateway.url}, http://evil.example")],
        [("Origin", "https://desk.example.org.evil.example")],
        [("Origin", "http://desk.example.org")],
        [("Origin", "")],
        [("Origin", "http://[")],
        [evil, ("X-Forwarded-Host", "evil.example")],
    ):
        reply = post(cors_gateway, *headers)
        assert (reply.status_code, reply.json()["code"]) == (403, Code.CROSS_SITE), headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_origin_check_covers_all_routes_and_unsafe_methods(cors_gateway: Server, method: str) -> None:
    for path in ("/v1/echo", "/v1/jobs/1", "/v1/webhooks/test", "/v2/repository/index", "/v2/models/echo/infer", "/x"):
        reply = httpx2.request(method, cors_gateway.url + path, headers={"Origin": "http://evil.example"})
        assert (reply.status_code, reply.json()["code"]) == (403, Code.CROSS_SITE)


def test_safe_methods_pass_the_origin_check(cors_gateway: Server) -> None:
    reply = httpx2.get(f"{cors_gateway.url}/v1/models", headers={"Origin": "http://evil.example"})
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


def test_job_is_not_deleted_from_another_site(job_gateway: Server, worker: ManualWorker, png: bytes) -> None:
    job = httpx2.post(f"{job_gateway.url}/v1/echo", content=png, headers={"Prefer": "respond-async"}).headers[
        "location"
    ]
    assert httpx2.delete(job_gateway.url + job, headers={"Origin": "http://evil.example"}).status_code == 403
    assert worker.take().job.state == "running"


def test_page_of_an_allowed_origin_may_call_and_read(cors_gateway: Server) -> None:
    preflight = {"Origin": DESK, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    asked = httpx2.options(f"{cors_gateway.url}/v1/echo", headers=preflight)
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, DESK)
    assert "x-api-key" in asked.headers["access-control-allow-headers"]
    reply = post(cors_gateway, ("Origin", DESK))
    assert reply.headers["access-control-allow-origin"] == DESK
    assert {"Location", "Retry-After", "X-Request-Id"} <= set(
        reply.headers["access-control-expose-headers"].split(", ")
    )
    assert "access-control-allow-credentials" not in reply.headers


def test_preflight_needs_no_key_and_errors_are_readable(open_gateway: OpenGateway) -> None:
    keys = {"a": {"sha256": "ab" * 32}}
    cors_gateway = open_gateway({}, wait=False, keys=keys, cors_origins=[DESK])
    preflight = {"Origin": DESK, "Access-Control-Request-Method": "DELETE"}
    assert httpx2.options(f"{cors_gateway.url}/v1/jobs/1", headers=preflight).status_code == 200
    refused = httpx2.delete(f"{cors_gateway.url}/v1/jobs/1", headers={"Origin": DESK})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, DESK)
    other = httpx2.options(f"{cors_gateway.url}/v1/jobs/1", headers={**preflight, "Origin": "https://evil.example"})
    assert (other.status_code, other.headers.get("access-control-allow-origin")) == (403, None)
    assert other.json()["code"] == Code.CROSS_SITE


def test_cors_is_off_without_configured_origins(open_gateway: OpenGateway) -> None:
    cors_gateway = open_gateway({}, wait=False)
    preflight = {"Origin": DESK, "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "GET"):
        reply = httpx2.request(method, f"{cors_gateway.url}/v1/models", headers=preflight)
        assert not [name for name in reply.headers if name.startswith("access-control-")]


def test_api_replies_are_nosniff_and_no_store(job_gateway: Server, worker: ManualWorker, png: bytes) -> None:
    accepted = httpx2.post(f"{job_gateway.url}/v1/echo", content=png, headers={"Prefer": "respond-async"})
    worker.finish(worker.take(), {"image/png": png})
    path = accepted.headers["location"]
    result = httpx2.get(f"{job_gateway.url}{path}/result")
    again = httpx2.get(f"{job_gateway.url}{path}/result", headers={"If-None-Match": result.headers["etag"]})
    assert (result.status_code, again.status_code) == (200, 304)
    at_once = httpx2.post(f"{job_gateway.url}/v1/echo", content=png)
    for reply in (accepted, result, again, httpx2.get(job_gateway.url + path), at_once):
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_every_reply_is_nosniff(open_gateway: OpenGateway) -> None:
    cors_gateway = open_gateway({}, wait=False, keys={"a": {"sha256": hashlib.sha256(b"a").hexdigest()}})
    for path in (*PAGES, "/readyz", "/v1/jobs", "/x"):
        assert httpx2.get(cors_gateway.url + path).headers["x-content-type-options"] == "nosniff"


def test_docs_page_allows_its_own_script_alone(open_gateway: OpenGateway) -> None:
    cors_gateway = open_gateway({}, wait=False)
    reply = httpx2.get(f"{cors_gateway.url}/docs")
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["connect-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    assert "unsafe" not in policy["script-src"]
    assert "'sha256-" in policy["script-src"]


def test_head_is_served_wherever_get_is(
    start: Start, open_gateway: OpenGateway, make_inverting_service: Callable[..., FastAPI]
) -> None:
    cors_gateway = open_gateway({"tiny_invert": [start(make_inverting_service()).url]})
    paths = [
        path for path, item in httpx2.get(f"{cors_gateway.url}/openapi.json").json()["paths"].items() if "get" in item
    ]
    for path in (*paths, *PAGES):
        if path.startswith("/v1/jobs"):
            continue
        path = path.format(model="tiny_invert", version="1.2.3", request_id="0" * 32)
        got, head = httpx2.get(cors_gateway.url + path), httpx2.head(cors_gateway.url + path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers.get("content-type") == got.headers.get("content-type")
        assert head.headers.get("location") == got.headers.get("location")
    assert httpx2.head(f"{cors_gateway.url}/v1/tiny-invert").status_code == 405


def test_head_of_a_result_does_not_read_it(job_gateway: Server, worker: ManualWorker) -> None:
    picture = encode_png(64, 32)
    accepted = httpx2.post(f"{job_gateway.url}/v1/echo", content=picture, headers={"Prefer": "respond-async"})
    url = job_gateway.url + accepted.headers["location"]
    assert httpx2.head(f"{job_gateway.url}/v1/jobs").status_code == 200
    assert httpx2.head(f"{url}/result").status_code == 409
    events = httpx2.head(f"{url}/events", timeout=5)
    assert (events.status_code, events.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    worker.finish(worker.take(), {"image/png": picture})
    head, got = httpx2.head(f"{url}/result"), httpx2.get(f"{url}/result")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "cache-control", "x-sightline-job", "x-sightline-model"):
        assert head.headers[name] == got.headers[name]
