import json
from collections.abc import Callable, Iterator

import httpx2
import pytest
import structlog
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp
from structlog.testing import capture_logs
from structlog.typing import EventDict

from sightline.http.metrics import HttpMetrics, add_metrics_route
from sightline.http.middleware import add_log_fields, install_middleware
from sightline.http.problem_responses import install_problem_handlers
from tests.tiny_service import MakeApp, WaitReady

Serve = Callable[[ASGIApp], str]
LIMIT_BYTES = 1000


@pytest.fixture
def client(serve: Serve) -> Iterator[httpx2.Client]:
    app, registry = FastAPI(), CollectorRegistry()

    @app.post("/things/{name}")
    async def things(name: str, request: Request) -> dict[str, str]:
        add_log_fields(request.scope, weight=3)
        structlog.get_logger().info("inside")
        return {"name": name, "bytes": str(len(await request.body())), "query": request.url.query}

    add_metrics_route(app, registry)
    install_problem_handlers(app)
    install_middleware(app, HttpMetrics(registry), max_bytes=LIMIT_BYTES)
    with httpx2.Client(base_url=serve(app)) as client:
        yield client


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as entries:
        yield entries


def test_well_formed_request_id_is_adopted(client: httpx2.Client) -> None:
    assert client.post("/things/a", headers={"X-Request-Id": "case:1.2_3-4"}).headers["x-request-id"] == "case:1.2_3-4"


@pytest.mark.parametrize("given", ["", "with space", 'quote"', "x" * 129])
def test_malformed_request_id_is_replaced(client: httpx2.Client, given: str) -> None:
    made = client.post("/things/a", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert made != given
    assert len(made) == 32


def test_successful_probe_is_logged_at_debug_level(client: httpx2.Client, logs: list[EventDict]) -> None:
    client.get("/metrics")

    assert [entry["log_level"] for entry in logs] == ["debug"]


def test_log_lines_have_the_request_id_and_the_access_log_the_route(
    client: httpx2.Client, logs: list[EventDict]
) -> None:
    client.post("/things/secret-name?key=secret", headers={"X-Request-Id": "abc"}, content=b"1234")
    inside, access = logs
    assert (inside["event"], inside["request_id"]) == ("inside", "abc")
    assert (access["event"], access["request_id"], access["route"]) == ("request", "abc", "/things/{name}")
    assert (access["status"], access["weight"], access["method"]) == (200, 3, "POST")
    assert access["duration_ms"] > 0
    assert "secret" not in json.dumps(logs, default=str)


@pytest.mark.parametrize(
    ("sent", "left"), [("a=&b=1&c&d=", "b=1"), ("a=%20&b==&c=x=", "a=%20&b==&c=x="), ("=1&&", "=1"), ("a=", "")]
)
def test_query_parameters_without_a_value_are_dropped(client: httpx2.Client, sent: str, left: str) -> None:
    assert client.post(f"/things/a?{sent}").json()["query"] == left


def test_unknown_paths_share_one_label(client: httpx2.Client, logs: list[EventDict]) -> None:
    client.get("/secret-1")
    client.get("/secret-2")
    assert {entry["route"] for entry in logs} == {"unmatched"}
    text = client.get("/metrics").text
    assert 'route="unmatched",status="404"} 2.0' in text
    assert "secret" not in text


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size_bytes", "status"), [(LIMIT_BYTES, 200), (LIMIT_BYTES + 1, 413)])
def test_bodies_are_accepted_up_to_the_limit(
    client: httpx2.Client, size_bytes: int, status: int, chunked: bool
) -> None:
    body = b"x" * size_bytes
    reply = client.post("/things/a", content=iter([body[:500], body[500:]]) if chunked else body)
    assert reply.status_code == status
    if status == 413:
        assert (reply.json()["code"], reply.json()["limit_bytes"]) == ("too_many_bytes", LIMIT_BYTES)


def test_head_is_answered_wherever_get_is(serve: Serve, make_app: MakeApp, wait_ready: WaitReady) -> None:
    url = serve(make_app())
    wait_ready(url)
    paths = [path for path, item in httpx2.get(f"{url}/openapi.json").json()["paths"].items() if "get" in item]
    assert len(paths) > 8
    for path in (*paths, "/metrics", "/docs", "/openapi.json"):
        path = path.format(model="tiny_invert", version="1.2.3")
        got, head = httpx2.get(url + path), httpx2.head(url + path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]
        assert path in ("/metrics", "/readyz") or head.headers["content-length"] == got.headers["content-length"]


def test_head_is_refused_where_get_is(serve: Serve, make_app: MakeApp) -> None:
    url = serve(make_app())
    assert httpx2.head(f"{url}/v1/tiny-invert").status_code == httpx2.get(f"{url}/v1/tiny-invert").status_code == 405
    assert httpx2.head(f"{url}/nowhere").status_code == 404


def test_head_request_is_measured_by_its_route(serve: Serve, make_app: MakeApp) -> None:
    url = serve(make_app())
    httpx2.head(f"{url}/livez")
    assert 'method="HEAD",route="/livez",status="200"' in httpx2.get(f"{url}/metrics").text
