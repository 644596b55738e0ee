import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import FastAPI, Query
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from sightline.api.problems import Code, Problem
from sightline.http.metrics import HttpMetrics
from sightline.http.middleware import install_middleware
from sightline.http.problem_responses import install_problem_handlers

Serve = Callable[[ASGIApp], str]


@contextmanager
def no_file_descriptors() -> Iterator[None]:
    """Lets no file be opened inside the block, as in a process at its limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def client(serve: Serve) -> Any:
    app = FastAPI()

    @app.get("/problem")
    @app.get("/v2/problem")
    async def problem() -> None:
        raise Problem(Code.OVERLOADED, "Too much.", retry_after_s=1.2, queued=7)

    @app.get("/typed")
    async def typed(count: Annotated[int, Query(ge=1)]) -> int:
        return count

    @app.get("/bug")
    async def bug() -> None:
        raise ValueError("secret.jpg is broken")

    @app.get("/shortage")
    def shortage() -> None:
        with no_file_descriptors(), Path(os.devnull).open():
            pass

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(415, "No tea")

    install_problem_handlers(app)
    install_middleware(app, HttpMetrics(CollectorRegistry()), max_bytes=1000)
    with httpx2.Client(base_url=serve(app)) as client:
        yield client


def test_shortage_of_files_is_overload_with_retry_after(client: httpx2.Client) -> None:
    reply = client.get("/shortage")
    assert (reply.status_code, reply.json()["code"]) == (503, "overloaded")
    assert int(reply.headers["retry-after"]) > 0


def test_problem_is_sent_as_problem_details(client: httpx2.Client) -> None:
    reply = client.get("/problem", headers={"X-Request-Id": "abc"})
    assert reply.headers["retry-after"] == "2"
    assert reply.json() == {
        "type": "urn:sightline:problem:overloaded",
        "title": "Overloaded",
        "status": 503,
        "code": "overloaded",
        "detail": "Too much.",
        "request_id": "abc",
        "queued": 7,
    }


def test_problem_under_v2_has_an_error_member(client: httpx2.Client) -> None:
    reply = client.get("/v2/problem")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["error"] == reply.json()["detail"] == "Too much."


def test_invalid_fields_are_named_without_their_values(client: httpx2.Client) -> None:
    reply = client.get("/typed", params={"count": "secret"})
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["field"] == "query.count"
    assert "secret" not in reply.text


def test_unhandled_error_reveals_no_text(client: httpx2.Client) -> None:
    with capture_logs() as logged:
        reply = client.get("/bug")
    assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert "unhandled_error" in [entry["event"] for entry in logged]
    assert "secret" not in reply.text + repr(logged)


def test_framework_exceptions_become_problem_details(client: httpx2.Client) -> None:
    reply = client.get("/teapot")
    assert (reply.status_code, reply.json()["code"], reply.json()["detail"]) == (415, "unsupported_format", "No tea.")
    assert client.get("/nowhere").json()["code"] == "not_found"
    assert client.post("/bug").json()["code"] == "method_not_allowed"
