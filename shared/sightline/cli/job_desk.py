"""The queue as an operator reaches it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import ValidationError

from sightline.cli.faults import Fault
from sightline.jobs.connection import connect
from sightline.jobs.dead_letters import DeadLetters
from sightline.jobs.outbox import Outbox
from sightline.jobs.overview import Overview
from sightline.jobs.queue import JobQueue
from sightline.jobs.references import References
from sightline.jobs.settings import JobSettings
from sightline.jobs.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class Desk:
    queue: JobQueue
    dead_letters: DeadLetters
    overview: Overview
    upkeep: Upkeep
    outbox: Outbox
    references: References


@asynccontextmanager
async def job_desk(url: str) -> AsyncIterator[Desk]:
    try:
        settings = JobSettings(redis_url=url)
    except ValidationError as error:
        raise Fault("; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())) from None
    async with connect(url) as redis:
        yield Desk(
            JobQueue(redis, settings),
            DeadLetters(redis, settings),
            Overview(redis, settings),
            Upkeep(redis, settings),
            Outbox(redis, settings),
            References(redis, settings),
        )
