from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from services.gateway.jobs.monitor import QueueMonitor, StoreMonitor
from sightline.jobs.overview import Line

_LABELS = ("model", "priority")


class QueueCollector(Collector):
    """The queues as they were last seen; while Redis is away there is nothing to tell."""

    def __init__(self, queue_monitor: QueueMonitor, store_monitor: StoreMonitor) -> None:
        self._queue_monitor, self._store_monitor = queue_monitor, store_monitor

    def collect(self) -> list[Metric]:
        waiting = _gauge("waiting", "Jobs in the queue")
        oldest = _gauge("oldest_age_seconds", "Age of the job that has waited longest")
        running = _gauge("running", "Jobs in the hands of workers")
        retrying = _gauge("retrying", "Jobs whose next attempt is not due yet")
        dead = _gauge("dead", "Jobs that were given up")
        totals = CounterMetricFamily("sightline_jobs_events", "What happened to jobs", labels=(*_LABELS, "event"))
        for line in self._lines():
            labels = (line.model, line.priority)
            waiting.add_metric(labels, line.waiting)
            oldest.add_metric(labels, line.oldest_age_s)
            running.add_metric(labels, line.running)
            retrying.add_metric(labels, line.retrying)
            dead.add_metric(labels, line.dead)
            for event, count in line.totals.items():
                totals.add_metric((*labels, event), count)
        return [waiting, oldest, running, retrying, dead, totals, *self._redis()]

    def _lines(self) -> list[Line]:
        return list(self._queue_monitor.snapshot.lines) if self._queue_monitor.snapshot else []

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
        """Redis may be up and refuse writes."""
        snapshot, store_up = self._queue_monitor.snapshot, self._store_monitor.trouble is None
        writable = snapshot is not None and snapshot.refusal is None
        accepts = GaugeMetricFamily("sightline_queue_accepts_jobs", "1 when Redis and blob store take new jobs")
        accepts.add_metric((), float(writable and store_up))
        store = GaugeMetricFamily("sightline_blob_store_up", "1 when it takes and deletes bytes", value=float(store_up))
        return [accepts, store]


def _gauge(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"sightline_jobs_{name}", documentation, labels=_LABELS)
