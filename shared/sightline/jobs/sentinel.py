"""A Redis whose address the sentinels know: `redis+sentinel://:password@host:26379,host:26379/name/0`."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

SENTINEL_SCHEMES = ("redis+sentinel://", "rediss+sentinel://")
PORT = 26379


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """Whom to ask, for what, and how to log in at what they name; sentinels themselves want no password."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    options: dict[str, Any]


def read_sentinel_url(url: str) -> SentinelUrl | None:
    """None where the URL is of a Redis itself."""
    if not url.startswith(SENTINEL_SCHEMES):
        return None
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, _, db = parts.path.strip("/").partition("/")
    if not hosts or not service:
        raise ValueError("sentinels are named as redis+sentinel://host:port,host:port/name")
    options = {
        "username": unquote(user) or None,
        "password": unquote(password) or None,
        "db": int(db or 0),
        "ssl": parts.scheme.startswith("rediss"),
    }
    return SentinelUrl(tuple(_address(host) for host in hosts.split(",")), service, options)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port or PORT)
