"""Protection of the API in browsers: host check, origin check, CORS, and security headers of replies."""

import re
import socket
from collections.abc import Collection, Iterator, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.requests.forwarded_headers import forwarded_hosts, read_address
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.problem_responses import problem_response

ANY_HOST = "*"
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
OWN_SITES = frozenset(("same-origin", "none"))  # none: the user typed the address or opened a bookmark
OPAQUE_ORIGIN = "null"
_DEFAULT_PORTS = (":80", ":443")
CORS_METHODS = ("GET", "HEAD", "POST", "DELETE")
EXPOSED_HEADERS = (
    "Content-Disposition",
    "ETag",
    "Location",
    "Retry-After",
    "Server-Timing",
    "Inference-Header-Content-Length",
    names.PREFERENCE_APPLIED,
    names.REQUEST_ID,
    names.MODEL,
    names.DETECTOR,
    names.INPUT_SHA256,
    names.BODY_SHA256,
    names.SYNTHESISED_SHARE,
    names.DECISION,
    names.CATEGORY,
    names.NOTES,
    names.JOB,
    names.CACHE,
)
PREFLIGHT_MAX_AGE_S = 600
# Pictures, results and jobs belong to the caller: neither a browser's disk nor a shared cache may keep them.
_UNCACHED = ("/v1/", "/v2/")


class HostCheckMiddleware:
    """Refuses requests whose `Host` is neither this machine nor in `allowed`.

    It protects against DNS rebinding: a web page's host name may resolve to this machine, and the browser then lets the
    page read and delete here. Always allowed are loopback, the address at which the connection arrived, and the
    machine's host name. `allowed` has names and addresses without port; `*.example.org` allows every name below it, and
    `*` any host. Starlette's TrustedHostMiddleware neither allows the machine's addresses nor replies with problem
    details.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self.app = app
        self._allowed = frozenset((*map(_normalised, allowed), "localhost", socket.gethostname().lower()))
        self._endings = tuple(each[1:].lower() for each in allowed if each.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is not None:
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        hosts = list(requested_hosts(scope))
        if len(hosts) > 1 or (not hosts and scope["http_version"] != "1.0"):
            return Problem(Code.INVALID_REQUEST, "Send exactly one Host header.")
        # A forwarded host is checked besides the one that it replaces: a client may have sent either.
        if all(self._is_allowed(host, scope) for host in (*hosts, *forwarded_hosts(scope))):
            return None
        detail = (
            "This gateway does not serve the requested host; an operator can add its name to SIGHTLINE_ALLOWED_HOSTS."
        )
        return Problem(Code.HOST_NOT_ALLOWED, detail)

    def _is_allowed(self, host: str, scope: Scope) -> bool:
        if ANY_HOST in self._allowed:
            return True
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _normalised(match["ipv6"] or match["name"])
        return name in self._allowed or name.endswith(self._endings) or _is_own_address(name, scope)


def requested_hosts(scope: Scope) -> Iterator[str]:
    return (value.decode("latin-1").strip() for name, value in scope["headers"] if name == b"host")


def _normalised(name: str) -> str:
    """Returns the name in lower case without a trailing dot, or the canonical form of an address."""
    name = name.strip("[]").removesuffix(".").lower()
    address = read_address(name)
    return name if address is None else str(address)


def _is_own_address(name: str, scope: Scope) -> bool:
    """Returns True for loopback and for the address at which this connection arrived."""
    address = read_address(name)
    if address is None:
        return False
    server = scope.get("server")
    return address.is_loopback or (server is not None and address == read_address(server[0]))


class OriginCheckMiddleware:
    """Refuses state-changing requests from web pages, except the gateway's own and those of `allowed` origins."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self.app, self._allowed = app, frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and not self._is_permitted(scope):
            await problem_response(_cross_site(), scope["path"])(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _is_permitted(self, scope: Scope) -> bool:
        origins, sites = _values(scope, b"origin"), _values(scope, b"sec-fetch-site")
        if len(origins) > 1 or len(sites) > 1:
            return False
        if origins and origins[0] in self._allowed:
            return True
        if sites and sites[0].lower() not in OWN_SITES:
            return False
        if not origins:
            return True  # browsers send the origin with cross-site requests that change data
        # A form of a page with `no-referrer` sends the opaque origin; then only Sec-Fetch-Site identifies the page.
        return bool(sites) if origins[0] == OPAQUE_ORIGIN else _is_requested_host(origins[0], scope)


def _values(scope: Scope, header: bytes) -> Sequence[str]:
    return [value.decode("latin-1").strip() for name, value in scope["headers"] if name == header]


def _is_requested_host(origin: str, scope: Scope) -> bool:
    """Returns True for an origin at the requested host; its scheme may differ, as a proxy may have terminated TLS."""
    hosts = {_without_default_port(host) for host in (*requested_hosts(scope), *forwarded_hosts(scope))}
    try:
        return _without_default_port(urlsplit(origin).netloc) in hosts
    except ValueError:
        return False


def _without_default_port(host: str) -> str:
    host = host.lower()
    return next((host.removesuffix(port) for port in _DEFAULT_PORTS if host.endswith(port)), host)


def _cross_site() -> Problem:
    detail = (
        "Pages of other sites may not send requests that change data; "
        "an operator can allow the origin in SIGHTLINE_CORS_ORIGINS, and a reverse proxy must pass on the Host header."
    )
    return Problem(Code.CROSS_SITE, detail)


class NamedOriginsMiddleware(CORSMiddleware):
    """Starlette's CORS middleware for named origins, with refusals as problem details."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < HTTPStatus.BAD_REQUEST:
            return response
        refusal = Problem(Code.CROSS_SITE, "The origin, the method or a header of this request is not allowed.")
        return problem_response(refusal, "/")  # Starlette passes no path; it only selects the format of /v2


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """Returns the options of CORSMiddleware; without credentials, because keys are sent in headers, not cookies."""
    return {
        "allow_origins": origins,
        "allow_methods": CORS_METHODS,
        "allow_headers": ("*",),
        "expose_headers": EXPOSED_HEADERS,
        "max_age": PREFLIGHT_MAX_AGE_S,
    }


class ResponseHeadersMiddleware:
    """Adds `nosniff` to every reply and `no-store` to the API's, and removes the fleet credential."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        uncached = scope["path"].startswith(_UNCACHED)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if uncached:
                    headers["Cache-Control"] = "no-store"
                del headers[names.FLEET_CREDENTIAL]
            await send(message)

        await self.app(scope, receive, send_with_headers)
