import time
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPMethod, HTTPStatus

import structlog
from aiohttp import ClientConnectorError, ClientError, ClientResponse, ConnectionTimeoutError, StreamReader
from starlette.types import Scope
from yarl import URL

from services.gateway.requests.context import RequestContext
from services.gateway.requests.forwarded_headers import public_prefix
from services.gateway.state import Gateway
from services.gateway.upstream.proxy_headers import SKIPPED_AUTO_HEADERS, LinkRewriter, reply_headers, request_headers
from services.gateway.upstream.replicas import Replica
from sightline.api.problems import Code, Problem
from sightline.http.middleware import add_log_fields, is_head
from sightline.http.problem_responses import current_request_id
from sightline.runtime.tracing import exemplar

log = structlog.get_logger()


class RequestForwarder:
    """A request's way to a replica and the reply's way back, with whichever replicas it takes.

    A replica that cannot be connected to has seen nothing of the request, and one that answers 503 has not begun with
    it: then the next one is tried, as long as the body can still be sent from its first byte. Any other failure is
    the client's to know, because the replica may have worked on the request.
    """

    def __init__(self, gateway: Gateway, model: str, context: RequestContext) -> None:
        self._gateway, self._model, self._context, self._body = gateway, model, context, context.body
        self._tried: set[Replica] = set()

    async def run(self) -> None:
        if not self._body.size_bytes:
            await self._body.read()
        async with self._running():
            while not await self._attempt():
                pass

    def _running(self) -> AbstractAsyncContextManager[None]:
        if self._context.scope["method"] != HTTPMethod.POST:
            return nullcontext()
        return self._gateway.running_limit.hold(self._context.caller, longest_s=self._context.longest_s)

    async def _attempt(self) -> bool:
        """Whether a replica's reply was passed back; otherwise the next one is to be tried."""
        replica = self._gateway.fleet.choose(self._model, self._context.caller.share, excluding=self._tried)
        self._tried.add(replica)
        add_log_fields(self._context.scope, replica=replica.url)
        with replica.busy(self._context.caller.share):
            reply = await self._open(replica)
            if reply is None:
                return self._retry("connect")
            async with reply:
                if reply.status == HTTPStatus.UNAUTHORIZED:
                    # A caller's key is checked here, so it is this gateway that the service does not know.
                    log.error("fleet_credential_refused", model=self._model, replica=replica.url)
                    replica.set_ready(ready=False)
                    if self._can_try_another():
                        return self._retry("unavailable")
                    raise _refused(self._model)
                if reply.status == HTTPStatus.SERVICE_UNAVAILABLE and self._can_try_another():
                    return self._retry("unavailable")
                await self._pass_back(reply)
        return True

    def _can_try_another(self) -> bool:
        return self._body.replayable and bool(self._gateway.fleet.ready_replicas(self._model, excluding=self._tried))

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
            raise self._body.failure or _failed(self._model) from error
        self._observe(replica, reply, time.perf_counter() - started)
        return reply

    async def _request(self, replica: Replica) -> ClientResponse:
        return await self._gateway.session.request(
            "HEAD" if is_head(self._context.scope) else self._context.scope["method"],
            _address(replica, self._context.scope),
            headers=request_headers(
                self._context.headers,
                caller=self._context.caller,
                request_id=current_request_id(),
                left_s=self._context.left_s(),
                fleet_credential=self._gateway.settings.own_credential,
            ),
            data=self._body.content(),
            allow_redirects=False,
            skip_auto_headers=SKIPPED_AUTO_HEADERS,
        )

    def _observe(self, replica: Replica, reply: ClientResponse, duration_s: float) -> None:
        self._gateway.metrics.upstream_duration_s.labels(self._model).observe(duration_s, exemplar())
        # A replica that fails fast must not look quick.
        if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            replica.observe(duration_s)

    async def _pass_back(self, reply: ClientResponse) -> None:
        links = LinkRewriter(reply.url, public_prefix(self._context.scope))
        headers = reply_headers(reply.raw_headers, links=links, body_sha256=self._body.sha256)
        await self._context.send({"type": "http.response.start", "status": reply.status, "headers": headers})
        try:
            await self._pass_body(reply.content)
        except (ClientError, OSError):
            log.warning("reply_cut_short", model=self._model)

    async def _pass_body(self, content: StreamReader) -> None:
        more = True
        while more:
            chunk = await content.readany()
            more = not content.at_eof()
            await self._context.send({"type": "http.response.body", "body": chunk, "more_body": more})


def _address(replica: Replica, scope: Scope) -> URL:
    if not scope["raw_path"].startswith(b"/"):
        # It would become part of the host.
        raise Problem(Code.NOT_FOUND, "There is nothing at this address.")
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    return URL(f"{replica.url}{path}?{query}" if query else f"{replica.url}{path}", encoded=True)


def _failed(model: str) -> Problem:
    detail = f"The service of {model} broke off; it may have worked on the request, so it was not sent again."
    return Problem(Code.UPSTREAM_FAILED, detail, model=model)


def _refused(model: str) -> Problem:
    detail = f"The service of {model} refused this gateway; an operator must give both the same fleet credential."
    return Problem(Code.UPSTREAM_FAILED, detail, model=model)
