"""A job: its request, its state, its results, and their form in Redis."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from sightline.api.headers import PRIORITY
from sightline.api.problems import Code, Problem


class JobState(StrEnum):
    """The states of a job's life cycle."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"  # an attempt failed, and the next one is due later
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the request itself is at fault, so another attempt would fail too
    DEAD = "dead"  # out of attempts, or it took its workers down; an operator may retry it
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset((JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED))


class Priority(StrEnum):
    """Interactive jobs go first; bulk jobs still get their share."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


def read_priority(header: str | None) -> Priority | None:
    """Returns the priority that `X-Sightline-Priority` names, or None without the header; raises INVALID_REQUEST."""
    if header is None:
        return None
    if header not in tuple(Priority):
        accepted = list(Priority)
        detail = f"The header {PRIORITY} must be {' or '.join(accepted)}."
        raise Problem(Code.INVALID_REQUEST, detail, accepted=accepted)
    return Priority(header)


class JobReason(StrEnum):
    """Why a request became a job."""

    ASKED = "asked"
    PIXELS = "pixels"
    BYTES = "bytes"
    KEY = "idempotency_key"


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Bytes in the blob store, by their SHA-256 in hex."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """The client's POST request, stored so that a service can read it as if it had just arrived.

    `accept` is the client's `Accept` header, `traceparent` that of W3C Trace Context if the request is traced.
    """

    path: str
    query: str
    content_type: str
    accept: str | None
    body: BlobRef
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Representation:
    """One form of a result, with the headers that a synchronous reply would carry."""

    media_type: str
    blob: BlobRef
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Address to which the end of a job is reported, and the `whsec_...` secret that signs the report."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A request to create a job; the submitter chooses `id`, so that it can repeat a submission of unknown outcome.

    `fingerprint` is a SHA-256 over the payload and everything else that affects the result; identical requests have
    the same one. The job counts against the share of `caller`; None: of its owner.
    """

    id: str
    model: str
    owner: str
    priority: Priority
    reason: JobReason
    request: StoredRequest
    request_id: str
    fingerprint: str
    idempotency_key: str | None = None
    webhook: Webhook | None = None
    caller: str | None = None


@dataclass(frozen=True, slots=True)
class StageProgress:
    """The stage of a running job, and the share of the work that is done (0 to 1) if the model can report it."""

    stage: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as stored in Redis; times are seconds since the epoch by the clock of Redis."""

    id: str
    model: str
    owner: str
    priority: Priority
    reason: JobReason
    state: JobState
    request: StoredRequest
    request_id: str
    created_at: float
    attempts: int = 0
    isolated: bool = False  # one of its leases was lost, so it runs alone on its worker
    started_at: float | None = None
    finished_at: float | None = None
    retry_at: float | None = None
    expires_at: float | None = None
    progress: StageProgress | None = None
    cached_from: str | None = None
    problem: Mapping[str, Any] | None = None
    results: tuple[Representation, ...] = ()
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    webhook: Webhook | None = None
    caller: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's temporary claim on a job; only the holder of the current token may end the job."""

    job: Job
    token: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results of a finished run, the time of each stage, and the digest of the model that produced them."""

    results: tuple[Representation, ...]
    model_sha256: str
    stages_ms: Mapping[str, float] = field(default_factory=dict)


JSON_FIELDS = frozenset(("request", "progress", "problem", "results", "stages_ms", "webhook"))
JOB_FIELDS = frozenset(each.name for each in fields(Job))

_job = TypeAdapter(Job)
_request = TypeAdapter(StoredRequest)
_webhook = TypeAdapter(Webhook)
_results = TypeAdapter(tuple[Representation, ...])


def submission_hash(submission: Submission) -> dict[str, str]:
    """Returns the fields of the Redis hash with which a job begins."""
    optional = {
        "idempotency_key": submission.idempotency_key,
        "caller": submission.caller,
        "webhook": submission.webhook and _webhook.dump_json(submission.webhook).decode(),
    }
    return {
        "id": submission.id,
        "model": submission.model,
        "owner": submission.owner,
        "priority": submission.priority,
        "reason": submission.reason,
        "request": _request.dump_json(submission.request).decode(),
        "request_id": submission.request_id,
        "fingerprint": submission.fingerprint,
        **{name: value for name, value in optional.items() if value},
    }


def job_from_hash(hash_fields: Mapping[str, str]) -> Job:
    return _job.validate_python({name: _value(name, text) for name, text in hash_fields.items() if name in JOB_FIELDS})


def job_from_reply(reply: Sequence[str]) -> Job:
    """Returns the job in a script's HGETALL reply: names and values in turn."""
    return job_from_hash(dict(zip(reply[::2], reply[1::2], strict=True)))


def results_json(results: Iterable[Representation]) -> str:
    return _results.dump_json(tuple(results)).decode()


def _value(name: str, text: str) -> Any:
    return json.loads(text) if name in JSON_FIELDS else text
