"""A job: what was asked for, and how it goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sightline.api.headers import PRIORITY
from sightline.api.problems import Code, Problem


class State(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"  # an attempt failed, the next one is due later
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # the request itself is at fault: another attempt would end alike
    DEAD = "dead"  # out of attempts, or it took its workers down; an operator may retry it
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset((State.SUCCEEDED, State.FAILED, State.DEAD, State.CANCELLED))


class Priority(StrEnum):
    """Interactive goes first; bulk gets its share all the same."""

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


class Reason(StrEnum):
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
    """The POST as it came, for a service to read as if it came now; `accept` is what the client will take.

    `traceparent` is that of W3C Trace Context, where somebody traces.
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
    """Where to report the end of a job, and the `whsec_...` that signs the report."""

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class Submission:
    """What becomes a job; `id` is the submitter's, so that a submission of unknown outcome can be repeated.

    `fingerprint` is a SHA-256 over the payload and whatever else shapes the result, alike for identical requests.
    `caller` is whose share of the places it takes; None: its owner's.
    """

    id: str
    model: str
    owner: str
    priority: Priority
    reason: Reason
    request: StoredRequest
    request_id: str
    fingerprint: str
    idempotency_key: str | None = None
    webhook: Webhook | None = None
    caller: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is: the stage it is in, and the share done where the model can tell."""

    stage: str
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job as Redis has it; times are seconds since the epoch by the clock of Redis."""

    id: str
    model: str
    owner: str
    priority: Priority
    reason: Reason
    state: State
    request: StoredRequest
    request_id: str
    created_at: float
    attempts: int = 0
    isolated: bool = False  # a lease on it was lost: it runs alone on its worker
    started_at: float | None = None
    finished_at: float | None = None
    retry_at: float | None = None
    expires_at: float | None = None
    progress: Progress | None = None
    cached_from: str | None = None
    problem: Mapping[str, Any] | None = None
    results: tuple[Representation, ...] = ()
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    webhook: Webhook | None = None
    caller: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A job in the hands of a worker; only who holds the current token may end it."""

    job: Job
    token: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished run leaves: the forms of its result, where time went, and which model gave it."""

    results: tuple[Representation, ...]
    model_sha256: str
    stages_ms: Mapping[str, float] = field(default_factory=dict)
