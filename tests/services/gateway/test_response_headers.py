import hashlib
from collections.abc import Callable

import httpx2
from fastapi import FastAPI

from tests.services.gateway.conftest import Hand, OpenGateway, Server, Start, encode_png

PAGES = ("/docs", "/docs/assets/swagger-ui.css", "/openapi.json", "/console/", "/console", "/metrics", "/")


def test_browsers_guess_no_types_and_keep_no_replies(job_gateway: Server, hand: Hand, png: bytes) -> None:
    accepted = httpx2.post(f"{job_gateway.url}/v1/echo", content=png, headers={"Prefer": "respond-async"})
    hand.finish(hand.take(), {"image/png": png})
    path = accepted.headers["location"]
    result = httpx2.get(f"{job_gateway.url}{path}/result")
    again = httpx2.get(f"{job_gateway.url}{path}/result", headers={"If-None-Match": result.headers["etag"]})
    assert (result.status_code, again.status_code) == (200, 304)
    at_once = httpx2.post(f"{job_gateway.url}/v1/echo", content=png)
    for reply in (accepted, result, again, httpx2.get(job_gateway.url + path), at_once):
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_every_reply_says_nosniff(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False, keys={"a": {"sha256": hashlib.sha256(b"a").hexdigest()}})
    for path in (*PAGES, "/readyz", "/v1/jobs", "/x"):
        assert httpx2.get(gateway.url + path).headers["x-content-type-options"] == "nosniff"


def test_the_documents_page_runs_its_own_script_alone(open_gateway: OpenGateway) -> None:
    gateway = open_gateway({}, wait=False)
    reply = httpx2.get(f"{gateway.url}/docs")
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["connect-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    assert "unsafe" not in policy["script-src"]
    assert "'sha256-" in policy["script-src"]


def test_head_is_answered_wherever_get_is(
    start: Start, open_gateway: OpenGateway, make_inverting_service: Callable[..., FastAPI]
) -> None:
    gateway = open_gateway({"tiny_invert": [start(make_inverting_service()).url]})
    paths = [path for path, item in httpx2.get(f"{gateway.url}/openapi.json").json()["paths"].items() if "get" in item]
    for path in (*paths, *PAGES):
        if path.startswith("/v1/jobs"):
            continue
        path = path.format(model="tiny_invert", version="1.2.3")
        got, head = httpx2.get(gateway.url + path), httpx2.head(gateway.url + path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers.get("content-type") == got.headers.get("content-type")
        assert head.headers.get("location") == got.headers.get("location")
    assert httpx2.head(f"{gateway.url}/v1/tiny-invert").status_code == 405


def test_head_of_a_job_reads_nothing_of_its_result(job_gateway: Server, hand: Hand) -> None:
    picture = encode_png(64, 32)
    accepted = httpx2.post(f"{job_gateway.url}/v1/echo", content=picture, headers={"Prefer": "respond-async"})
    url = job_gateway.url + accepted.headers["location"]
    assert httpx2.head(f"{job_gateway.url}/v1/jobs").status_code == 200
    assert httpx2.head(f"{url}/result").status_code == 409
    events = httpx2.head(f"{url}/events", timeout=5)
    assert (events.status_code, events.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    hand.finish(hand.take(), {"image/png": picture})
    head, got = httpx2.head(f"{url}/result"), httpx2.get(f"{url}/result")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag", "cache-control", "x-sightline-job", "x-sightline-model"):
        assert head.headers[name] == got.headers[name]
