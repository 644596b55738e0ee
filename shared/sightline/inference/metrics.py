"""Prometheus metrics of a model service, in base units."""

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from sightline.runtime.tracing import DURATION_BUCKETS_S

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
DROP_REASONS = ("cancelled", "expired")
DECODER_ENDS = ("time", "memory", "crash")


class ServiceMetrics:
    """The metrics of a model service beside those of HTTP; each carries the model's name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.stage_duration_s = Histogram(
            "sightline_stage_duration_seconds",
            "Time of one request in one stage: read, decode, queue, infer, encode",
            ["model", "stage"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.batch_size = Histogram(
            "sightline_batch_size", "Samples in one run", ["model"], buckets=BATCH_BUCKETS, registry=registry
        )
        self.pending = Gauge("sightline_pending_samples", "Samples queued or running", ["model"], registry=registry)
        self.shed = Counter("sightline_shed", "Requests refused for overload", ["model"], registry=registry)
        self.dropped = Counter(
            "sightline_dropped_samples", "Samples dropped before they ran", ["model", "reason"], registry=registry
        )
        self.failures = Counter("sightline_failed_samples", "Samples the model failed on", ["model"], registry=registry)
        self.ended_decoders = Counter(
            "sightline_ended_decoders",
            "Pictures whose decoding exceeded its limits or crashed: time, memory, crash",
            ["model", "reason"],
            registry=registry,
        )
        self.ready = Gauge("sightline_ready", "1 when the model takes requests", ["model"], registry=registry)
        self.provider = Info("sightline_provider", "What the model runs on", ["model"], registry=registry)

    def initialise(self, model: str) -> None:
        """Creates the counters at 0: `rate` misses the first event of a counter that begins with it."""
        for metric in (self.pending, self.shed, self.failures):
            metric.labels(model)
        for reason in DROP_REASONS:
            self.dropped.labels(model, reason)
        for reason in DECODER_ENDS:
            self.ended_decoders.labels(model, reason)


class BatchObserver(Protocol):
    """An observer of the batcher, called from its thread and from event loops."""

    def ran(self, size: int) -> None: ...
    def pending(self, samples: int) -> None: ...
    def dropped(self, reason: str) -> None: ...
    def failed(self) -> None: ...


class MetricsObserver:
    """An observer that updates the Prometheus metrics."""

    def __init__(self, metrics: ServiceMetrics, model: str) -> None:
        self._metrics, self._model = metrics, model

    def ran(self, size: int) -> None:
        self._metrics.batch_size.labels(self._model).observe(size)

    def pending(self, samples: int) -> None:
        self._metrics.pending.labels(self._model).set(samples)

    def dropped(self, reason: str) -> None:
        self._metrics.dropped.labels(self._model, reason).inc()

    def failed(self) -> None:
        self._metrics.failures.labels(self._model).inc()
