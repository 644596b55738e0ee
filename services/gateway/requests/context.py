"""The state of one proxied request: its permit, its body while it arrives, its deadline and its reply."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Collection, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPMethod

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.auth.api_keys import caller_of, fairness_key_of
from services.gateway.settings import RESERVED, GatewaySettings
from services.gateway.state import gateway_of
from sightline.api.problems import Code, Problem
from sightline.http.concurrency import ConcurrencyLimiter, Permit
from sightline.http.middleware import too_many_bytes
from sightline.http.problem_responses import problem_response
from sightline.http.request_headers import deadline_s, declared_bytes
from sightline.runtime.tasks import cancel_and_wait

WHOLE_BYTES = 256 * 1024  # larger bodies are sent in pieces, so that the event loop turns in between
MAX_JSON_BYTES = 64 * 1024  # parsing JSON blocks the event loop, and with it every other request
_BODILESS = (HTTPMethod.GET, HTTPMethod.HEAD, HTTPMethod.OPTIONS)


class RequestBody:
    """A request body while it arrives: the one place where its bytes are counted, limited, hashed and kept.

    While it is small it is kept, so that it can be sent to another replica from its first byte. `failure` is the error
    that ended it early: an HTTP client that sends the body on wraps the errors raised while it reads.
    """

    def __init__(self, receive: Receive, permit: Permit, *, limit_bytes: int, keep_bytes: int) -> None:
        self.size_bytes = 0
        self.limit_bytes, self.limit_hint = limit_bytes, ""
        self.failure: ClientDisconnect | Problem | None = None
        self._receive, self._permit, self._keep_bytes = receive, permit, keep_bytes
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
        """The digest of the whole body; None while it is incomplete, and without a body."""
        return self._sha256.hexdigest() if self.complete and self.size_bytes else None

    def require_within_limit(self, size_bytes: int) -> None:
        """Raises Problem TOO_MANY_BYTES."""
        if size_bytes > self.limit_bytes:
            raise too_many_bytes(self.limit_bytes, hint=self.limit_hint)

    async def read(self) -> bytes:
        """Returns the next bytes from the client; empty after the last."""
        if self.complete:
            return b""
        try:
            return self._take(await self._receive())
        except (ClientDisconnect, Problem) as error:
            self.failure = error
            raise

    async def read_all(self) -> bytes:
        """Returns the whole body, which `keep_bytes` must allow."""
        while not self.complete:
            await self.read()
        return b"".join(self._kept or ())

    def content(self) -> bytes | AsyncIterator[bytes] | None:
        """Returns the body to send, from its first byte; only while it is replayable."""
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
        """Frees the kept bytes, once the body has been stored elsewhere."""
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
        self.require_within_limit(self.size_bytes + len(chunk))
        self._permit.hold(self.size_bytes + len(chunk))
        self.size_bytes += len(chunk)
        self._sha256.update(chunk)
        if self._kept is not None:
            self._kept.append(chunk)
        if not message.get("more_body", False):
            self._complete.set()
        return chunk


class RequestContext:
    """One request to a service from its first byte to its reply: caller, permit, body, deadline and sent bytes."""

    def __init__(
        self, settings: GatewaySettings, limiter: ConcurrencyLimiter, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.scope, self.headers = scope, Headers(scope=scope)
        self.caller = caller_of(scope)
        self.outcome = "cancelled"
        self.started = False
        self.sent_bytes = 0
        self._settings, self._send = settings, send
        self._permit = Permit(limiter, self.caller.fairness_key)
        self.body = RequestBody(receive, self._permit, limit_bytes=settings.max_bytes, keep_bytes=settings.replay_bytes)
        self._arrived_at = time.monotonic()
        self._requested_s: float | None = None
        self._is_job = False
        self._timer: asyncio.Timeout | None = None

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Holds the request's permit; raises INVALID_REQUEST, TOO_MANY_BYTES, OVERLOADED or TOO_MANY_REQUESTS."""
        requested_s = deadline_s(self.headers)
        self._requested_s = None if requested_s is None else min(requested_s, self._settings.max_deadline_s)
        size_bytes = declared_bytes(self.headers)
        self.body.require_within_limit(size_bytes)
        with self._permit.admit(0 if self._is_job else size_bytes):
            yield

    def convert_to_job(self) -> None:
        """Applies the limits of jobs: the body is written to disk, so it may be larger and take longer to arrive."""
        if self._is_job:
            return
        self._is_job = True
        self._permit.waive()
        self.body.limit_bytes, self.body.limit_hint = self._settings.max_job_bytes, ""
        if self._timer is not None:
            due = None if self.body.complete else asyncio.get_running_loop().time() + self._upload_s()
            # Rescheduling fails where the time has just run out, or the client has just gone.
            with suppress(RuntimeError):
                self._timer.reschedule(due)

    async def serve(self, work: Coroutine[None, None, None]) -> None:
        """Runs the work until it ends, the client disconnects or the deadline passes.

        Raises Problem or ClientDisconnect while no reply has begun; a reply that has begun is cut off.
        """
        task, abandoned = asyncio.create_task(work), asyncio.create_task(self._wait_abandoned())
        try:
            await asyncio.wait((task, abandoned), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            elif not self.started:
                raise abandoned.result()
        finally:
            await cancel_and_wait(task, abandoned)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.outcome, self.started = str(message["status"]), True
        self.sent_bytes += len(message.get("body", b""))
        await self._send(message)

    def left_s(self) -> float:
        """Returns the seconds until the reply is due.

        A deadline that the client names counts from arrival. The default counts from the end of the upload, so that a
        slow link does not use it up.
        """
        if self._requested_s is None:
            return self._settings.deadline_s
        return max(0.0, self._requested_s - (time.monotonic() - self._arrived_at))

    @property
    def max_duration_s(self) -> float:
        """The longest time from the request's first byte to its reply."""
        return self._settings.upload_timeout_s + self._settings.max_deadline_s

    async def _wait_abandoned(self) -> ClientDisconnect | Problem:
        """Returns the reason to stop working on the request, once there is one."""
        try:
            async with asyncio.timeout(self._upload_s()) as self._timer:
                await self.body.wait_complete()
            # The wait for a job has its own limit, after which the reply is the unfinished job.
            async with asyncio.timeout(None if self._is_job else self.left_s()) as self._timer:
                await self.body.wait_disconnected()
        except TimeoutError:
            return _too_late(complete=self.body.complete, requested=self._requested_s is not None)
        return ClientDisconnect()

    def _upload_s(self) -> float:
        if self._is_job:
            return self._settings.job_upload_timeout_s
        timeout_s = self._settings.upload_timeout_s
        return timeout_s if self._requested_s is None else min(timeout_s, self.left_s())


def _too_late(*, complete: bool, requested: bool) -> Problem:
    """Returns DEADLINE_EXCEEDED; REQUEST_TIMEOUT for a slow upload where the client named no deadline."""
    if complete:
        return Problem(Code.DEADLINE_EXCEEDED, "The request was not answered before its deadline.")
    detail = "The request's body did not arrive in time; send it on a faster connection, or a smaller picture."
    return Problem(Code.DEADLINE_EXCEEDED if requested else Code.REQUEST_TIMEOUT, detail)


class OwnBodyMiddleware:
    """Reads the bodies of the gateway's own routes before FastAPI does, within limits of size and concurrency.

    FastAPI would replace a Problem that is raised while it reads a body. Requests to services pass: their
    `RequestContext` applies the limits.
    """

    def __init__(self, app: ASGIApp, *, model_routes: Collection[str], max_bytes: int) -> None:
        self.app, self._max_bytes = app, max_bytes
        self._service_paths = ("/v1/models/", "/v2/models/", *(f"{route}/" for route in model_routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._passes(scope["path"]):
            await self.app(scope, receive, send)
            return
        with ExitStack() as permits:
            try:
                receive = await self._read(scope, receive, permits)
            except (Problem, ClientDisconnect) as error:
                problem = error if isinstance(error, Problem) else Problem(Code.CANCELLED, "The client disconnected.")
                await problem_response(problem, scope["path"])(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    def _passes(self, path: str) -> bool:
        """Returns whether the body is left to the route; that of an unknown model replies 404 without its photo."""
        name = path.removeprefix("/v1/")
        is_model_path = path.startswith("/v1/") and "/" not in name and name not in RESERVED
        return is_model_path or path.startswith(self._service_paths)

    async def _read(self, scope: Scope, receive: Receive, permits: ExitStack) -> Receive:
        """Returns a `receive` that replays the body; raises Problem TOO_MANY_BYTES, OVERLOADED or TOO_MANY_REQUESTS."""
        has_body = scope["method"] not in _BODILESS
        size_bytes = declared_bytes(Headers(scope=scope))
        permit = Permit(gateway_of(scope).limiter, fairness_key_of(scope))
        limit_bytes = MAX_JSON_BYTES if has_body else self._max_bytes
        body = RequestBody(receive, permit, limit_bytes=limit_bytes, keep_bytes=limit_bytes)
        body.require_within_limit(size_bytes)
        if not has_body:
            return receive
        permits.enter_context(permit.admit(size_bytes))
        return _replayed(await body.read_all(), receive)


def _replayed(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
