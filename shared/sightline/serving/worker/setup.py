"""A service's part in the queue, out of its settings."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from prometheus_client import CollectorRegistry

from sightline.jobs.blobs import BlobStore
from sightline.jobs.connection import connect
from sightline.jobs.janitor import Janitor
from sightline.jobs.leases import Leases
from sightline.jobs.queue import JobQueue
from sightline.jobs.references import References
from sightline.jobs.settings import JobSettings
from sightline.runtime.tasks import end
from sightline.serving.service import ModelService
from sightline.serving.uploads import UploadReader
from sightline.serving.worker.attempt import WorkerContext
from sightline.serving.worker.consumer import Consumer
from sightline.serving.worker.health import WorkerHealth
from sightline.serving.worker.metrics import JobMetrics


@asynccontextmanager
async def job_worker(service: ModelService, settings: JobSettings, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Works on the model's jobs inside the block, where the settings name a queue and a store."""
    if settings.redis_url is None or settings.blobs_url is None or not service.settings.job_slots:
        yield
        return
    predictor = service.predictor
    reader = UploadReader(predictor.info, predictor.options, max_pictures=service.settings.max_pictures)
    async with connect(settings.redis_url) as redis:
        references = References(redis, settings)
        store = BlobStore.from_url(settings.blobs_url, recognize=references.recognize)
        health = service.worker_health = WorkerHealth(store)
        shop = WorkerContext(service, reader, store, references, health)
        queue, leases = JobQueue(redis, settings), Leases(redis, settings)
        consumer = Consumer(
            shop, queue, leases, settings, JobMetrics(registry, service.name, health), worker=_worker_name()
        )
        async with consumer.running(), _tidying(Janitor(redis, settings, store)):
            yield


@asynccontextmanager
async def _tidying(janitor: Janitor) -> AsyncIterator[None]:
    """Whoever works on jobs also brings back those of workers that died, as nobody else may be there."""
    task = asyncio.create_task(janitor.run())
    try:
        yield
    finally:
        await end(task)


def _worker_name() -> str:
    """Differs each time that a service starts, wherever it runs."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
