"""Connections to Redis or to its sentinels, reads of its streams, and its errors as problems.

Sentinels are addressed as `redis+sentinel://:password@host:26379,host:26379/name/0`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TimeoutError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel

from sightline.api.problems import Code, Problem
from sightline.runtime.tasks import cancellable

CONNECT_TIMEOUT_S = 2.0
SOCKET_TIMEOUT_S = 5.0
BLOCK_S = 4.0  # longest blocking read; one beyond the socket timeout would look like a dead server
MAX_CONNECTIONS = 1024  # each reader of events holds one
RETRY_AFTER_S = 5.0
LOST_CONNECTION = (ConnectionError, TimeoutError)  # whether the command took effect is unknown
# Redis 6 wraps the error of a script in another one, so only the text identifies it.
AWAY = "The job queue cannot be reached; try again shortly."
FULL = "OOM command"
NO_WRITES = ("MISCONF", "READONLY", "NOREPLICAS")
NOT_YET = ("LOADING", "MASTERDOWN", "BUSY")
# `Scripts` decides which commands may run twice, so the client must not retry by itself.
OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": SOCKET_TIMEOUT_S,
    "protocol": 2,
    "max_connections": MAX_CONNECTIONS,
}
SENTINEL_OPTIONS = {"socket_connect_timeout": CONNECT_TIMEOUT_S, "socket_timeout": SOCKET_TIMEOUT_S}
SENTINEL_SCHEMES = ("redis+sentinel://", "rediss+sentinel://")
PORT = 26379
START = "0-0"
Raw = tuple[str, dict[str, str]]


def connect(url: str) -> redis.asyncio.Redis:
    """Opens no connection yet."""
    options = {**OPTIONS, "retry": redis.asyncio.retry.Retry(NoBackoff(), 0)}
    if known := parse_sentinel_url(url):
        sentinel = redis.asyncio.Sentinel(known.sentinels, sentinel_kwargs=SENTINEL_OPTIONS)
        guarded: redis.asyncio.Redis = sentinel.master_for(
            known.service, redis_class=_Guarded, **options, **known.options
        )
        return guarded
    return redis.asyncio.Redis.from_url(url, **options)


def connect_sync(url: str) -> redis.Redis:
    """Opens no connection yet."""
    options = {**OPTIONS, "retry": Retry(NoBackoff(), 0)}
    if known := parse_sentinel_url(url):
        sentinel = Sentinel(known.sentinels, sentinel_kwargs=SENTINEL_OPTIONS)
        guarded: redis.Redis = sentinel.master_for(known.service, redis_class=_GuardedSync, **options, **known.options)
        return guarded
    return redis.Redis.from_url(url, **options)


class _Guarded(redis.asyncio.Redis):
    """A client that also closes its connections to the sentinels."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


class _GuardedSync(redis.Redis):
    """The synchronous variant of `_Guarded`."""

    def close(self) -> None:
        super().close()
        pool: Any = self.connection_pool
        for sentinel in pool.sentinel_manager.sentinels:
            sentinel.close()


@asynccontextmanager
async def redis_errors_as_problems() -> AsyncIterator[None]:
    """Raises Problem QUEUE_UNAVAILABLE if Redis is unavailable, loading, full, or read-only."""
    try:
        with cancellable():
            yield
    except LOST_CONNECTION as error:
        raise _unavailable(AWAY) from error
    except ResponseError as error:
        detail = _refusal(error)
        if detail is None:
            raise
        raise _unavailable(detail) from error


def _refusal(error: ResponseError) -> str | None:
    """Returns a sentence if Redis refuses commands for now, None for other errors."""
    text = str(error)
    if isinstance(error, OutOfMemoryError) or FULL in text:
        return "The job queue is full; try again later."
    if isinstance(error, ReadOnlyError) or any(word in text for word in NO_WRITES):
        return "The job queue does not accept new jobs now; try again later."
    return AWAY if isinstance(error, MasterDownError) or any(word in text for word in NOT_YET) else None


def _unavailable(detail: str) -> Problem:
    return Problem(Code.QUEUE_UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S)


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """Sentinel addresses, the master's name, and its credentials; the sentinels themselves need no password."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    options: dict[str, Any]


def parse_sentinel_url(url: str) -> SentinelUrl | None:
    """Returns None if the URL is that of a Redis server itself."""
    if not url.startswith(SENTINEL_SCHEMES):
        return None
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, _, db = parts.path.strip("/").partition("/")
    if not hosts or not service:
        raise ValueError("write sentinels as redis+sentinel://host:port,host:port/name")
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


class StreamEntry(NamedTuple):
    id: str
    fields: dict[str, str]


async def read_stream(
    redis: redis.asyncio.Redis, stream: str, *, after: str, wait_s: float = BLOCK_S
) -> list[StreamEntry]:
    """Returns the entries after one; waits for at least one up to `wait_s`, but no longer than `BLOCK_S`."""
    block_ms = max(1, int(min(wait_s, BLOCK_S) * 1000))  # 0 would wait for ever
    async with redis_errors_as_problems():
        reply = await redis.xread({stream: after}, block=block_ms)
    return [StreamEntry(*entry) for _, entries in cast(list[tuple[str, list[Raw]]], reply) for entry in entries]


async def newest_id(redis: redis.asyncio.Redis, stream: str) -> str:
    """Returns the id of the last entry, or the one before all entries."""
    async with redis_errors_as_problems():
        entries = await redis.xrevrange(stream, count=1)
    return cast(list[Raw], entries)[0][0] if entries else START
