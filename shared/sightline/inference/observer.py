"""What the batcher tells about its work."""

from typing import Protocol

from sightline.inference.metrics import ServiceMetrics


class BatchObserver(Protocol):
    """Hears of every run; called from the batcher's thread and from event loops."""

    def ran(self, size: int) -> None: ...
    def pending(self, samples: int) -> None: ...
    def dropped(self, reason: str) -> None: ...
    def failed(self) -> None: ...


class MetricsObserver:
    """Counts for Prometheus."""

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
