"""Middleware of every HTTP process: request id, access log, metrics, size limit, HEAD, empty parameters."""

import re
import time
import uuid
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.metrics import HttpMetrics
from sightline.http.problem_responses import problem_response
from sightline.http.request_headers import declared_bytes

log = structlog.get_logger()

REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,128}")
UNMATCHED = "unmatched"
# Called every few seconds, and logged only when they fail.
PROBE_PATHS = {"/livez", "/readyz", "/metrics", "/metrics/targets", "/v2/health/live", "/v2/health/ready"}
_FACTS = "sightline.access_facts"

TELEMETRY: TelemetryConfig = {
    # Its logs would quote exceptions, which may quote what was sent; metrics are for Prometheus to read.
    "logs": False,
    "metrics": False,
    "operation_spans": False,
    "exclude": lambda scope: scope.get("path") in PROBE_PATHS,
}

_IS_HEAD = "sightline.is_head"


def install_middleware(
    app: FastAPI, metrics: HttpMetrics, *, max_bytes: int | None, guards: Sequence[Middleware] = ()
) -> None:
    """Adds the middleware to the application.

    The last added runs first: id, access log, `guards` in their order, size limit, then what changes the request.
    """
    # The last added runs first.
    app.add_middleware(EmptyParametersMiddleware)
    app.add_middleware(HeadMiddleware)
    if max_bytes is not None:
        app.add_middleware(BodyLimitMiddleware, max_bytes=max_bytes)
    for guard in reversed(guards):
        app.add_middleware(guard.cls, *guard.args, **guard.kwargs)
    app.add_middleware(AccessLogMiddleware, metrics=metrics)
    app.add_middleware(RequestIdMiddleware)


def add_log_fields(scope: Scope, **facts: Any) -> None:
    """Adds fields to the access log line of this request."""
    scope.setdefault(_FACTS, {}).update(facts)


class RequestIdMiddleware:
    """Adopts a well-formed id from the client or makes one, binds it to the logs and adds it to the reply."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[names.REQUEST_ID] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self.app(scope, receive, send_with_id)


def _request_id(headers: Headers) -> str:
    offered = headers.get(names.REQUEST_ID, "")
    return offered if REQUEST_ID_PATTERN.fullmatch(offered) else uuid.uuid4().hex


class AccessLogMiddleware:
    """Writes one log line and one observation for each request, named by its route template."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        scope[_FACTS] = {}

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, duration_s: float) -> None:
        route, method = route_template(scope), scope["method"]
        self.metrics.request_duration_s.labels(method, route, str(status)).observe(duration_s)
        level = "debug" if route in PROBE_PATHS and status < HTTPStatus.BAD_REQUEST else "info"
        facts = {"method": method, "route": route, "status": status, "duration_ms": round(duration_s * 1e3, 2)}
        getattr(log, level)("request", **facts, **scope[_FACTS])


def route_template(scope: Scope) -> str:
    """Returns the path of the route with its parameters unfilled: bounded in number, and free of user input."""
    return str(getattr(scope.get("route"), "path", UNMATCHED))


class EmptyParametersMiddleware:
    """Drops query parameters without a value, as browsers send them for form fields left empty."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["query_string"]:
            parameters = scope["query_string"].split(b"&")
            # In place: the router adds its route to the scope that the access log reads.
            scope["query_string"] = b"&".join(each for each in parameters if each.partition(b"=")[2])
        await self.app(scope, receive, send)


class BodyLimitMiddleware:
    """Refuses bodies over the limit, by their declared length or while they come in.

    FastAPI's own `max_body_size` answers a declared length over the limit in plain text, past the problem handlers.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if declared_bytes(Headers(scope=scope)) > self.max_bytes:
            await problem_response(too_many_bytes(self.max_bytes), scope["path"])(scope, receive, send)
            return
        received_bytes = 0

        async def count() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > self.max_bytes:
                raise too_many_bytes(self.max_bytes)
            return message

        await self.app(scope, count, send)


def too_many_bytes(limit_bytes: int, *, hint: str = "") -> Problem:
    detail = f"The request is larger than {limit_bytes} bytes.{hint}"
    return Problem(Code.TOO_MANY_BYTES, detail, limit_bytes=limit_bytes)


class HeadMiddleware:
    """Answers HEAD as GET without the body, because FastAPI's routes answer it with 405."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        # A copy: the server looks into its own scope for whether a body may follow.
        as_get = {**scope, "method": "GET", _IS_HEAD: True}
        try:
            await self.app(as_get, receive, partial(_send_without_body, send))
        finally:
            # The access log names the route.
            scope.update({"route": as_get["route"]} if "route" in as_get else {})


def is_head(scope: Scope) -> bool:
    """Returns whether the client wants the headers alone; routes with long or endless bodies check it."""
    return scope["method"] == "HEAD" or bool(scope.get(_IS_HEAD))


async def _send_without_body(send: Send, message: Message) -> None:
    await send({**message, "body": b""} if message["type"] == "http.response.body" else message)
