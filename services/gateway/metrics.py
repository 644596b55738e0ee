"""Prometheus metrics of the gateway: requests for models, upstream requests, jobs, and the state of the replicas."""

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from services.gateway.upstream.replicas import ReplicaFleet
from sightline.api.problems import Code
from sightline.runtime.tracing import DURATION_BUCKETS_S


class GatewayMetrics:
    """The gateway's counters and histograms; `sightline.http.metrics` has those that every HTTP server needs."""

    def __init__(self, registry: CollectorRegistry, fleet: ReplicaFleet) -> None:
        self.requests = Counter(
            "sightline_gateway_requests", "Requests for a model", ["model", "route", "status"], registry=registry
        )
        self.upstream_duration_s = Histogram(
            "sightline_gateway_upstream_duration_seconds",
            "From opening a request to a replica to the first byte of its reply",
            ["model"],
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        self.rejected = Counter(
            "sightline_gateway_rejected", "Requests that the gateway refused", ["model", "code"], registry=registry
        )
        self.retries = Counter(
            "sightline_gateway_retries", "Repeated attempts at another replica", ["model", "reason"], registry=registry
        )
        self.received_bytes = Counter(
            "sightline_gateway_received_bytes", "Request bodies", ["model"], registry=registry
        )
        self.jobs = Counter(
            "sightline_gateway_jobs",
            "Requests processed as jobs: submitted, joined to an earlier job, or cached",
            ["model", "reason", "outcome"],
            registry=registry,
        )
        self.sent_bytes = Counter("sightline_gateway_sent_bytes", "Reply bodies", ["model"], registry=registry)
        registry.register(FleetCollector(fleet))
        for model in fleet.models:
            self._initialize(model)

    def _initialize(self, model: str) -> None:
        # `rate` misses the first event of a series that begins with it, so these begin at 0.
        self.upstream_duration_s.labels(model)
        for metric in (self.received_bytes, self.sent_bytes):
            metric.labels(model)
        for code in (Code.NOT_READY, Code.OVERLOADED, Code.TOO_MANY_REQUESTS):
            self.rejected.labels(model, code)
        for reason in ("connect", "unavailable"):
            self.retries.labels(model, reason)


class FleetCollector(Collector):
    """Prometheus metrics of the replicas, read from their state at each scrape.

    Metrics are public, so replicas appear by their labels instead of their addresses.
    """

    def __init__(self, fleet: ReplicaFleet) -> None:
        self._fleet = fleet

    def collect(self) -> list[GaugeMetricFamily]:
        labels = ["model", "replica"]
        ready = GaugeMetricFamily("sightline_gateway_replica_ready", "1 if the replica accepts requests", labels=labels)
        in_flight = GaugeMetricFamily("sightline_gateway_upstream_in_flight", "Requests in flight", labels=labels)
        replicas = GaugeMetricFamily(
            "sightline_gateway_ready_replicas", "Replicas that accept requests", labels=["model", "may_rest"]
        )
        # Models without a replica report 0: alerts cannot match a series that is missing.
        for model in self._fleet.models:
            may_rest = str(model in self._fleet.resting).lower()
            replicas.add_metric([model, may_rest], len(self._fleet.ready_replicas(model)))
        for replica in self._fleet:
            ready.add_metric([replica.model, replica.label], float(replica.ready))
            in_flight.add_metric([replica.model, replica.label], replica.in_flight)
        return [ready, in_flight, replicas]
