from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from sightline.api.problems import Code, Problem
from sightline.inference.stages import Stage, Stages
from sightline.jobs.blob_store import BlobStore
from sightline.jobs.job import BlobRef, Job, JobReason, JobState, Priority, StageProgress, StoredRequest
from sightline.serving.worker.health import WorkerHealth
from sightline.serving.worker.run import AttemptStatus, JobMetrics, is_transient, progress_of

TRANSIENT = {
    Code.CANCELLED,
    Code.INTERNAL,
    Code.UPSTREAM_FAILED,
    Code.OVERLOADED,
    Code.NOT_READY,
    Code.QUEUE_UNAVAILABLE,
    Code.STORAGE_UNAVAILABLE,
    Code.DEADLINE_EXCEEDED,
}

REQUEST = StoredRequest("/v1/m", "", "image/png", None, BlobRef("ab" * 32, 1))
JOB = Job(
    "id",
    "m",
    "public",
    Priority.BULK,
    JobReason.ASKED,
    JobState.RUNNING,
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
def test_counters_start_at_zero(registry: CollectorRegistry) -> None:
    for end in AttemptStatus:
        assert value(registry, "sightline_job_attempt_ends_total", end=end) == 0


def test_success_is_timed_from_its_submission(registry: CollectorRegistry, metrics: JobMetrics) -> None:
    metrics.start(JOB)
    assert value(registry, "sightline_jobs_in_flight") == 1
    assert value(registry, "sightline_job_queue_duration_seconds_sum") == 3
    metrics.end(JOB, AttemptStatus.SUCCEEDED, ran_s=2.0)
    assert value(registry, "sightline_jobs_in_flight") == 0
    assert value(registry, "sightline_job_run_duration_seconds_sum") == 2
    assert value(registry, "sightline_job_duration_seconds_sum") == 5


def test_second_attempt_has_no_queue_time(registry: CollectorRegistry, metrics: JobMetrics) -> None:
    metrics.start(replace(JOB, attempts=2))
    assert value(registry, "sightline_job_attempts_total") == 1
    assert value(registry, "sightline_job_queue_duration_seconds_count") == 0


def test_lost_lease_is_counted_and_is_no_success(registry: CollectorRegistry, metrics: JobMetrics) -> None:
    metrics.start(JOB)
    metrics.end(JOB, AttemptStatus.LOST, ran_s=2.0)
    assert value(registry, "sightline_job_lost_leases_total") == 1
    assert value(registry, "sightline_job_attempt_ends_total", end="lost") == 1
    assert value(registry, "sightline_job_duration_seconds_count") == 0


def test_progress_has_a_share_only_during_inference() -> None:
    stages = Stages()
    assert progress_of(stages) == StageProgress("read")
    stages.current, stages.share = Stage.INFER, 2 / 3
    assert progress_of(stages) == StageProgress("infer", 0.667)
    stages.current = Stage.ENCODE
    assert progress_of(stages) == StageProgress("encode")


@pytest.mark.parametrize("code", Code)
def test_only_transient_problems_are_retried(code: Code) -> None:
    assert is_transient(Problem(code, "A fault.")) == (code in TRANSIENT)
