"""Operations of a client without input and output: `Client` and `AsyncClient` perform their steps.

An operation is a generator. It yields an `HttpRequest`, for which it gets the `HttpReply` or, thrown in, an
`Unreachable`; or it yields a `Pause`. It returns its result. So both clients retry and follow jobs by the same code.
"""

import json
import random
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeAlias, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from sightline.api import headers
from sightline.client.errors import (
    BY_CODE,
    BY_STATUS,
    Conflict,
    JobCancelled,
    JobFailed,
    NotSightline,
    ServerFault,
    SightlineError,
    Unreachable,
    hint_of,
)
from sightline.client.pictures import PictureInput
from sightline.client.requests import Prediction
from sightline.client.results import FINAL_STATES, HttpReply, JobEvent, JobStatus, parse_job

REPLY_TIMEOUT_S = 300.0
STATUS_TIMEOUT_S = 30.0
FIRST_PAUSE_S, MAX_PAUSE_S, MAX_DOUBLINGS = 0.5, 15.0, 10
POLL_PAUSE_S, MAX_POLL_PAUSE_S = 0.25, 5.0
NEVER_CONNECTED_S = 3.0
"""Time for which an address that never took a connection is tried: it is more likely wrong than down."""
OK, ACCEPTED, NO_CONTENT = 200, 202, 204
MAX_QUOTED_CHARACTERS = 200
JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request below the base URL. With pictures, it is a multipart form, and options are its other fields.

    timeout_s: longest silence of the server unless the client has its own; min_timeout_s: a lower bound for both.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    pictures: Sequence[tuple[str, PictureInput]] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = STATUS_TIMEOUT_S
    min_timeout_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait of so many seconds."""

    seconds: float


Operation: TypeAlias = Generator[HttpRequest | Pause, HttpReply | None, T]
Progress: TypeAlias = Callable[[JobStatus], None]


@dataclass(slots=True)
class RetryPolicy:
    """Retries requests while a server is unavailable or busy, with exponential backoff and jitter.

    limit_s: the time after which a request is given up; notify: is called with each error that is retried, and with
    None when the server answers again. Not stamina: its waits honour no `Retry-After`, and a stop request cannot end
    them.
    """

    limit_s: float = 60.0
    notify: Callable[[SightlineError | None], None] | None = None
    has_connected: bool = False

    def pause_s(self, error: SightlineError, failures: int, elapsed_s: float) -> float | None:
        """Returns the seconds to wait before the next attempt; None if the error is final or the time is used up."""
        if not error.is_temporary:
            return None
        limit_s = self.limit_s
        if isinstance(error, Unreachable) and not self.has_connected:
            limit_s = min(limit_s, NEVER_CONNECTED_S)
        backoff_s = min(FIRST_PAUSE_S * 2 ** min(failures - 1, MAX_DOUBLINGS), MAX_PAUSE_S)
        # Clients that were refused together must not return together.
        pause_s = (error.retry_after_s or 0.5 * backoff_s) + random.uniform(0, 0.5 * backoff_s)
        return pause_s if elapsed_s + pause_s <= limit_s else None


def send(request: HttpRequest, policy: RetryPolicy) -> Operation[HttpReply]:
    """Returns a successful reply. Raises the SightlineError that is final or lasts too long.

    A repeated POST carries an idempotency key, so that the server runs it once even if only its replies are lost. The
    first attempt has none, because with a key a server stores request and result.
    """
    started_at = time.monotonic()
    failures = 0
    while True:
        try:
            reply = yield request
        except Unreachable as unreachable:
            error: SightlineError = unreachable
            policy.has_connected |= unreachable.was_connected
        else:
            assert reply is not None
            policy.has_connected = True
            if reply.status in (OK, ACCEPTED):
                if failures and policy.notify:
                    policy.notify(None)
                return reply
            error = error_of(reply)
        failures += 1
        pause_s = policy.pause_s(error, failures, time.monotonic() - started_at)
        if pause_s is None:
            raise error
        if policy.notify:
            policy.notify(error)
        yield Pause(pause_s)
        if request.method == "POST" and headers.IDEMPOTENCY_KEY not in request.headers:
            request = _with_headers(request, {headers.IDEMPOTENCY_KEY: uuid4().hex})


def predict(prediction: Prediction[T], policy: RetryPolicy, progress: Progress | None) -> Operation[T]:
    """Returns the result of a prediction, also if the server makes it a job."""
    try:
        reply = yield from send(prediction_request(prediction), policy)
    except Conflict as error:
        # An earlier attempt was accepted, and its job still runs.
        if (job_id := error.facts.get("job_id")) is None:
            raise
        return (yield from result(str(job_id), prediction, policy, progress))
    if reply.status == ACCEPTED:
        return (yield from _finished(_job_in(reply), prediction, policy, progress))
    return prediction.parse(checked(reply, prediction.accept))


def submit(prediction: Prediction[T], policy: RetryPolicy) -> Operation[JobStatus]:
    """Submits a prediction as a job; the server runs it once however often the request is repeated."""
    request = prediction_request(prediction)
    extra = {headers.PREFER: "respond-async", headers.IDEMPOTENCY_KEY: uuid4().hex}
    return _job_in((yield from send(_with_headers(request, extra), policy)))


def result(
    job_id: str, prediction: Prediction[T], policy: RetryPolicy, progress: Progress | None = None
) -> Operation[T]:
    """Waits for a job and returns its result. Raises the error that ended it."""
    job = yield from job_status(job_id, policy)
    return (yield from _finished(job, prediction, policy, progress))


def _finished(
    job: JobStatus, prediction: Prediction[T], policy: RetryPolicy, progress: Progress | None
) -> Operation[T]:
    """Polls a job until its end, also across restarts of the server; returns its result."""
    pause_s = POLL_PAUSE_S
    while True:
        if progress:
            progress(job)
        if job.is_final:
            break
        yield Pause(pause_s)
        pause_s = min(1.5 * pause_s, MAX_POLL_PAUSE_S)
        job = yield from job_status(job.id, policy)
    if job.state != "succeeded":
        raise job_error(job)
    accept = {"Accept": prediction.accept}
    reply = yield from send(HttpRequest("GET", f"/v1/jobs/{job.id}/result", accept, timeout_s=REPLY_TIMEOUT_S), policy)
    return prediction.parse(checked(reply, prediction.accept))


def job_status(job_id: str, policy: RetryPolicy) -> Operation[JobStatus]:
    return _job_in((yield from send(HttpRequest("GET", f"/v1/jobs/{valid_job_id(job_id)}"), policy)))


def cancel(job_id: str, policy: RetryPolicy) -> Operation[JobStatus]:
    """Cancels a job in any state, and deletes its request and result."""
    return _job_in((yield from send(HttpRequest("DELETE", f"/v1/jobs/{valid_job_id(job_id)}"), policy)))


@dataclass(slots=True)
class EventCursor:
    """Position in the events of a job across broken streams."""

    policy: RetryPolicy
    last_id: str = ""
    failures: int = 0
    broken_at: float = 0.0
    has_ended: bool = False

    def advance(self, event: JobEvent) -> bool:
        """Notes an event; returns whether it is the last one of the job."""
        self.last_id, self.failures, self.has_ended = event.id, 0, False
        self.policy.has_connected = True
        return event.name in FINAL_STATES

    def pause_s(self, error: Unreachable) -> float:
        """Returns the seconds to wait after a broken stream; raises the error if streams break for too long."""
        self.failures += 1
        now = time.monotonic()
        self.broken_at = now if self.failures == 1 else self.broken_at
        self.policy.has_connected |= error.was_connected
        pause_s = self.policy.pause_s(error, self.failures, now - self.broken_at)
        if pause_s is None:
            raise error
        return pause_s

    def is_complete(self, job: JobStatus) -> bool:
        """Returns whether no event can follow a stream that ended: an earlier one, after the job's end, had none."""
        had_ended, self.has_ended = self.has_ended, job.is_final
        return had_ended and job.is_final


def events_request(job_id: str, last_id: str) -> HttpRequest:
    """Returns the request for a job's events after the one with the id `last_id`, or from the first."""
    resumed = {"Last-Event-ID": last_id} if last_id else {}
    path, accept = f"/v1/jobs/{valid_job_id(job_id)}/events", {"Accept": "text/event-stream"}
    return HttpRequest("GET", path, {**accept, **resumed}, min_timeout_s=STATUS_TIMEOUT_S)


def require_stream(reply: HttpReply) -> None:
    """Returns if the reply says that no event follows; raises the error of another one."""
    if reply.status == NO_CONTENT:
        return
    error = error_of(reply)
    if not error.is_temporary:
        raise error
    unreachable = Unreachable(error.detail, status=error.status, code=error.code, retry_after_s=error.retry_after_s)
    unreachable.was_connected = True
    raise unreachable


def job_event(event_id: str, name: str, data: str) -> JobEvent:
    try:
        return JobEvent(event_id, name, json.loads(data))
    except ValueError:
        raise NotSightline("the stream has an event that is not JSON") from None


def get(path: str, policy: RetryPolicy, accept: str = "application/json") -> Operation[HttpReply]:
    return (yield from send(HttpRequest("GET", path, {"Accept": accept}), policy))


def prediction_request(prediction: Prediction[T]) -> HttpRequest:
    return HttpRequest(
        "POST",
        f"/v1/{prediction.model.replace('_', '-')}",
        {"Accept": prediction.accept},
        prediction.pictures,
        prediction.options,
        REPLY_TIMEOUT_S,
    )


def checked(reply: HttpReply, accept: str) -> HttpReply:
    """Returns the reply; raises NotSightline if it has not the requested type, as a login page of a proxy."""
    if reply.media_type != accept:
        found = reply.media_type or "no media type"
        detail = f"the reply is not Sightline's: the server sent {found} where {accept} was requested"
        raise NotSightline(detail, status=reply.status)
    return reply


def error_of(reply: HttpReply) -> SightlineError:
    """Returns the error of an unsuccessful reply."""
    if 300 <= reply.status < 400:
        target = (reply.header("location") or "nowhere")[:MAX_QUOTED_CHARACTERS]
        return NotSightline(
            f"the reply is not Sightline's: the address redirects to {target}",
            status=reply.status,
            hint="Redirects are not followed, since they would send pictures and key elsewhere; use the final address.",
        )
    problem = _problem_in(reply)
    wait_s = _retry_after_s(reply)
    if problem is None:
        kind = BY_STATUS.get(reply.status, NotSightline)
        start = " ".join(reply.body[:MAX_QUOTED_CHARACTERS].decode("utf-8", "replace").split())
        quoted = f"{reply.media_type or 'no media type'}{f', beginning with {start!r}' if start else ''}"
        detail = f"the reply is not Sightline's: {reply.status}, {quoted}"
        return kind(detail, status=reply.status, hint=hint_of(reply.status, wait_s), retry_after_s=wait_s)
    code = str(problem["code"])
    kind = BY_CODE.get(code) or (ServerFault if reply.status >= 500 else SightlineError)
    by_status = BY_STATUS.get(reply.status, SightlineError)
    if not issubclass(kind, by_status):
        kind = by_status  # such as 503 for a code that is final elsewhere: the server says that it may be repeated
    facts = {key: value for key, value in problem.items() if key not in _STANDARD}
    if job_id := _job_id_in(reply.header("location")):
        facts["job_id"] = job_id
    return kind(
        str(problem["detail"]),
        status=reply.status,
        code=code,
        request_id=str(problem.get("request_id") or reply.header(headers.REQUEST_ID) or "") or None,
        hint=hint_of(reply.status, wait_s, code, facts),
        retry_after_s=wait_s,
        facts=facts,
    )


def job_error(job: JobStatus) -> SightlineError:
    """Returns the error for a job that ended without a result: that of its picture, or JobFailed."""
    problem = job.problem or {}
    code = str(problem["code"]) if "code" in problem else None
    if job.state == "cancelled":
        kind: type[SightlineError] = JobCancelled
    elif job.state == "failed" and code:
        kind = BY_CODE.get(code, JobFailed)
    else:
        kind = JobFailed
    detail = str(problem.get("detail") or f"the job was {job.state}")
    facts = {"job_id": job.id, "state": job.state}
    return kind(
        detail, code=code, request_id=problem.get("request_id"), hint=hint_of(None, None, code, problem), facts=facts
    )


def valid_job_id(text: str) -> str:
    """Raises ValueError for a text that is no job id, as it would lead to another path."""
    if not JOB_ID.fullmatch(text):
        raise ValueError(f"{text!r} is no job id")
    return text


_STANDARD = frozenset(("type", "title", "status", "code", "detail", "request_id", "instance"))


def _with_headers(request: HttpRequest, extra: Mapping[str, str]) -> HttpRequest:
    return replace(request, headers={**request.headers, **extra})


def _job_in(reply: HttpReply) -> JobStatus:
    job = parse_job(reply)
    if not JOB_ID.fullmatch(job.id):
        raise NotSightline("the reply is not Sightline's: it is not a job", status=reply.status)
    return job


def _job_id_in(location: str | None) -> str | None:
    """Only the id is used: an address of a proxy could lead to another server."""
    last = urlsplit(location or "").path.rpartition("/")[2]
    return last if "/v1/jobs/" in (location or "") and JOB_ID.fullmatch(last) else None


def _problem_in(reply: HttpReply) -> Mapping[str, object] | None:
    try:
        problem = reply.json()
        return problem if isinstance(problem, dict) and "code" in problem and "detail" in problem else None
    except SightlineError:
        return None


def _retry_after_s(reply: HttpReply) -> float | None:
    """Returns the seconds of the header, which is a number or a date by the clock of the server, which sends it too."""
    text = reply.header("retry-after") or ""
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    until, now = _date(text), _date(reply.header("date") or "")
    if until is None:
        return None
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
