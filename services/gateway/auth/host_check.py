"""Only requests for a name of this gateway are answered.

A page on the web can have a name of its own resolve to this machine (DNS rebinding). The browser then takes the
gateway for that page's own server, and lets it read and delete; the name in `Host` gives it away. Starlette's
middleware of the kind knows no addresses of the machine, and answers in plain text.
"""

import re
import socket
from collections.abc import Collection, Iterator

from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.requests.forwarded_headers import forwarded_hosts, read_address
from sightline.api.problems import Code, Problem
from sightline.http.problem_responses import problem_response

ANY = "*"
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")


class HostCheckMiddleware:
    """Refuses requests whose `Host` names neither this machine nor one of `allowed`.

    Loopback, the address at which the connection arrived and the machine's own name are always allowed. `allowed` are
    names and addresses without port; `*.example.org` stands for every name under it, `*` for all.
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
            return Problem(Code.INVALID_REQUEST, "A request has exactly one Host header.")
        # A forwarded host is checked beside the one that it stands for: a client may have sent either.
        if all(self._is_allowed(host, scope) for host in (*hosts, *forwarded_hosts(scope))):
            return None
        detail = (
            "This gateway does not answer for the host that was asked for; "
            "an operator can add its name to SIGHTLINE_ALLOWED_HOSTS."
        )
        return Problem(Code.HOST_NOT_ALLOWED, detail)

    def _is_allowed(self, host: str, scope: Scope) -> bool:
        if ANY in self._allowed:
            return True
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _normalised(match["ipv6"] or match["name"])
        return name in self._allowed or name.endswith(self._endings) or _is_own_address(name, scope)


def requested_hosts(scope: Scope) -> Iterator[str]:
    return (value.decode("latin-1").strip() for name, value in scope["headers"] if name == b"host")


def _normalised(name: str) -> str:
    """In lower case without a dot at the end; addresses in the one form that they have several spellings of."""
    name = name.strip("[]").removesuffix(".").lower()
    address = read_address(name)
    return name if address is None else str(address)


def _is_own_address(name: str, scope: Scope) -> bool:
    """Also where the gateway listens on all addresses: the one of this connection is known."""
    address = read_address(name)
    if address is None:
        return False
    server = scope.get("server")
    return address.is_loopback or (server is not None and address == read_address(server[0]))
