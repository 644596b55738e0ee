"""Forwarding of requests to replicas and of replies to clients, with the headers that may pass in each direction."""

import re
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPMethod, HTTPStatus

import structlog
from aiohttp import ClientConnectorError, ClientError, ClientResponse, ConnectionTimeoutError, StreamReader
from multidict import CIMultiDict
from starlette.datastructures import Headers
from starlette.types import Scope
from yarl import URL

from services.gateway.auth.api_keys import Caller
from services.gateway.requests.context import RequestContext
from services.gateway.requests.forwarded_headers import public_prefix
from services.gateway.state import Gateway
from services.gateway.upstream.replicas import Replica
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.middleware import add_log_fields, is_head
from sightline.http.problem_responses import current_request_id
from sightline.jobs.evidence_store import describedby_link
from sightline.runtime.tracing import exemplar, inject

log = structlog.get_logger()

RawHeaders = Sequence[tuple[bytes, bytes]]

# Browsers take a path that begins with // or /\ for the name of another host.
_LOCAL_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")
_LINK = re.compile(r"<([^<>]*)>")
LINK_HEADERS = frozenset((b"location", b"content-location", b"link"))
# These lead clients or proxies to another address, and no service needs them. The gateway alone decides CORS.
DROPPED_REPLY_HEADERS = frozenset(
    (b"refresh", b"alt-svc", b"alt-used", b"x-accel-redirect", b"x-sendfile", b"sourcemap")
)
DROPPED_REPLY_PREFIX = b"access-control-"
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_FLEET_CREDENTIAL = names.FLEET_CREDENTIAL.lower().encode()
_NOT_FORWARDED = _HOP_BY_HOP | {
    b"host",
    b"expect",  # the server has already replied 100 Continue
    # Credentials that only the gateway checks: a service must not get them.
    b"authorization",
    b"x-api-key",
    names.WEBHOOK_SECRET.lower().encode(),
    # Set by the gateway, so that a client cannot forge them.
    names.REQUEST_ID.lower().encode(),
    names.DEADLINE_MS.lower().encode(),
    _FLEET_CREDENTIAL,
    names.CALLER.lower().encode(),
    names.PRIORITY.lower().encode(),
}
# aiohttp would add these where the client sent none.
SKIPPED_AUTO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_NOT_RETURNED = _HOP_BY_HOP | {b"server", b"date", _FLEET_CREDENTIAL}


class RequestForwarder:
    """Forwards one request to a replica and its reply to the client; tries other replicas where that is safe.

    It is safe after a refused connection or a 503, because the replica has not begun to process the request, and while
    the body can still be sent from its first byte. After any other failure the replica may have processed the request,
    so the client gets the error.
    """

    def __init__(self, gateway: Gateway, model: str, context: RequestContext) -> None:
        self._gateway, self._model, self._context, self._body = gateway, model, context, context.body
        self._tried: set[Replica] = set()

    async def run(self) -> None:
        # The first read shows whether there is a body: without one, `content` is None and not an empty stream.
        if not self._body.size_bytes:
            await self._body.read()
        async with self._hold_running_permit():
            while not await self._attempt():
                pass

    def _hold_running_permit(self) -> AbstractAsyncContextManager[None]:
        if self._context.scope["method"] != HTTPMethod.POST:
            return nullcontext()
        return self._gateway.running_limit.hold(self._context.caller, max_duration_s=self._context.max_duration_s)

    async def _attempt(self) -> bool:
        """Returns True once a reply has been sent to the client, False to try another replica."""
        replica = self._gateway.fleet.choose(self._model, self._context.caller.fairness_key, excluding=self._tried)
        self._tried.add(replica)
        add_log_fields(self._context.scope, replica=replica.url)
        with replica.busy(self._context.caller.fairness_key):
            reply = await self._open(replica)
            if reply is None:
                return self._retry("connect")
            async with reply:
                if reply.status == HTTPStatus.UNAUTHORIZED:
                    # This gateway has checked the caller's key, so it is the fleet credential that the service refuses.
                    log.error("fleet_credential_refused", model=self._model, replica=replica.url)
                    replica.set_ready(ready=False)
                    if self._can_try_another():
                        return self._retry("unavailable")
                    raise _refused(self._model)
                if reply.status == HTTPStatus.SERVICE_UNAVAILABLE and self._can_try_another():
                    return self._retry("unavailable")
                await self._send_reply(reply)
        return True

    def _can_try_another(self) -> bool:
        return self._body.replayable and bool(self._gateway.fleet.ready_replicas(self._model, excluding=self._tried))

    def _retry(self, reason: str) -> bool:
        self._gateway.metrics.retries.labels(self._model, reason).inc()
        return False

    async def _open(self, replica: Replica) -> ClientResponse | None:
        """Returns the reply once its headers have arrived; None where the replica cannot be connected to."""
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
            headers=upstream_headers(
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
        # A replica that fails fast would otherwise look like the fastest one, and get all requests.
        if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            replica.observe(duration_s)

    async def _send_reply(self, reply: ClientResponse) -> None:
        links = LinkRewriter(reply.url, public_prefix(self._context.scope))
        headers = reply_headers(reply.raw_headers, links=links, body_sha256=self._body.sha256)
        if link := await describedby_link(
            self._gateway.evidence,
            owner=self._context.caller.owner,
            request_id=current_request_id(),
            header=reply.headers.get(names.EVIDENCE),
            prefix=public_prefix(self._context.scope),
        ):
            headers.append((b"link", link.encode()))
        await self._context.send({"type": "http.response.start", "status": reply.status, "headers": headers})
        try:
            await self._send_body(reply.content)
        except (ClientError, OSError):
            log.warning("reply_cut_short", model=self._model)

    async def _send_body(self, content: StreamReader) -> None:
        more = True
        while more:
            chunk = await content.readany()
            more = not content.at_eof()
            await self._context.send({"type": "http.response.body", "body": chunk, "more_body": more})


def _address(replica: Replica, scope: Scope) -> URL:
    if not scope["raw_path"].startswith(b"/"):
        # A path without a leading slash would become part of the host name.
        raise Problem(Code.NOT_FOUND, "There is nothing at this address.")
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    return URL(f"{replica.url}{path}?{query}" if query else f"{replica.url}{path}", encoded=True)


def _failed(model: str) -> Problem:
    detail = f"The service of {model} closed the connection. It may have processed the request; send it again."
    return Problem(Code.UPSTREAM_FAILED, detail, model=model)


def _refused(model: str) -> Problem:
    detail = f"The service of {model} refused this gateway; an operator must set the same fleet credential for both."
    return Problem(Code.UPSTREAM_FAILED, detail, model=model)


class LinkRewriter:
    """Rewrites links in the headers of one reply, so that they lead to the gateway under its public path `prefix`.

    `url` is the requested address at the service. A service writes links to its internal address; a client that
    followed one would bypass the gateway and send its API key to another host.
    """

    def __init__(self, url: URL, prefix: str) -> None:
        self._url, self._prefix = url, prefix

    def header(self, name: bytes, value: bytes) -> bytes | None:
        """Returns the value for clients; None for a header to drop."""
        if name in DROPPED_REPLY_HEADERS or name.startswith(DROPPED_REPLY_PREFIX):
            return None
        if name not in LINK_HEADERS:
            return value
        text = value.decode("latin-1")
        rewritten = self._links(text) if name == b"link" else self.reference(text)
        return None if rewritten is None else rewritten.encode("ascii")

    def reference(self, text: str) -> str | None:
        """Returns the reference with the gateway's path; None where it leads to another host or is malformed."""
        try:
            target = self._url.join(URL(text.strip()))
            if target.origin() != self._url.origin():
                return None
        except ValueError:
            return None
        local = target.raw_path_qs + (f"#{target.raw_fragment}" if target.raw_fragment else "")
        return self._prefix + local if _LOCAL_PATH.fullmatch(local) else None

    def _links(self, text: str) -> str | None:
        """Returns the rewritten `Link` header; None, to drop it, where one target leads to another host."""
        targets = [self.reference(target) for target in _LINK.findall(text)]
        if not targets or None in targets or not text.isascii():
            return None
        remaining = iter(targets)
        return _LINK.sub(lambda _: f"<{next(remaining)}>", text)


def upstream_headers(
    headers: Headers, *, caller: Caller, request_id: str, left_s: float, fleet_credential: str | None = None
) -> CIMultiDict[str]:
    """Returns the headers for a service: the client's end-to-end headers, and those that the gateway sets.

    Raises Problem INVALID_REQUEST or FORBIDDEN for the priority.
    """
    forwarded = CIMultiDict(
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in _end_to_end(headers.raw, _NOT_FORWARDED)
    )
    forwarded[names.REQUEST_ID] = request_id
    forwarded[names.CALLER], forwarded[names.PRIORITY] = caller.fairness_key, caller.priority(headers)
    forwarded[names.DEADLINE_MS] = str(max(1, int(left_s * 1000)))
    if fleet_credential is not None:
        forwarded[names.FLEET_CREDENTIAL] = fleet_credential
    inject(forwarded)
    return forwarded


def reply_headers(raw: RawHeaders, *, links: LinkRewriter, body_sha256: str | None) -> list[tuple[bytes, bytes]]:
    """Returns the headers for the client: the service's end-to-end headers, with links rewritten."""
    headers = [
        (name.lower(), rewritten)
        for name, value in _end_to_end(raw, _NOT_RETURNED)
        if (rewritten := links.header(name.lower(), value)) is not None
    ]
    if body_sha256 is not None:
        headers.append((names.BODY_SHA256.lower().encode(), body_sha256.encode()))
    return headers


def _end_to_end(raw: RawHeaders, hidden: frozenset[bytes]) -> Iterable[tuple[bytes, bytes]]:
    hidden |= {
        token.strip().lower() for name, value in raw if name.lower() == b"connection" for token in value.split(b",")
    }
    return ((name, value) for name, value in raw if name.lower() not in hidden)
