from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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
from sightline.jobs.sentinel import read_sentinel_url
from sightline.runtime.tasks import cancellable

CONNECT_TIMEOUT_S = 2.0
SOCKET_TIMEOUT_S = 5.0
BLOCK_S = 4.0  # longest wait inside Redis; a wait beyond the socket's own timeout would look like a dead server
MAX_CONNECTIONS = 1024  # each reader of events keeps one to itself
RETRY_AFTER_S = 5.0

LOST = (ConnectionError, TimeoutError)  # whether the command took effect is unknown

# Redis 6 wraps what made a script fail into an error of its own, so that only the words tell.
AWAY = "The job queue cannot be reached; try again shortly."
FULL = "OOM command"
NO_WRITES = ("MISCONF", "READONLY", "NOREPLICAS")
NOT_YET = ("LOADING", "MASTERDOWN", "BUSY")

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
    """Raises Problem QUEUE_UNAVAILABLE where Redis is away, loading, full, or takes no writes."""
    try:
        with cancellable():
            yield
    except LOST as error:
        raise _unavailable(AWAY) from error
    except ResponseError as error:
        detail = _refusal(error)
        if detail is None:
            raise
        raise _unavailable(detail) from error


def _refusal(error: ResponseError) -> str | None:
    """A sentence for what Redis answered; None for what is no refusal but an error."""
    text = str(error)
    if isinstance(error, OutOfMemoryError) or FULL in text:
        return "The job queue is full; try again later."
    if isinstance(error, ReadOnlyError) or any(word in text for word in NO_WRITES):
        return "The job queue takes no new jobs now; try again later."
    return AWAY if isinstance(error, MasterDownError) or any(word in text for word in NOT_YET) else None


def _unavailable(detail: str) -> Problem:
    return Problem(Code.QUEUE_UNAVAILABLE, detail, retry_after_s=RETRY_AFTER_S)
