"""Events of jobs, which clients follow as they happen."""

import json
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from sightline.jobs.connection import START, StreamEntry, newest_id, read_stream, redis_errors_as_problems
from sightline.jobs.job import TERMINAL
from sightline.jobs.scripts import RedisKeys
from sightline.jobs.settings import JobSettings

QUIET_S = 15.0  # longest time without an event or a keep-alive


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One change of a job: `name` is its new state or "progress"; `data` can be dumped as JSON."""

    id: str
    name: str
    data: Mapping[str, Any]


class JobEvents:
    """Events of jobs, each job's in a Redis stream, so that a reader can continue where it was interrupted."""

    def __init__(self, redis: redis.asyncio.Redis, settings: JobSettings) -> None:
        self._redis, self._keys = redis, RedisKeys(settings.redis_prefix)
        self._leaving = False

    def end_streams(self) -> None:
        """Ends all streams within a few seconds; their readers may continue elsewhere."""
        self._leaving = True

    async def follow(self, job_id: str, *, after: str | None = None) -> AsyncGenerator[JobEvent | None]:
        """Yields events up to the one that ended the job, and None as a keep-alive. Raises QUEUE_UNAVAILABLE."""
        cursor, quiet_since = after or START, time.monotonic()
        while not self._leaving and not await self.ended(job_id, cursor):
            entries = await read_stream(self._redis, self._keys.events(job_id), after=cursor)
            for entry in entries:
                yield _event(entry)
            if entries:
                cursor, quiet_since = entries[-1].id, time.monotonic()
            elif time.monotonic() - quiet_since > QUIET_S:
                quiet_since = time.monotonic()
                yield None

    async def ended(self, job_id: str, cursor: str) -> bool:
        """Returns whether no event will follow `cursor`: it is the job's last event, or the job was deleted."""
        async with redis_errors_as_problems():
            state = await self._redis.hget(self._keys.job(job_id), "state")
        if state is not None and state not in TERMINAL:
            return False
        last = await newest_id(self._redis, self._keys.events(job_id))
        return last == START or _order(last) <= _order(cursor)


def _order(event_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = event_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def _event(entry: StreamEntry) -> JobEvent:
    return JobEvent(entry.id, entry.fields["event"], json.loads(entry.fields["data"]))
