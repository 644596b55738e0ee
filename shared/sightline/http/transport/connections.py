"""The connections of one server by client address: limits, metrics, and which to end to make room."""

import resource
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Protocol

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry, Gauge

log = structlog.get_logger()

Network = IPv4Network | IPv6Network

MAX_DESCRIPTORS = 65_536
RESERVED_DESCRIPTORS = 1024  # for connections to services, Redis and receivers, and for files
IPV6_SITE_BITS = 64  # one site has all addresses of such a network

LOG_INTERVAL_S = 10.0


class Refusal(StrEnum):
    """The reason why the server ended a connection."""

    MALFORMED = "malformed"
    HEAD_TOO_LARGE = "head_too_large"
    FRAMING_TOO_LARGE = "framing_too_large"
    HEAD_TIMEOUT = "head_timeout"
    UPLOAD_TOO_SLOW = "upload_too_slow"
    DOWNLOAD_TOO_SLOW = "download_too_slow"
    UNREAD_BODY = "unread_body"
    PIPELINE_TOO_LONG = "pipeline_too_long"
    ADDRESS_LIMIT = "address_limit"
    CONNECTION_LIMIT = "connection_limit"
    MADE_ROOM = "made_room"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of one server; `exempt` are the addresses of proxies, which carry connections of many clients."""

    max_connections: int
    max_per_address: int
    max_head_bytes: int = 64 * 1024
    max_headers: int = 100
    head_timeout_s: float = 20.0
    min_bytes_per_s: float = 512.0
    rate_window_s: float = 20.0
    exempt: Collection[Network] = ()


def raise_descriptor_limit() -> int:
    """Raises the soft limit of open files to the hard one, up to `MAX_DESCRIPTORS`; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def max_connections_within(descriptors: int) -> int:
    """Returns the number of connections that leaves enough descriptors for everything else."""
    return descriptors - min(RESERVED_DESCRIPTORS, descriptors // 2)


class ConnectionMetrics:
    """Metrics of the connections, created before the application has its registry and registered later."""

    def __init__(self) -> None:
        self.open = Gauge("sightline_http_connections", "Open connections of clients", registry=None)
        self.refused = prometheus_client.Counter(
            "sightline_http_connections_refused", "Connections that the server ended", ["reason"], registry=None
        )
        for reason in Refusal:
            self.refused.labels(reason)

    def show(self, registry: CollectorRegistry) -> None:
        registry.register(self.open)
        registry.register(self.refused)


class Connection(Protocol):
    """The interface of an open connection to the table."""

    address: str
    idle_since: float

    @property
    def idle(self) -> bool: ...
    def check(self, now: float, elapsed_s: float) -> None:
        """Ends the connection where it is too slow."""

    def drop(self, refusal: Refusal) -> None:
        """Ends the connection without a reply."""


@dataclass(slots=True)
class _Unlogged:
    """The refusals for one reason since the last log line about them."""

    count: int = 0
    address: str = ""
    logged_at: float = float("-inf")


class ConnectionTable:
    """All connections of one server, by client address."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits, self.metrics = limits, ConnectionMetrics()
        self._by_address: defaultdict[str, set[Connection]] = defaultdict(set)
        self._unlogged: defaultdict[Refusal, _Unlogged] = defaultdict(_Unlogged)
        self._swept_at: float | None = None
        self._count = 0
        self.metrics.open.set_function(lambda: len(self))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Connection]:
        return (connection for connections in self._by_address.values() for connection in connections)

    def add(self, connection: Connection) -> Refusal | None:
        """Adds a connection and returns None, or returns the reason why there is no room for it."""
        address = connection.address
        if len(self._by_address.get(address, ())) >= self.limits.max_per_address and not self._is_exempt(address):
            return Refusal.ADDRESS_LIMIT
        if len(self) >= self.limits.max_connections and not self._make_room():
            return Refusal.CONNECTION_LIMIT
        self._by_address[address].add(connection)
        self._count += 1
        return None

    def remove(self, connection: Connection) -> None:
        self._count -= 1
        self._by_address[connection.address].remove(connection)
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]

    def count_refusal(self, refusal: Refusal, address: str) -> None:
        self.metrics.refused.labels(refusal).inc()
        unlogged = self._unlogged[refusal]
        unlogged.count, unlogged.address = unlogged.count + 1, address

    def sweep(self, now: float) -> None:
        """Ends connections that are too slow; called about once a second."""
        elapsed_s = 0.0 if self._swept_at is None else now - self._swept_at
        self._swept_at = now
        for connection in list(self):
            connection.check(now, elapsed_s)
        self._log(now)

    def _make_room(self) -> bool:
        """Ends the connection that has been idle for longest, if possible one of the busiest address."""
        busiest = max(self._by_address.values(), key=len)
        idle = [one for one in busiest if one.idle] or [one for one in self if one.idle]
        if not idle:
            return False
        oldest = min(idle, key=lambda connection: connection.idle_since)
        oldest.drop(Refusal.MADE_ROOM)
        self.remove(oldest)
        return True

    def _is_exempt(self, address: str) -> bool:
        try:
            return any(ip_address(address) in network for network in self.limits.exempt)
        except ValueError:  # a network of IPv6 sites, or a Unix socket
            return False

    def _log(self, now: float) -> None:
        """Logs at most one line for each reason in `LOG_INTERVAL_S`, so that a flood does not fill the log."""
        for reason, unlogged in self._unlogged.items():
            if unlogged.count and now - unlogged.logged_at >= LOG_INTERVAL_S:
                log.warning(
                    "connections_refused",
                    reason=reason,
                    count=unlogged.count,
                    last_address=unlogged.address,
                    connections=len(self),
                )
                unlogged.count, unlogged.logged_at = 0, now


@dataclass(slots=True)
class RateWindow:
    """A check that bytes flow at a minimum rate, made at the end of each time window in which they could."""

    min_bytes_per_s: float
    window_s: float
    waited_s: float = 0.0
    moved_bytes: int = 0

    def is_too_slow(self, elapsed_s: float) -> bool:
        self.waited_s += elapsed_s
        if self.waited_s < self.window_s:
            return False
        slow = self.moved_bytes < self.min_bytes_per_s * self.waited_s
        self.restart()
        return slow

    def restart(self) -> None:
        self.waited_s, self.moved_bytes = 0.0, 0


def address_of(client: tuple[str, int] | None) -> str:
    """Returns the address that limits apply to: of IPv6 the site's network; empty for a Unix socket."""
    host = client[0].partition("%")[0] if client else ""
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, IPV6_SITE_BITS), strict=False).network_address)
