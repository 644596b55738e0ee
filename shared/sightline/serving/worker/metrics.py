"""What a service measures of the jobs that it works on, per model and priority."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from sightline.jobs.job import Job, Priority
from sightline.serving.worker.health import WorkerHealth
from sightline.serving.worker.run import AttemptStatus

LABELS = ("model", "priority")
MINUTE_S, HOUR_S = 60.0, 3600.0
BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, MINUTE_S, 2 * MINUTE_S, 5 * MINUTE_S, 15 * MINUTE_S, HOUR_S, 6 * HOUR_S)


class JobMetrics:
    def __init__(self, registry: CollectorRegistry, model: str, health: WorkerHealth) -> None:
        self.attempts = Counter("sightline_job_attempts", "Jobs taken to work on", LABELS, registry=registry)
        self.ends = Counter(
            "sightline_job_attempt_ends",
            "What became of them: succeeded, failed, retrying, returned, cancelled or lost",
            (*LABELS, "end"),
            registry=registry,
        )
        self.lost_leases = Counter(
            "sightline_job_lost_leases", "Jobs that went to another worker meanwhile", LABELS, registry=registry
        )
        self.in_flight = Gauge("sightline_jobs_in_flight", "Jobs worked on here", LABELS, registry=registry)
        self.queue_s = _histogram("sightline_job_queue_duration_seconds", "From submission to first start", registry)
        self.run_s = _histogram("sightline_job_run_duration_seconds", "From start to end of an attempt", registry)
        self.total_s = _histogram("sightline_job_duration_seconds", "From submission to success", registry)
        takes = Gauge("sightline_service_takes_jobs", "1 while jobs are taken", ["model"], registry=registry)
        takes.labels(model).set_function(lambda: health.trouble is None)
        self._announce(model)

    def _announce(self, model: str) -> None:
        """Counters begin at 0 and not with their first event, of which no rate could be told."""
        for priority in Priority:
            for metric in (self.attempts, self.lost_leases, self.in_flight, self.queue_s, self.run_s, self.total_s):
                metric.labels(model, priority)
            for end in AttemptStatus:
                self.ends.labels(model, priority, end)

    def began(self, job: Job) -> None:
        labels = (job.model, job.priority)
        self.attempts.labels(*labels).inc()
        self.in_flight.labels(*labels).inc()
        if job.attempts == 1:
            self.queue_s.labels(*labels).observe(_waited_s(job))

    def ended(self, job: Job, end: AttemptStatus, *, ran_s: float) -> None:
        labels = (job.model, job.priority)
        self.in_flight.labels(*labels).dec()
        self.ends.labels(*labels, end).inc()
        self.run_s.labels(*labels).observe(ran_s)
        if end is AttemptStatus.SUCCEEDED:
            self.total_s.labels(*labels).observe(_waited_s(job) + ran_s)
        if end is AttemptStatus.LOST:
            self.lost_leases.labels(*labels).inc()


def _waited_s(job: Job) -> float:
    """From submission to this start, both by the clock of Redis."""
    return max(0.0, (job.started_at or job.created_at) - job.created_at)


def _histogram(name: str, help_text: str, registry: CollectorRegistry) -> Histogram:
    return Histogram(name, help_text, LABELS, buckets=BUCKETS_S, registry=registry)
