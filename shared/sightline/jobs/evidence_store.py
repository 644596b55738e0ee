"""Evidence records of replies that are no JSON, kept for a while in Redis behind a link.

A record has digests, options and times, but no pixels and no file names. Redis is its place, because the gateways of a
fleet share it, and records expire there by themselves.
"""

import asyncio
import hashlib
from typing import Any

import structlog
from redis.asyncio import Redis

from sightline.api.problems import Problem
from sightline.evidence.canonical_json import from_header
from sightline.jobs.connection import redis_errors_as_problems

log = structlog.get_logger()

MAX_RECORDS_PER_REQUEST = 16
"""A request id may have several records: of the representations of a job, or of requests that share the id."""
MAX_WAIT_S = 0.5
"""A reply waits no longer for Redis; without the record it has no link."""
ID_CHARACTERS = 16


class EvidenceStore:
    """Records by owner and request id, each for `ttl_s` seconds."""

    def __init__(self, redis: Redis, *, prefix: str, ttl_s: float) -> None:
        self._redis, self._prefix, self._ttl_s = redis, prefix, ttl_s

    async def put(self, owner: str, request_id: str, header: str) -> str | None:
        """Stores the record of a reply's header; returns its path for a link, or None if Redis takes too long."""
        key = self._key(owner, request_id)
        try:
            async with (
                asyncio.timeout(MAX_WAIT_S),
                redis_errors_as_problems(),
                self._redis.pipeline(transaction=True) as pipeline,
            ):
                pipeline.lrem(key, 0, header)
                pipeline.rpush(key, header)
                pipeline.ltrim(key, -MAX_RECORDS_PER_REQUEST, -1)
                pipeline.pexpire(key, int(self._ttl_s * 1000))
                await pipeline.execute()
        except (TimeoutError, Problem) as error:
            log.warning("evidence_not_stored", error=type(error).__name__)
            return None
        return f"/v1/evidence/{request_id}?record={record_id(header)}"

    async def get(self, owner: str, request_id: str, record: str | None) -> dict[str, Any] | None:
        """Returns a record by its id, by default the newest of the request; None if there is none."""
        async with redis_errors_as_problems():
            headers = await self._redis.lrange(self._key(owner, request_id), 0, -1)
        found = [header for header in map(str, headers) if record in (None, record_id(header))]
        return from_header(found[-1]) if found else None

    async def delete(self, owner: str, request_id: str) -> None:
        """Deletes all records of a request."""
        async with redis_errors_as_problems():
            await self._redis.delete(self._key(owner, request_id))

    def _key(self, owner: str, request_id: str) -> str:
        return f"{self._prefix}evidence:{owner}:{request_id}"


def record_id(header: str) -> str:
    return hashlib.sha256(header.encode()).hexdigest()[:ID_CHARACTERS]


async def describedby_link(
    store: EvidenceStore | None, *, owner: str, request_id: str, header: str | None, prefix: str
) -> str | None:
    """Stores the record of a reply's header; returns the value of the reply's `Link` header, if it has one."""
    path = await store.put(owner, request_id, header) if store and header else None
    return path and f'<{prefix}{path}>; rel="describedby"; type="application/json"'
