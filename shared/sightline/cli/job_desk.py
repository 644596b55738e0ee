"""The queue as an operator reaches it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import ValidationError

from sightline.cli.faults import Fault
from sightline.jobs.blob_references import BlobReferences
from sightline.jobs.connection import connect
from sightline.jobs.inspector import QueueInspector
from sightline.jobs.maintenance import QueueMaintenance
from sightline.jobs.queue import DeadLetters, JobQueue
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.delivery_queue import DeliveryQueue


@dataclass(frozen=True, slots=True)
class Desk:
    queue: JobQueue
    dead_letters: DeadLetters
    overview: QueueInspector
    upkeep: QueueMaintenance
    outbox: DeliveryQueue
    references: BlobReferences


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
            QueueInspector(redis, settings),
            QueueMaintenance(redis, settings),
            DeliveryQueue(redis, settings),
            BlobReferences(redis, settings),
        )
