"""Keeps webhooks, whose addresses clients choose, out of networks that only this machine can reach."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from sightline.api.problems import Code, Problem
from sightline.jobs.job import Webhook
from sightline.jobs.webhooks.message import signing_key

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str], Sequence[str]]

GLOBAL_UNICAST = IPv6Network("2000::/3")  # the assigned part of IPv6; other ranges are special or translated
NAT64 = IPv6Network("64:ff9b::/96")
PLATFORM = IPv4Network("168.63.129.16/32")  # a public address at which Azure serves its own machines

MAX_URL_CHARACTERS = 2048


class AddressRefusedError(Exception):
    """An address that is not allowed; the text gives the client the reason in one sentence."""


NAME_REFUSED = "The receiver's name does not resolve to a public address."


class AddressGuard:
    """Policy for addresses: allows public ones, and those of networks that the operator allows."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def check(self, url: URL) -> None:
        """Raises AddressRefusedError for a bad scheme or literal address; names are checked when they are resolved."""
        if url.scheme not in ("http", "https") or not url.host:
            raise AddressRefusedError("The receiver's address must begin with http:// or https:// and name a host.")
        if url.user is not None or url.password is not None:
            raise AddressRefusedError("The receiver's address must not contain a user name or password.")
        literal = _literal(url.host)
        if literal is not None and not self.permits(literal):
            raise AddressRefusedError("The receiver's address is not public.")

    def permits(self, address: Address) -> bool:
        bare = embedded_ipv4(address)
        return any(bare in network for network in self._allowed) or _public(bare)


class GuardedResolver(AbstractResolver):
    """Resolver that returns the addresses of a name only if all of them are permitted.

    A name without addresses and one with a forbidden address are refused with the same message after the same time.
    Otherwise clients could find out which names exist in a private network.
    """

    def __init__(self, guard: AddressGuard, *, threads: int, refusal_s: float, lookup: Lookup | None = None) -> None:
        self._guard, self._refusal_s, self._lookup = guard, refusal_s, lookup or _lookup
        # A name server that is slow on purpose must not occupy the threads of the event loop's default executor.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="webhook-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises AddressRefusedError, `refusal_s` after it was called."""
        refused_at = asyncio.get_running_loop().time() + self._refusal_s
        addresses = await self._addresses(host, until=refused_at)
        if not addresses or not all(map(self._guard.permits, addresses)):
            await asyncio.sleep(refused_at - asyncio.get_running_loop().time())
            raise AddressRefusedError(NAME_REFUSED)
        return [_result(host, address, port) for address in addresses]

    async def _addresses(self, host: str, *, until: float) -> list[Address]:
        """Returns no addresses if the lookup fails or takes longer than `until`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(until):
                found = await loop.run_in_executor(self._threads, self._lookup, host)
        except (OSError, TimeoutError):
            return []
        return [ip_address(text) for text in found]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def validate_webhook(url: str, secret: str, guard: AddressGuard) -> Webhook:
    """Returns the webhook. Raises Problem INVALID_REQUEST for an address that the guard refuses, or a bad secret."""
    if len(url) > MAX_URL_CHARACTERS:
        raise Problem(Code.INVALID_REQUEST, f"A webhook's address may have at most {MAX_URL_CHARACTERS} characters.")
    try:
        guard.check(URL(url))
    except AddressRefusedError as error:
        raise Problem(Code.INVALID_REQUEST, str(error)) from error
    except ValueError as error:
        raise Problem(Code.INVALID_REQUEST, "The webhook's address is not a URL.") from error
    signing_key(secret)
    return Webhook(url, secret)


def embedded_ipv4(address: Address) -> Address:
    """Returns the IPv4 address that an IPv6 address embeds, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        # A Teredo address embeds those of a client and a relay.
        return address in GLOBAL_UNICAST and address.is_global and address.teredo is None
    return address.is_global and not address.is_multicast and address not in PLATFORM


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _lookup(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except UnicodeError as error:  # a label that no name can have
        raise OSError("not a host name") from error
    return [str(address[0]) for _, _, _, _, address in found]


def _result(host: str, address: Address, port: int) -> ResolveResult:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=str(address), port=port, family=family, proto=0, flags=flags)
