import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sightline.jobs.outbox import Backlog
from sightline.jobs.webhooks.sender import Attempt

DURATION_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)


class WebhookMetrics:
    """What is measured about webhooks; receivers are strangers' names and label nothing."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "sightline_webhook_attempts", "Sendings: delivered or failed", ["outcome"], registry=registry
        )
        self.given_up = Counter("sightline_webhooks_given_up", "Messages that never arrived", registry=registry)
        self.duration_s = Histogram(
            "sightline_webhook_attempt_duration_seconds",
            "From the lookup of the receiver's name to its answer",
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.pending = Gauge("sightline_webhooks_pending", "Messages not settled yet", registry=registry)
        self.overdue_s = Gauge("sightline_webhooks_overdue_seconds", "Age of the oldest due message", registry=registry)

    def observe(self, attempt: Attempt) -> None:
        self.attempts.labels("delivered" if attempt.delivered else "failed").inc()
        self.duration_s.observe(attempt.duration_s)

    def show(self, backlog: Backlog | None) -> None:
        """None: unknown, because Redis is away."""
        self.pending.set(math.nan if backlog is None else backlog.pending)
        self.overdue_s.set(math.nan if backlog is None else backlog.overdue_s)
