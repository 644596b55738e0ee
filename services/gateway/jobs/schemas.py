"""A job as clients see it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from sightline.jobs.job import Job, Priority, Reason, Representation, State
from sightline.jobs.outbox import Delivery
from sightline.jobs.outbox import Fate as DeliveryStatus

EVENT_STREAM = "text/event-stream"

WHY: Mapping[Reason, str] = {
    Reason.ASKED: "The request asked for its answer later.",
    Reason.PIXELS: "The picture has more pixels than are answered at once.",
    Reason.BYTES: "The request has more bytes than are answered at once.",
    Reason.KEY: "The request has an idempotency key, so that it can be sent again without being done twice.",
}


class JobLinks(BaseModel):
    self: str = Field(examples=["/v1/jobs/6fa9c1d2e3b84c5f9d0a7b6c5e4f3a21"])
    result: str = Field(examples=["/v1/jobs/6fa9c1d2e3b84c5f9d0a7b6c5e4f3a21/result"])
    events: str = Field(examples=["/v1/jobs/6fa9c1d2e3b84c5f9d0a7b6c5e4f3a21/events"])


class JobProgress(BaseModel):
    stage: str = Field(examples=["infer"])
    share: float | None = Field(
        default=None, description="Of the work that is done, 0 to 1; null where the model cannot tell"
    )


class JobTimings(BaseModel):
    """Where the time went; null for what has not happened yet."""

    queued_s: float | None = Field(default=None, description="From acceptance to the start of the latest attempt")
    ran_s: float | None = Field(default=None, description="The latest attempt")
    total_s: float | None = Field(default=None, description="From acceptance to the end")
    stages_ms: dict[str, float] = Field(examples=[{"decode": 41.2, "infer": 812.0, "encode": 63.5}])


class JobRequest(BaseModel):
    """What was sent, by its digest."""

    body_sha256: str
    size_bytes: int
    content_type: str
    accept: str | None = None


class JobResult(BaseModel):
    """A form in which the result can be fetched, and the headers that it will carry."""

    media_type: str = Field(examples=["image/png"])
    size_bytes: int
    sha256: str
    headers: dict[str, str]


class JobWebhook(BaseModel):
    """How the report of a job's end fared."""

    state: DeliveryStatus
    attempts: int
    sent_at: datetime | None = Field(default=None, description="When it was last sent")
    status: int | None = Field(default=None, description="Of the receiver's last answer")
    detail: str | None = Field(default=None, description="Why there was no answer")


class PublicJob(BaseModel):
    """A job, how it stands, and where to go from here."""

    id: str = Field(examples=["6fa9c1d2e3b84c5f9d0a7b6c5e4f3a21"])
    model: str = Field(examples=["inpaint"])
    state: State
    priority: Priority
    reason: Reason = Field(description="Why the request became a job")
    detail: str = Field(description="The reason in a sentence", examples=[WHY[Reason.PIXELS]])
    position: int | None = Field(default=None, description="In its queue, 1 is next; null when it does not wait")
    eta_s: float | None = Field(default=None, description="Until it is probably finished, by measured times")
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
    problem: dict[str, Any] | None = Field(default=None, description="Of the last attempt that failed")
    cached_from: str | None = Field(default=None, description="The identical earlier job whose result this is")
    webhook: JobWebhook | None = Field(
        default=None, description="Of a job that is asked for by itself, and that has ended and has a webhook"
    )
    links: JobLinks


class JobPage(BaseModel):
    """The caller's jobs, the newest first."""

    jobs: list[PublicJob]
    next: str | None = Field(default=None, description="The address of the next page; null on the last")


def public_job(job: Job, *, position: int | None = None, eta_s: float | None = None, prefix: str = "") -> PublicJob:
    """`prefix` is the public path of the gateway's root, which links begin with."""
    return PublicJob(
        id=job.id,
        model=job.model,
        state=job.state,
        priority=job.priority,
        reason=job.reason,
        detail=WHY[job.reason],
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
        results=[_result(form) for form in job.results],
        problem=None if job.problem is None else dict(job.problem),
        cached_from=job.cached_from,
        links=links(job.id, prefix),
    )


def rendered(job: Job, *, prefix: str = "") -> dict[str, Any]:
    """As JSON has it."""
    return public_job(job, prefix=prefix).model_dump(mode="json")


def job_webhook(job: Job, delivery: Delivery | None) -> JobWebhook | None:
    """`delivery` is None until it has been sent."""
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


def _result(form: Representation) -> JobResult:
    return JobResult(
        media_type=form.media_type,
        size_bytes=form.blob.size_bytes,
        sha256=form.blob.sha256,
        headers=dict(form.headers),
    )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(max(0.0, end - start), 3)


def _moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


def _moment_or_none(epoch_s: float | None) -> datetime | None:
    return None if epoch_s is None else _moment(epoch_s)
