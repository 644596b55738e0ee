import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from services.gateway.auth.api_keys import KeyRing
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Code, Problem
from sightline.jobs.blobs import BlobStore
from sightline.jobs.overview import Line, Load, Overview
from sightline.jobs.queue import JobQueue
from sightline.runtime.errors import describe_error

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """How the queues were at one moment."""

    lines: Sequence[Line] = ()
    loads: Mapping[str, Load] = field(default_factory=dict)
    used_bytes: int = 0
    refusal: str | None = None  # why Redis takes no jobs, though it can be read
    clock_skew_s: float | None = None  # of Redis, ahead of this machine


class QueueMonitor:
    """Looks at the queues again and again, so that metrics and capacity never wait for Redis."""

    def __init__(self, queue: JobQueue, overview: Overview, keys: KeyRing, settings: GatewaySettings) -> None:
        self.snapshot: QueueSnapshot | None = None  # None while Redis is away
        self._queue, self._overview, self._keys = queue, overview, keys
        self._models, self._interval_s = list(settings.upstreams), settings.overview_interval_s

    async def run(self) -> None:
        while True:
            try:
                self.snapshot = await self._look()
            except Problem as problem:
                self._mark_unavailable(code=problem.code)
            except Exception as error:
                self._mark_unavailable(**describe_error(error))
            await asyncio.sleep(self._interval_s)

    async def _look(self) -> QueueSnapshot:
        loads = {model: await self._overview.load(model) for model in self._models}
        lines, used_bytes = await self._overview.lines(self._models), await self._overview.used_bytes()
        refusal, clock_skew_s = await self._try_to_write()
        return QueueSnapshot(lines, loads, used_bytes, refusal, clock_skew_s)

    async def _try_to_write(self) -> tuple[str | None, float | None]:
        try:
            clock_skew_s = await self._overview.probe()
            await self._set_limits()
        except Problem as problem:
            if self.snapshot is None or self.snapshot.refusal is None:
                log.warning("queue_takes_no_jobs", detail=problem.detail)
            return problem.detail, None
        return None, clock_skew_s

    async def _set_limits(self) -> None:
        """Each time, because Redis may have come back without its data between two looks."""
        for caller in self._keys.callers:
            await self._queue.limit_owner(caller.owner, max_running=caller.max_running)

    def _mark_unavailable(self, **facts: object) -> None:
        if self.snapshot is not None:
            log.warning("queue_out_of_sight", **facts)
        self.snapshot = None


class StoreMonitor:
    """Writes to the blob store now and then, apart from the queues, because a store may hang."""

    def __init__(self, store: BlobStore, settings: GatewaySettings) -> None:
        self.trouble: str | None = None
        self._store, self._interval_s = store, settings.store_probe_interval_s

    async def run(self) -> None:
        while True:
            trouble = await self._look()
            if trouble is not None and self.trouble is None:
                log.warning("store_takes_no_bytes", detail=trouble)
            self.trouble = trouble
            await asyncio.sleep(self._interval_s)

    async def _look(self) -> str | None:
        """What is wrong; what it was, while Redis cannot say which store it should be."""
        try:
            await self._store.probe()
        except Problem as problem:
            return problem.detail if problem.code is Code.STORAGE_UNAVAILABLE else self.trouble
        except Exception as error:
            log.error("store_probe_failed", **describe_error(error))
            return "The store of uploads and results failed."
        return None
