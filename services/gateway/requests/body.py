import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import ExitStack
from http import HTTPMethod

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.auth.middleware import fairness_key_of
from services.gateway.state import gateway_of
from sightline.api.problems import Problem
from sightline.http.concurrency import Permit
from sightline.http.middleware import BodyLimitMiddleware, too_many_bytes
from sightline.http.problem_responses import problem_response
from sightline.http.request_headers import declared_bytes

WHOLE_BYTES = 256 * 1024  # larger bodies are written in pieces, so that the event loop turns in between
MAX_JSON_BYTES = 64 * 1024  # of what the gateway itself parses, which holds up every other request meanwhile
_BODILESS = (HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS)


class RequestBody:
    """A request body on its way through: counted, hashed, and kept for as long as it is small.

    While it is kept, it can be sent to another replica from its first byte. `failure` holds what ended the body early,
    because the HTTP client that drains the body wraps whatever is raised in there.
    """

    def __init__(self, receive: Receive, *, keep_bytes: int, reserve: Callable[[int], None]) -> None:
        self.size_bytes = 0
        self.failure: ClientDisconnect | Problem | None = None
        self._receive, self._keep_bytes, self._reserve = receive, keep_bytes, reserve
        self._kept: list[bytes] | None = []
        self._sha256 = hashlib.sha256()
        self._complete = asyncio.Event()

    @property
    def complete(self) -> bool:
        return self._complete.is_set()

    @property
    def replayable(self) -> bool:
        return self._kept is not None

    @property
    def sha256(self) -> str | None:
        """Of the whole body, once all of it went by."""
        return self._sha256.hexdigest() if self.complete and self.size_bytes else None

    async def read(self) -> bytes:
        """The next bytes from the client; empty after the last."""
        if self.complete:
            return b""
        try:
            return self._take(await self._receive())
        except (ClientDisconnect, Problem) as error:
            self.failure = error
            raise

    def content(self) -> bytes | AsyncIterator[bytes] | None:
        """What is to be sent, from its first byte; only while it is replayable."""
        if self.complete and self.size_bytes <= WHOLE_BYTES:
            return b"".join(self._kept or ()) or None
        return self.stream()

    async def stream(self) -> AsyncIterator[bytes]:
        for chunk in list(self._kept or ()):
            yield chunk
        while not self.complete:
            chunk = await self.read()
            if self.size_bytes > self._keep_bytes:
                self._kept = None
            if chunk:
                yield chunk

    def forget(self) -> None:
        """Lets go of what is kept: the body has been put where it is needed."""
        self._kept = None

    async def wait_complete(self) -> None:
        await self._complete.wait()

    async def wait_disconnected(self) -> None:
        """Returns when the client has gone; only to be awaited once the body is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _take(self, message: Message) -> bytes:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        self._reserve(len(chunk))
        self.size_bytes += len(chunk)
        self._sha256.update(chunk)
        if self._kept is not None:
            self._kept.append(chunk)
        if not message.get("more_body", False):
            self._complete.set()
        return chunk


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
        declared = declared_bytes(Headers(scope=scope))
        with ExitStack() as places:
            try:
                self._check(declared)
                places.enter_context(
                    Permit(gateway_of(scope).limiter, fairness_key_of(scope)).admit(
                        declared_bytes(Headers(scope=scope))
                    )
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
