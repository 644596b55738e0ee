import asyncio
import time
from http import HTTPStatus

import structlog
from aiohttp import ClientConnectorError, ClientError, ClientResponse, ConnectionTimeoutError, StreamReader
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from yarl import URL

from services.gateway.admission import admit_picture, asked_deadline_s, declared_bytes
from services.gateway.gate import Pass
from services.gateway.replicas import Replica
from services.gateway.state import Gateway
from services.gateway.upload import Upload
from services.gateway.wire import SKIPPED_AUTO_HEADERS, reply_headers, request_headers
from sightline.api.problems import Code, Problem
from sightline.serving.errors import current_request_id
from sightline.serving.middleware import note, route_template

log = structlog.get_logger()


class Exchange:
    """One request and its reply, with whichever replicas it takes.

    A replica that cannot be connected to has seen nothing of the request, and one that answers 503 has not begun with
    it: then the next one is tried, as long as the body can still be sent from its first byte. Any other failure is
    the client's to know, because the replica may have worked on the request.
    """

    def __init__(self, gateway: Gateway, model: str, scope: Scope, receive: Receive, send: Send) -> None:
        self.outcome = "cancelled"
        self._gateway, self._model, self._scope, self._send = gateway, model, scope, send
        self._headers = Headers(scope=scope)
        self._admitted = Pass(gateway.gate)
        self._upload = Upload(receive, keep_bytes=gateway.settings.replay_bytes, reserve=self._admitted.receive)
        self._tried: set[Replica] = set()
        self._sent_bytes = 0
        self._started = False
        self._arrived = time.monotonic()
        self._asked_s: float | None = None

    async def run(self, *, peeks: bool) -> None:
        """Raises Problem while no reply has begun; one that has begun and cannot be finished is left unfinished."""
        self._asked_s = asked_deadline_s(self._headers, self._gateway.settings)
        with self._admitted.admit(declared_bytes(self._headers)):
            self._gateway.fleet.choose(self._model)
            await self._work_while_wanted(peeks=peeks)

    def record(self) -> None:
        metrics, upload = self._gateway.metrics, self._upload
        metrics.requests.labels(self._model, route_template(self._scope), self.outcome).inc()
        metrics.received_bytes.labels(self._model).inc(upload.size_bytes)
        metrics.sent_bytes.labels(self._model).inc(self._sent_bytes)
        note(self._scope, model=self._model, body_bytes=upload.size_bytes, body_sha256=upload.sha256)

    async def _work_while_wanted(self, *, peeks: bool) -> None:
        work, unwanted = asyncio.create_task(self._work(peeks=peeks)), asyncio.create_task(self._unwanted())
        try:
            await asyncio.wait((work, unwanted), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
            elif not self._started:
                raise unwanted.result()
        finally:
            work.cancel()
            unwanted.cancel()
            await asyncio.gather(work, unwanted, return_exceptions=True)

    async def _unwanted(self) -> ClientDisconnect | Problem:
        """Returns once nobody waits for the reply any more, and why."""
        settings = self._gateway.settings
        upload_s = min(settings.upload_timeout_s, self._left_s()) if self._asked_s else settings.upload_timeout_s
        try:
            async with asyncio.timeout(upload_s):
                await self._upload.wait_complete()
            async with asyncio.timeout(self._left_s()):
                await self._upload.hang_up()
        except TimeoutError:
            return _too_late(complete=self._upload.complete)
        return ClientDisconnect()

    def _left_s(self) -> float:
        """Until the reply is due: from arrival where the client named a time, else from the end of its upload.

        A slow link is no reason to give up, but a client that names a time means its own clock.
        """
        if self._asked_s is None:
            return self._gateway.settings.deadline_s
        return max(0.0, self._asked_s - (time.monotonic() - self._arrived))

    async def _work(self, *, peeks: bool) -> None:
        if peeks:
            await admit_picture(self._upload, self._headers, self._gateway.settings)
        if not self._upload.size_bytes:
            await self._upload.read()
        while not await self._attempt():
            pass

    async def _attempt(self) -> bool:
        """Whether a replica's reply was passed back; otherwise the next one is to be tried."""
        replica = self._gateway.fleet.choose(self._model, excluding=self._tried)
        self._tried.add(replica)
        note(self._scope, replica=replica.url)
        with replica.busy():
            reply = await self._open(replica)
            if reply is None:
                return self._retry("connect")
            async with reply:
                if reply.status == HTTPStatus.SERVICE_UNAVAILABLE and self._can_try_another():
                    return self._retry("unavailable")
                await self._pass_back(reply)
        return True

    def _can_try_another(self) -> bool:
        return self._upload.replayable and bool(self._gateway.fleet.ready_replicas(self._model, excluding=self._tried))

    def _retry(self, reason: str) -> bool:
        self._gateway.metrics.retries.labels(self._model, reason).inc()
        return False

    async def _open(self, replica: Replica) -> ClientResponse | None:
        """The beginning of the reply; None where there is no connection to be had."""
        started = time.perf_counter()
        try:
            reply = await self._request(replica)
        except (ClientConnectorError, ConnectionTimeoutError):
            replica.set_ready(ready=False)
            return None
        except (ClientError, OSError) as error:
            raise self._upload.failure or _failed(self._model) from error
        self._observe(replica, reply, time.perf_counter() - started)
        return reply

    async def _request(self, replica: Replica) -> ClientResponse:
        return await self._gateway.session.request(
            self._scope["method"],
            _address(replica, self._scope),
            headers=request_headers(self._headers, request_id=current_request_id(), left_s=self._left_s()),
            data=self._upload.body(),
            allow_redirects=False,
            skip_auto_headers=SKIPPED_AUTO_HEADERS,
        )

    def _observe(self, replica: Replica, reply: ClientResponse, duration_s: float) -> None:
        self._gateway.metrics.upstream_duration_s.labels(self._model).observe(duration_s)
        # A replica that fails fast must not look quick.
        if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            replica.observe(duration_s)

    async def _pass_back(self, reply: ClientResponse) -> None:
        self.outcome, self._started = str(reply.status), True
        headers = reply_headers(reply.raw_headers, body_sha256=self._upload.sha256)
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
        try:
            await self._pass_body(reply.content)
        except (ClientError, OSError):
            log.warning("reply_cut_short", model=self._model)

    async def _pass_body(self, content: StreamReader) -> None:
        more = True
        while more:
            chunk = await content.readany()
            more = not content.at_eof()
            self._sent_bytes += len(chunk)
            await self._send({"type": "http.response.body", "body": chunk, "more_body": more})


def _address(replica: Replica, scope: Scope) -> URL:
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    return URL(f"{replica.url}{path}?{query}" if query else f"{replica.url}{path}", encoded=True)


def _failed(model: str) -> Problem:
    detail = f"The service of {model} broke off; it may have worked on the request, so it was not sent again."
    return Problem(Code.UPSTREAM_FAILED, detail, model=model)


def _too_late(*, complete: bool) -> Problem:
    what = "answered in the time that there was" if complete else "received in the time that there was for its upload"
    return Problem(Code.DEADLINE_EXCEEDED, f"The request was not {what}.")
