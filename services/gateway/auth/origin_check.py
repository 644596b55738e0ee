"""Requests that change something are not taken from pages of other sites.

A form or a script on any page can send a POST to a gateway that the user's browser reaches. Browsers say where a
request comes from, in `Origin` and `Sec-Fetch-Site`, which no page can change; other clients send neither.
"""

from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.auth.host_check import requested_hosts
from services.gateway.requests.forwarded_headers import forwarded_hosts
from sightline.api.problems import Code, Problem
from sightline.http.problem_responses import problem_response

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
OWN_SITES = frozenset(("same-origin", "none"))  # none: typed by the user, or from a bookmark
OPAQUE = "null"
_DEFAULT_PORTS = (":80", ":443")


class OriginCheckMiddleware:
    """Refuses state-changing requests of pages that are neither the gateway's own nor of `allowed` origins."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self.app, self._allowed = app, frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS and not self._is_permitted(scope):
            await problem_response(_refusal(), scope["path"])(scope, receive, send)
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
            return True
        # A page without referrer has its forms sent with this origin: then the site alone tells whose it is.
        return bool(sites) if origins[0] == OPAQUE else _is_own(origins[0], scope)


def _values(scope: Scope, header: bytes) -> Sequence[str]:
    return [value.decode("latin-1").strip() for name, value in scope["headers"] if name == header]


def _is_own(origin: str, scope: Scope) -> bool:
    """The scheme is not compared: a proxy that ends TLS may be one that is not trusted to say so."""
    hosts = {_without_default_port(host) for host in (*requested_hosts(scope), *forwarded_hosts(scope))}
    try:
        return _without_default_port(urlsplit(origin).netloc) in hosts
    except ValueError:
        return False


def _without_default_port(host: str) -> str:
    host = host.lower()
    return next((host.removesuffix(port) for port in _DEFAULT_PORTS if host.endswith(port)), host)


def _refusal() -> Problem:
    detail = (
        "Pages of other sites may not change anything here; "
        "an operator can allow the origin in SIGHTLINE_CORS_ORIGINS, and a reverse proxy must pass on the Host header."
    )
    return Problem(Code.CROSS_SITE, detail)
