"""The job worker of a service, assembled from its settings."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from prometheus_client import CollectorRegistry

from sightline.jobs.blob_references import BlobReferences
from sightline.jobs.blob_store import BlobStore
from sightline.jobs.connection import connect
from sightline.jobs.leases import Leases
from sightline.jobs.maintenance import MaintenanceTask
from sightline.jobs.queue import JobQueue
from sightline.jobs.settings import JobSettings
from sightline.serving.service import ModelService
from sightline.serving.uploads import UploadReader
from sightline.serving.worker.attempt import WorkerContext
from sightline.serving.worker.consumer import Consumer
from sightline.serving.worker.health import WorkerHealth
from sightline.serving.worker.run import JobMetrics


@asynccontextmanager
async def job_worker(service: ModelService, settings: JobSettings, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Works on the model's jobs for as long as the block lasts; does nothing where no queue or store is configured."""
    if settings.redis_url is None or settings.blobs_url is None or not service.settings.job_slots:
        yield
        return
    predictor = service.predictor
    reader = UploadReader(predictor.declaration, max_pictures=service.settings.max_pictures)
    async with connect(settings.redis_url) as redis:
        references = BlobReferences(redis, settings)
        store = BlobStore.from_url(settings.blobs_url, resolve_identity=references.resolve_identity)
        health = service.worker_health = WorkerHealth(store)
        context = WorkerContext(service, reader, store, references, health)
        queue, leases = JobQueue(redis, settings), Leases(redis, settings)
        consumer = Consumer(
            context, queue, leases, settings, JobMetrics(registry, service.name, health), worker=_worker_name()
        )
        # Each worker also recovers the jobs of workers that died, as there may be no other process that does.
        async with (
            consumer.running(),
            service.tasks.running("maintenance", MaintenanceTask(redis, settings, store).run()),
        ):
            yield


def _worker_name() -> str:
    """Returns a name that is new each time that a service starts, on any machine."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
