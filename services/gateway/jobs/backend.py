from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from services.gateway.auth.api_keys import KeyRing
from services.gateway.jobs.metrics import QueueCollector
from services.gateway.jobs.monitor import QueueMonitor, StoreMonitor
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Code, Problem
from sightline.http.concurrency import ConcurrencyLimiter
from sightline.jobs.blobs import BlobStore
from sightline.jobs.connection import AWAY
from sightline.jobs.janitor import Janitor
from sightline.jobs.outbox import Outbox
from sightline.jobs.overview import Overview
from sightline.jobs.queue import JobQueue
from sightline.jobs.references import References
from sightline.jobs.settings import JobSettings
from sightline.runtime.tasks import in_background

RETRY_AFTER_S = 5.0


class EventStreams:
    """How many clients listen to events, each of which holds a connection for as long as its job lives."""

    def __init__(self, limit: int) -> None:
        self._limiter = ConcurrencyLimiter(max_requests=limit, max_bytes=0)

    @property
    def count(self) -> int:
        return self._limiter.requests

    def require_place(self, caller: str) -> None:
        """Raises Problem OVERLOADED, or TOO_MANY_REQUESTS where the caller has its share of the places."""
        try:
            self._limiter.check(caller)
        except Problem as problem:
            detail = "As many clients listen to events as may; ask for the job itself now and then."
            limit = self._limiter.max_requests
            raise Problem(problem.code, detail, retry_after_s=RETRY_AFTER_S, max_event_streams=limit) from problem

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        self._limiter.add(caller, requests=1)
        try:
            yield
        finally:
            self._limiter.add(caller, requests=-1)


@dataclass(frozen=True, slots=True)
class JobBackend:
    """Where jobs are handed in and asked after."""

    queue: JobQueue
    references: References
    outbox: Outbox
    store: BlobStore
    queue_monitor: QueueMonitor
    store_monitor: StoreMonitor
    streams: EventStreams


@asynccontextmanager
async def open_job_backend(
    redis: Redis, settings: GatewaySettings, jobs: JobSettings, keys: KeyRing, registry: CollectorRegistry
) -> AsyncIterator[JobBackend]:
    """Also while Redis is away: then those who come are told to come again."""
    queue, references = JobQueue(redis, jobs), References(redis, jobs)
    store = BlobStore.from_url(_blobs_url(jobs), recognize=references.recognize)
    queue_monitor = QueueMonitor(queue, Overview(redis, jobs), keys, settings)
    store_monitor = StoreMonitor(store, settings)
    registry.register(QueueCollector(queue_monitor, store_monitor))
    async with (
        in_background(queue_monitor.run()),
        in_background(store_monitor.run()),
        in_background(Janitor(redis, jobs, store).run()),
    ):
        yield JobBackend(
            queue,
            references,
            Outbox(redis, jobs),
            store,
            queue_monitor,
            store_monitor,
            EventStreams(settings.max_event_streams),
        )


def refusal_of(backend: JobBackend) -> str | None:
    """Why no jobs are accepted now; None where they are."""
    snapshot = backend.queue_monitor.snapshot
    if snapshot is None:
        return AWAY
    return snapshot.refusal or backend.store_monitor.trouble


def require_job_backend(backend: JobBackend | None) -> JobBackend:
    """Raises Problem QUEUE_UNAVAILABLE."""
    if backend is None:
        raise Problem(Code.QUEUE_UNAVAILABLE, "This gateway takes no jobs: it is configured without Redis.")
    return backend


def _blobs_url(jobs: JobSettings) -> str:
    if jobs.blobs_url is None:
        raise ValueError("jobs need SIGHTLINE_BLOBS_URL beside SIGHTLINE_REDIS_URL")
    return jobs.blobs_url
