"""Forwarded headers of reverse proxies: the client's address, the scheme, the host and the path prefix.

uvicorn's own handling trusts every process on this machine by default, and has no prefix.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# No segments of dots, no empty segments: neither `/..` nor `//another.host` may become part of a link.
PUBLIC_PREFIX = re.compile(r"(?:/(?!\.+(?:/|$))[A-Za-z0-9._~-]{1,64}){1,8}")
_SCHEMES = ("http", "https")
_PREFIX_KEY = "sightline.public_prefix"
_HOSTS_KEY = "sightline.forwarded_hosts"


class ForwardedHeadersMiddleware:
    """Applies `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` of trusted proxies, and removes them from requests.

    A configured `root_path` is the prefix; then no header changes it.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[Network], root_path: str) -> None:
        self.app, self._trusted, self._root_path = app, trusted, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            forwarded = _take_forwarded(scope)
            scope[_PREFIX_KEY], scope[_HOSTS_KEY] = self._root_path, ()
            if self._is_trusted(_peer(scope)):
                self._apply(scope, forwarded)
        await self.app(scope, receive, send)

    def _apply(self, scope: Scope, forwarded: dict[str, list[str]]) -> None:
        client = self._client(forwarded.get("x-forwarded-for", []))
        if client is not None:
            scope["client"] = (str(client), 0)
        scheme = _last(forwarded.get("x-forwarded-proto", [])).lower()
        if scheme in _SCHEMES:
            scope["scheme"] = scheme
        scope[_HOSTS_KEY] = tuple(forwarded.get("x-forwarded-host", []))
        prefix = _last(forwarded.get("x-forwarded-prefix", [])).rstrip("/")
        if not self._root_path and PUBLIC_PREFIX.fullmatch(prefix):
            scope[_PREFIX_KEY] = prefix

    def _client(self, hops: Sequence[str]) -> Address | None:
        """Returns the nearest address that is not a trusted proxy; the addresses before it may be forged."""
        client = None
        for hop in reversed(hops):
            address = _hop_address(hop)
            if address is None:
                break
            client = address
            if not self._is_trusted(address):
                break
        return client

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


def public_prefix(scope: Scope) -> str:
    """Returns the path under which clients reach this gateway, such as `/sightline`; empty at the root of its host."""
    prefix: str = scope.get(_PREFIX_KEY, "")
    return prefix


def forwarded_hosts(scope: Scope) -> tuple[str, ...]:
    """Returns the hosts that the client requested, as trusted proxies report them."""
    hosts: tuple[str, ...] = scope.get(_HOSTS_KEY, ())
    return hosts


def read_address(text: str) -> Address | None:
    """Parses an address; an IPv4-mapped IPv6 address, as dual-stack sockets report it, becomes IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _take_forwarded(scope: Scope) -> dict[str, list[str]]:
    """Removes the forwarded headers from the request; returns the values of each in their order."""
    forwarded: dict[str, list[str]] = {}
    others = []
    for name, value in scope["headers"]:
        if name == b"forwarded" or name.startswith(b"x-forwarded-"):
            values = [each.strip() for each in value.decode("latin-1").split(",")]
            forwarded.setdefault(name.decode("latin-1"), []).extend(values)
        else:
            others.append((name, value))
    scope["headers"] = others
    return forwarded


def _peer(scope: Scope) -> Address | None:
    client = scope.get("client")
    return read_address(client[0]) if client else None


def _hop_address(hop: str) -> Address | None:
    """Parses an address with or without a port, such as `192.0.2.1:4711` or `[2001:db8::1]:4711`."""
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::\d+)?", hop)
    if bracketed:
        return read_address(bracketed[1])
    return read_address(hop.partition(":")[0] if hop.count(":") == 1 else hop)


def _last(values: Sequence[str]) -> str:
    """Returns the value of the nearest proxy; empty without any."""
    return values[-1] if values else ""
