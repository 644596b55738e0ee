import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from services.gateway.keys import KeyRing
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Problem
from sightline.jobs.overview import Line, Load, Overview
from sightline.jobs.queue import JobQueue
from sightline.serving.errors import describe

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Sighting:
    """How the queues were at one moment."""

    lines: Sequence[Line] = ()
    loads: Mapping[str, Load] = field(default_factory=dict)
    used_bytes: int = 0


class QueueWatch:
    """Looks at the queues again and again, so that metrics and capacity never wait for Redis."""

    def __init__(self, queue: JobQueue, overview: Overview, keys: KeyRing, settings: GatewaySettings) -> None:
        self.sighting: Sighting | None = None  # None while Redis is away
        self._queue, self._overview, self._keys = queue, overview, keys
        self._models, self._interval_s = list(settings.upstreams), settings.overview_interval_s

    async def run(self) -> None:
        while True:
            try:
                self.sighting = await self._look()
            except Problem as problem:
                self._lose(code=problem.code)
            except Exception as error:
                self._lose(**describe(error))
            await asyncio.sleep(self._interval_s)

    async def _look(self) -> Sighting:
        await self._set_limits()
        loads = {model: await self._overview.load(model) for model in self._models}
        return Sighting(await self._overview.lines(self._models), loads, await self._overview.used_bytes())

    async def _set_limits(self) -> None:
        """Each time, because Redis may have come back without its data between two looks."""
        for caller in self._keys.callers:
            await self._queue.limit_owner(caller.owner, max_running=caller.max_running)

    def _lose(self, **facts: object) -> None:
        if self.sighting is not None:
            log.warning("queue_out_of_sight", **facts)
        self.sighting = None
