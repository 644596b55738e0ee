from collections.abc import Collection
from contextlib import ExitStack
from http import HTTPMethod

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.auth.middleware import fairness_key_of
from services.gateway.state import gateway_of
from sightline.api.problems import Problem
from sightline.http.concurrency import Permit
from sightline.http.middleware import BodyLimitMiddleware, declared_bytes, too_many_bytes
from sightline.http.problem_responses import problem_response

MAX_JSON_BYTES = 64 * 1024  # of what the gateway itself parses, which holds up every other request meanwhile
_BODILESS = (HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS)


class RouteBodyLimitMiddleware:
    """Limits bodies by their route: those that may become jobs, those that a service reads, and the gateway's own."""

    def __init__(self, app: ASGIApp, *, job_routes: Collection[str], max_bytes: int, max_job_bytes: int) -> None:
        self._job_routes = frozenset(job_routes)
        self._service_paths = ("/v1/models/", "/v2/models/", *(f"{route}/" for route in job_routes))
        self._usual = BodyLimitMiddleware(app, max_bytes)
        self._larger = BodyLimitMiddleware(app, max_job_bytes)
        self._own = BufferedBodyMiddleware(app, MAX_JSON_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._limited(scope)(scope, receive, send)

    def _limited(self, scope: Scope) -> ASGIApp:
        if scope["type"] != "http" or scope["method"] in _BODILESS:
            return self._usual
        if scope["path"] in self._job_routes:
            return self._larger if scope["method"] == HTTPMethod.POST else self._usual
        return self._usual if scope["path"].startswith(self._service_paths) else self._own


class BufferedBodyMiddleware:
    """Admits requests to the concurrency limit, and reads their body before it goes on.

    A problem that is raised while FastAPI reads a body would be answered as another one.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with ExitStack() as places:
            try:
                self._check(declared_bytes(scope))
                places.enter_context(
                    Permit(gateway_of(scope).limiter, fairness_key_of(scope)).admit(declared_bytes(scope))
                )
                body = await self._read(receive)
            except Problem as problem:
                await problem_response(problem, scope["path"])(scope, receive, send)
            else:
                await self.app(scope, _replayed(body, receive), send)

    async def _read(self, receive: Receive) -> bytes:
        body, more = bytearray(), True
        while more:
            message = await receive()
            body += message.get("body", b"")
            self._check(len(body))
            # A client that hung up is met again by whoever reads on.
            more = message.get("more_body", False)
        return bytes(body)

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise too_many_bytes(self._max_bytes)


def _replayed(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
