from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, OutOfMemoryError, ReadOnlyError, ResponseError, TimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

from sightline.api.problems import Code, Problem
from sightline.jobs.cancellation import cancellable
from sightline.jobs.sentinel import read_sentinel_url

CONNECT_TIMEOUT_S = 2.0
SOCKET_TIMEOUT_S = 5.0
BLOCK_S = 4.0  # longest wait inside Redis; a wait beyond the socket's own timeout would look like a dead server
MAX_CONNECTIONS = 1024  # each reader of events keeps one to itself
RETRY_AFTER_S = 5.0

LOST = (ConnectionError, TimeoutError)  # whether the command took effect is unknown

# Redis 6 wraps what made a script fail into an error of its own, so that only the words tell.
REFUSALS = ("OOM command", "MISCONF", "READONLY", "LOADING")

# Scripts decide themselves whether they may run twice, so the client never repeats a command by its own.
OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": SOCKET_TIMEOUT_S,
    "protocol": 2,
    "max_connections": MAX_CONNECTIONS,
}
SENTINEL_OPTIONS = {"socket_connect_timeout": CONNECT_TIMEOUT_S, "socket_timeout": SOCKET_TIMEOUT_S}


def connect(url: str) -> redis.asyncio.Redis:
    """Opens no connection yet."""
    options = {**OPTIONS, "retry": redis.asyncio.retry.Retry(NoBackoff(), 0)}
    if known := read_sentinel_url(url):
        sentinel = redis.asyncio.Sentinel(known.sentinels, sentinel_kwargs=SENTINEL_OPTIONS)
        guarded: redis.asyncio.Redis = sentinel.master_for(
            known.service, redis_class=_Guarded, **options, **known.options
        )
        return guarded
    return redis.asyncio.Redis.from_url(url, **options)


def connect_sync(url: str) -> redis.Redis:
    """Opens no connection yet."""
    options = {**OPTIONS, "retry": Retry(NoBackoff(), 0)}
    if known := read_sentinel_url(url):
        sentinel = Sentinel(known.sentinels, sentinel_kwargs=SENTINEL_OPTIONS)
        guarded: redis.Redis = sentinel.master_for(known.service, redis_class=_GuardedSync, **options, **known.options)
        return guarded
    return redis.Redis.from_url(url, **options)


class _Guarded(redis.asyncio.Redis):
    """Closes the connections to its sentinels with its own."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


class _GuardedSync(redis.Redis):
    """The same."""

    def close(self) -> None:
        super().close()
        pool: Any = self.connection_pool
        for sentinel in pool.sentinel_manager.sentinels:
            sentinel.close()


@asynccontextmanager
async def reachable() -> AsyncIterator[None]:
    """Raises Problem QUEUE_UNAVAILABLE where Redis is away, loading, full, or cannot write to its disk."""
    try:
        with cancellable():
            yield
    except (*LOST, OutOfMemoryError, ReadOnlyError) as error:
        raise _unavailable() from error
    except ResponseError as error:
        if not any(word in str(error) for word in REFUSALS):
            raise
        raise _unavailable() from error


def _unavailable() -> Problem:
    detail = "The job queue cannot be reached; try again shortly."
    return Problem(Code.QUEUE_UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S)
