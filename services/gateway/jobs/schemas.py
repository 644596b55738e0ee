"""The public representation of jobs: JSON schemas and the conversion from stored jobs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from sightline.api import headers as names
from sightline.jobs.job import Job, JobReason, JobState, Priority, Representation
from sightline.jobs.webhooks.delivery_queue import Delivery
from sightline.jobs.webhooks.delivery_queue import DeliveryStatus as DeliveryStatus

EVENT_STREAM = "text/event-stream"

REASON_DETAILS: Mapping[JobReason, str] = {
    JobReason.ASKED: "The request has `Prefer: respond-async` or `wait`, or a webhook.",
    JobReason.PIXELS: "The picture has more pixels than a synchronous request may have.",
    JobReason.BYTES: "The request has more bytes than a synchronous request may have.",
    JobReason.KEY: "The request has an idempotency key, so that it runs only once if it is sent again.",
}


class JobLinks(BaseModel):
    """Paths of a job, of its result and of its events."""

    self: str = Field(examples=["/v1/jobs/6fa9c1d2e3b84c5f9d0a7b6c5e4f3a21"])
    result: str = Field(examples=["/v1/jobs/6fa9c1d2e3b84c5f9d0a7b6c5e4f3a21/result"])
    events: str = Field(examples=["/v1/jobs/6fa9c1d2e3b84c5f9d0a7b6c5e4f3a21/events"])


class JobProgress(BaseModel):
    """Progress of the current attempt at a job."""

    stage: str = Field(examples=["infer"])
    share: float | None = Field(
        default=None, description="Share of the work that is done, 0 to 1; null where the model reports none"
    )


class JobTimings(BaseModel):
    """Durations of a job's phases; null for phases that have not happened yet."""

    queued_s: float | None = Field(default=None, description="From acceptance to the start of the latest attempt")
    ran_s: float | None = Field(default=None, description="The latest attempt")
    total_s: float | None = Field(default=None, description="From acceptance to the end")
    stages_ms: dict[str, float] = Field(examples=[{"decode": 41.2, "infer": 812.0, "encode": 63.5}])


class JobRequest(BaseModel):
    """The submitted request: digest, size and headers of its body."""

    body_sha256: str
    size_bytes: int
    content_type: str
    accept: str | None = None


class JobResult(BaseModel):
    """A representation of the result, and the headers of the reply that carries it."""

    media_type: str = Field(examples=["image/png"])
    size_bytes: int
    sha256: str
    headers: dict[str, str]


class JobWebhook(BaseModel):
    """Delivery status of a job's webhook."""

    state: DeliveryStatus
    attempts: int
    sent_at: datetime | None = Field(default=None, description="Time of the last attempt")
    status: int | None = Field(default=None, description="HTTP status of the receiver's last reply")
    detail: str | None = Field(default=None, description="The error, if there was no reply")


class PublicJob(BaseModel):
    """A job: its state, position, timings, results and links."""

    id: str = Field(examples=["6fa9c1d2e3b84c5f9d0a7b6c5e4f3a21"])
    model: str = Field(examples=["inpaint"])
    state: JobState
    priority: Priority
    reason: JobReason = Field(description="The reason for processing the request as a job")
    detail: str = Field(description="The reason in a sentence", examples=[REASON_DETAILS[JobReason.PIXELS]])
    position: int | None = Field(
        default=None, description="Position in its queue, 1 is next; null when it does not wait"
    )
    eta_s: float | None = Field(default=None, description="Estimated seconds until the job ends")
    attempts: int
    progress: JobProgress | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_at: datetime | None = Field(default=None, description="When the next attempt is due")
    expires_at: datetime | None = Field(
        default=None, description="When its result is deleted, and later the record of it"
    )
    timings: JobTimings
    request: JobRequest
    results: list[JobResult]
    problem: dict[str, Any] | None = Field(default=None, description="Problem details of the last failed attempt")
    cached_from: str | None = Field(default=None, description="The identical earlier job whose result this is")
    webhook: JobWebhook | None = Field(
        default=None, description="Only in the reply for a single finished job that has a webhook"
    )
    links: JobLinks


class JobPage(BaseModel):
    """The caller's jobs, the newest first."""

    jobs: list[PublicJob]
    next: str | None = Field(default=None, description="The address of the next page; null on the last")


def public_job(job: Job, *, position: int | None = None, eta_s: float | None = None, prefix: str = "") -> PublicJob:
    """Returns the public representation of a job; links begin with `prefix`, the public path of the gateway."""
    return PublicJob(
        id=job.id,
        model=job.model,
        state=job.state,
        priority=job.priority,
        reason=job.reason,
        detail=REASON_DETAILS[job.reason],
        position=position,
        eta_s=None if eta_s is None else round(eta_s, 1),
        attempts=job.attempts,
        progress=JobProgress(stage=job.progress.stage, share=job.progress.share) if job.progress else None,
        created_at=_moment(job.created_at),
        started_at=_moment_or_none(job.started_at),
        finished_at=_moment_or_none(job.finished_at),
        retry_at=_moment_or_none(job.retry_at),
        expires_at=_moment_or_none(job.expires_at),
        timings=_timings(job),
        request=_request(job),
        results=[_result(representation) for representation in job.results],
        problem=None if job.problem is None else dict(job.problem),
        cached_from=job.cached_from,
        links=links(job.id, prefix),
    )


def job_json(job: Job, *, prefix: str = "") -> dict[str, Any]:
    """Returns the public job as a JSON object."""
    return public_job(job, prefix=prefix).model_dump(mode="json")


def job_webhook(job: Job, delivery: Delivery | None) -> JobWebhook | None:
    """Returns the state of a finished job's webhook; `delivery` is None before the first attempt."""
    if job.webhook is None or not job.state.terminal:
        return None
    if delivery is None:
        return JobWebhook(state=DeliveryStatus.PENDING, attempts=0)
    return JobWebhook(
        state=delivery.fate,
        attempts=delivery.attempts,
        sent_at=_moment(delivery.at),
        status=delivery.status,
        detail=delivery.failure,
    )


def job_path(job_id: str, prefix: str = "") -> str:
    return f"{prefix}/v1/jobs/{job_id}"


def links(job_id: str, prefix: str = "") -> JobLinks:
    path = job_path(job_id, prefix)
    return JobLinks(self=path, result=f"{path}/result", events=f"{path}/events")


def _timings(job: Job) -> JobTimings:
    return JobTimings(
        queued_s=_between(job.created_at, job.started_at),
        ran_s=_between(job.started_at, job.finished_at),
        total_s=_between(job.created_at, job.finished_at),
        stages_ms=dict(job.stages_ms),
    )


def _request(job: Job) -> JobRequest:
    request = job.request
    return JobRequest(
        body_sha256=request.body.sha256,
        size_bytes=request.body.size_bytes,
        content_type=request.content_type,
        accept=request.accept,
    )


def _result(representation: Representation) -> JobResult:
    return JobResult(
        media_type=representation.media_type,
        size_bytes=representation.blob.size_bytes,
        sha256=representation.blob.sha256,
        # The record is as long as the rest of the job; the reply with the result has it.
        headers={name: value for name, value in representation.headers.items() if name != names.EVIDENCE},
    )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(max(0.0, end - start), 3)


def _moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


def _moment_or_none(epoch_s: float | None) -> datetime | None:
    return None if epoch_s is None else _moment(epoch_s)
