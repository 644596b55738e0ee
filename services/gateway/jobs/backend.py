"""Access to jobs for the gateway's routes: queue, blob store, event streams, and monitors of their state."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.asyncio import Redis

from services.gateway.auth.api_keys import KeyRing
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Code, Problem
from sightline.http.concurrency import ConcurrencyLimiter
from sightline.jobs.blob_references import BlobReferences
from sightline.jobs.blob_store import BlobStore
from sightline.jobs.connection import AWAY
from sightline.jobs.inspector import ModelLoad, QueueInspector, QueueStats
from sightline.jobs.maintenance import MaintenanceTask
from sightline.jobs.queue import JobQueue
from sightline.jobs.settings import JobSettings
from sightline.jobs.webhooks.delivery_queue import DeliveryQueue
from sightline.runtime.errors import describe_error
from sightline.runtime.tasks import TaskSupervisor

log = structlog.get_logger()

RETRY_AFTER_S = 5.0
_LABELS = ("model", "priority")


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """The state of all queues at one moment."""

    stats: Sequence[QueueStats] = ()
    loads: Mapping[str, ModelLoad] = field(default_factory=dict)
    used_bytes: int = 0
    refusal: str | None = None  # why Redis takes no jobs, though it can be read
    clock_skew_s: float | None = None  # Redis' clock minus this machine's


class QueueMonitor:
    """Reads the state of the queues periodically, so that metrics and capacity never wait for Redis.

    `snapshot` is None while Redis cannot be reached.
    """

    def __init__(self, queue: JobQueue, inspector: QueueInspector, keys: KeyRing, settings: GatewaySettings) -> None:
        self.snapshot: QueueSnapshot | None = None
        self._queue, self._inspector, self._keys = queue, inspector, keys
        self._models, self._interval_s = list(settings.upstreams), settings.overview_interval_s

    async def run(self) -> None:
        while True:
            try:
                self.snapshot = await self._take_snapshot()
            except Problem as problem:
                self._mark_unavailable(code=problem.code)
            except Exception as error:
                self._mark_unavailable(**describe_error(error))
            await asyncio.sleep(self._interval_s)

    async def _take_snapshot(self) -> QueueSnapshot:
        loads = {model: await self._inspector.model_load(model) for model in self._models}
        stats, used_bytes = await self._inspector.queue_stats(self._models), await self._inspector.used_bytes()
        refusal, clock_skew_s = await self._probe_writes()
        return QueueSnapshot(stats, loads, used_bytes, refusal, clock_skew_s)

    async def _probe_writes(self) -> tuple[str | None, float | None]:
        """Returns why Redis refuses writes, or else its clock's skew in seconds."""
        try:
            clock_skew_s = await self._inspector.probe()
            await self._set_limits()
        except Problem as problem:
            if self.snapshot is None or self.snapshot.refusal is None:
                log.warning("queue_not_writable", detail=problem.detail)
            return problem.detail, None
        return None, clock_skew_s

    async def _set_limits(self) -> None:
        # Repeated with each snapshot, because Redis may have restarted without its data.
        for caller in self._keys.callers:
            await self._queue.set_owner_limit(caller.owner, max_running=caller.max_running)

    def _mark_unavailable(self, **facts: object) -> None:
        if self.snapshot is not None:
            log.warning("queue_unreachable", **facts)
        self.snapshot = None


class StoreMonitor:
    """Writes to the blob store periodically, in a task apart from the queues' because a store may hang.

    `failure` says why the store is not usable; None while it is.
    """

    def __init__(self, store: BlobStore, settings: GatewaySettings) -> None:
        self.failure: str | None = None
        self._store, self._interval_s = store, settings.store_probe_interval_s

    async def run(self) -> None:
        while True:
            failure = await self._probe()
            if failure is not None and self.failure is None:
                log.warning("store_not_writable", detail=failure)
            self.failure = failure
            await asyncio.sleep(self._interval_s)

    async def _probe(self) -> str | None:
        try:
            await self._store.probe()
        except Problem as problem:
            # Without Redis the store's identity cannot be checked: the last result stays.
            return problem.detail if problem.code is Code.STORAGE_UNAVAILABLE else self.failure
        except Exception as error:
            log.error("store_probe_failed", **describe_error(error))
            return "The store of uploads and results failed."
        return None


class QueueCollector(Collector):
    """Prometheus metrics of the queues, from the last snapshot; empty while Redis cannot be reached."""

    def __init__(self, queue_monitor: QueueMonitor, store_monitor: StoreMonitor) -> None:
        self._queue_monitor, self._store_monitor = queue_monitor, store_monitor

    def collect(self) -> list[Metric]:
        waiting = _gauge("waiting", "Jobs in the queue")
        oldest = _gauge("oldest_age_seconds", "Age of the job that has waited longest")
        running = _gauge("running", "Jobs in the hands of workers")
        retrying = _gauge("retrying", "Jobs whose next attempt is not due yet")
        dead = _gauge("dead", "Jobs that were given up")
        totals = CounterMetricFamily("sightline_jobs_events", "What happened to jobs", labels=(*_LABELS, "event"))
        snapshot = self._queue_monitor.snapshot
        for stats in snapshot.stats if snapshot else ():
            labels = (stats.model, stats.priority)
            waiting.add_metric(labels, stats.waiting)
            oldest.add_metric(labels, stats.oldest_age_s)
            running.add_metric(labels, stats.running)
            retrying.add_metric(labels, stats.retrying)
            dead.add_metric(labels, stats.dead)
            for event, count in stats.totals.items():
                totals.add_metric((*labels, event), count)
        return [waiting, oldest, running, retrying, dead, totals, *self._redis()]

    def _redis(self) -> list[Metric]:
        snapshot = self._queue_monitor.snapshot
        up = GaugeMetricFamily("sightline_redis_up", "1 when the queues can be seen", value=float(snapshot is not None))
        used = GaugeMetricFamily("sightline_redis_used_bytes", "Memory that Redis has taken for its data")
        skew = GaugeMetricFamily("sightline_redis_clock_skew_seconds", "Of Redis' clock, ahead of this machine's")
        if snapshot is not None:
            used.add_metric((), snapshot.used_bytes)
        if snapshot is not None and snapshot.clock_skew_s is not None:
            skew.add_metric((), snapshot.clock_skew_s)
        return [up, used, skew, *self._acceptance()]

    def _acceptance(self) -> list[Metric]:
        snapshot, store_up = self._queue_monitor.snapshot, self._store_monitor.failure is None
        # Redis may be up and refuse writes.
        writable = snapshot is not None and snapshot.refusal is None
        accepts = GaugeMetricFamily("sightline_queue_accepts_jobs", "1 when Redis and blob store take new jobs")
        accepts.add_metric((), float(writable and store_up))
        store = GaugeMetricFamily("sightline_blob_store_up", "1 when it takes and deletes bytes", value=float(store_up))
        return [accepts, store]


def _gauge(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sightline_jobs_{name}", documentation, labels=_LABELS)


class EventStreams:
    """The limit of clients that listen to events: each holds a connection until its job ends."""

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
            detail = "Too many clients listen to events; poll the job's status instead."
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
    """Access to the queue, the blob store, webhook deliveries and event streams of jobs."""

    queue: JobQueue
    references: BlobReferences
    delivery_queue: DeliveryQueue
    store: BlobStore
    queue_monitor: QueueMonitor
    store_monitor: StoreMonitor
    streams: EventStreams


@asynccontextmanager
async def open_job_backend(
    redis: Redis,
    settings: GatewaySettings,
    jobs: JobSettings,
    *,
    keys: KeyRing,
    registry: CollectorRegistry,
    tasks: TaskSupervisor,
) -> AsyncIterator[JobBackend]:
    """Runs the monitors and the maintenance of jobs while it is open; opens also while Redis cannot be reached."""
    queue, references = JobQueue(redis, jobs), BlobReferences(redis, jobs)
    store = BlobStore.from_url(_blobs_url(jobs), resolve_identity=references.resolve_identity)
    queue_monitor = QueueMonitor(queue, QueueInspector(redis, jobs), keys, settings)
    store_monitor = StoreMonitor(store, settings)
    registry.register(QueueCollector(queue_monitor, store_monitor))
    async with (
        tasks.running("queue monitor", queue_monitor.run()),
        tasks.running("store monitor", store_monitor.run()),
        tasks.running("job maintenance", MaintenanceTask(redis, jobs, store).run()),
    ):
        yield JobBackend(
            queue,
            references,
            DeliveryQueue(redis, jobs),
            store,
            queue_monitor,
            store_monitor,
            EventStreams(settings.max_event_streams),
        )


def refusal_of(backend: JobBackend) -> str | None:
    """Returns why no jobs are accepted now; None where they are."""
    snapshot = backend.queue_monitor.snapshot
    if snapshot is None:
        return AWAY
    return snapshot.refusal or backend.store_monitor.failure


def require_job_backend(backend: JobBackend | None) -> JobBackend:
    """Raises Problem QUEUE_UNAVAILABLE."""
    if backend is None:
        raise Problem(Code.QUEUE_UNAVAILABLE, "This gateway takes no jobs: it is configured without Redis.")
    return backend


def _blobs_url(jobs: JobSettings) -> str:
    if jobs.blobs_url is None:
        raise ValueError("jobs need SIGHTLINE_BLOBS_URL beside SIGHTLINE_REDIS_URL")
    return jobs.blobs_url
