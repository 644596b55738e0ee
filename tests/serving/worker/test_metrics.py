from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from sightline.jobs.blobs import BlobStore
from sightline.jobs.job import BlobRef, Job, Priority, Reason, State, StoredRequest
from sightline.serving.worker.health import WorkerHealth
from sightline.serving.worker.metrics import JobMetrics
from sightline.serving.worker.run import AttemptStatus

REQUEST = StoredRequest("/v1/m", "", "image/png", None, BlobRef("ab" * 32, 1))
JOB = Job(
    "id",
    "m",
    "public",
    Priority.BULK,
    Reason.ASKED,
    State.RUNNING,
    REQUEST,
    "request",
    100.0,
    attempts=1,
    started_at=103.0,
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry, tmp_path: Path) -> JobMetrics:
    return JobMetrics(registry, "m", WorkerHealth(BlobStore.from_url(f"file://{tmp_path}")))


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, {"model": "m", "priority": "bulk", **labels})


@pytest.mark.usefixtures("metrics")
def test_counters_begin_at_nothing(registry: CollectorRegistry) -> None:
    for end in AttemptStatus:
        assert value(registry, "sightline_job_attempt_ends_total", end=end) == 0


def test_a_success_is_timed_from_its_submission(registry: CollectorRegistry, metrics: JobMetrics) -> None:
    metrics.began(JOB)
    assert value(registry, "sightline_jobs_in_flight") == 1
    assert value(registry, "sightline_job_queue_duration_seconds_sum") == 3
    metrics.ended(JOB, AttemptStatus.SUCCEEDED, ran_s=2.0)
    assert value(registry, "sightline_jobs_in_flight") == 0
    assert value(registry, "sightline_job_run_duration_seconds_sum") == 2
    assert value(registry, "sightline_job_duration_seconds_sum") == 5


def test_a_second_attempt_did_not_wait_in_the_queue(registry: CollectorRegistry, metrics: JobMetrics) -> None:
    metrics.began(replace(JOB, attempts=2))
    assert value(registry, "sightline_job_attempts_total") == 1
    assert value(registry, "sightline_job_queue_duration_seconds_count") == 0


def test_a_lost_lease_is_counted_and_is_no_success(registry: CollectorRegistry, metrics: JobMetrics) -> None:
    metrics.began(JOB)
    metrics.ended(JOB, AttemptStatus.LOST, ran_s=2.0)
    assert value(registry, "sightline_job_lost_leases_total") == 1
    assert value(registry, "sightline_job_attempt_ends_total", end="lost") == 1
    assert value(registry, "sightline_job_duration_seconds_count") == 0
