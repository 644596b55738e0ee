"""HTTP client of the command line: requests to a Sightline server, its errors as sentences, and its jobs."""

import errno
import os
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Self, TypeVar

import httpx2

from sightline.api.declaration import route_of
from sightline.api.headers import REQUEST_ID
from sightline.cli.output import CommandError, printable

CONNECT_TIMEOUT_S = 5.0
FIRST_REPLY_TIMEOUT_S = 10.0
REPLY_TIMEOUT_S = 300.0
CANCEL_TIMEOUT_S = 5.0
MAX_OUTAGE_S = 300.0
"""Time for which a server may be unavailable or overloaded before the command gives up."""
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 15.0
POLL_PAUSE_S, MAX_POLL_PAUSE_S = 0.25, 2.0
MAX_QUOTED_CHARACTERS = 200

BUSY = frozenset((HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY))
FINAL_STATES = frozenset(("succeeded", "failed", "dead", "cancelled"))
LOOPBACK_HOSTS = frozenset(("localhost", "127.0.0.1", "::1"))

_PASTED_PATHS = re.compile(r"/(?:console|docs|v1|openapi\.json)?/*$")
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

T = TypeVar("T")
Pause = Callable[[float], None]
Notify = Callable[[str], None]


class RemoteError(CommandError):
    """A server refused or failed. `code` and `request_id` are those of its problem details; `hint` says what to do."""

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(_sentence(detail, code, request_id, hint))
        self.detail, self.status, self.code, self.request_id, self.hint = detail, status, code, request_id, hint
        self.retry_after_s = retry_after_s

    @property
    def is_temporary(self) -> bool:
        """True if the same request may succeed later."""
        return self.status in BUSY


class UnreachableError(RemoteError):
    """No reply came."""

    @property
    def is_temporary(self) -> bool:
        return True


class NotSightlineError(RemoteError):
    """A reply came, but not one of a Sightline server."""


@dataclass(frozen=True, slots=True)
class ServerResult:
    """Body of a successful reply, and its media type in lower case without parameters."""

    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job as its server describes it; `share` of the work is 0 to 1."""

    id: str
    state: str
    position: int | None = None
    eta_s: float | None = None
    stage: str | None = None
    share: float | None = None

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    def __str__(self) -> str:
        stage = f" ({self.stage}{'' if self.share is None else f', {self.share:.0%}'})" if self.stage else ""
        position = "" if self.position is None else f", position {self.position} in the queue"
        eta = "" if self.eta_s is None else f", about {max(0.0, self.eta_s):.0f} s left"
        return f"Job {self.id}: {self.state}{stage}{position}{eta}"


class ServerClient:
    """Client of a gateway or model service at a base URL, which may have a path prefix. Threads may share it.

    Redirects are not followed, as they would send pictures and key to an address that the user did not choose.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        base = parse_base_url(url)
        self._base = str(base).rstrip("/")
        self.address = str(base.copy_with(userinfo=b"")).rstrip("/")
        timeout = httpx2.Timeout(REPLY_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        # A proxy from the environment must not be used for this machine.
        self._client = httpx2.Client(
            headers=key_headers(api_key, has_login=bool(base.userinfo)),
            timeout=timeout,
            trust_env=base.host not in LOOPBACK_HOSTS,
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, *, accept: str, timeout_s: float = REPLY_TIMEOUT_S) -> ServerResult:
        reply = self._send("GET", path, headers={"Accept": accept}, timeout=_timeout(timeout_s))
        return self._result_in(reply)

    def predict(
        self, model: str, pictures: Sequence[tuple[str, bytes]], options: Mapping[str, str], *, accept: str
    ) -> "ServerResult | JobStatus":
        """Sends a request; returns the result, or the job that large pictures become."""
        form = {"files": list(pictures), "data": dict(options), "headers": {"Accept": accept}}
        reply = self._send("POST", route_of(model), **form)
        # The job's id is used instead of `Location`, which may lead to another server.
        return self._job_in(reply) if reply.status_code == HTTPStatus.ACCEPTED else self._result_in(reply)

    def lacks_models(self) -> bool:
        """Returns whether the address has no Sightline server, such as for a wrong path."""
        try:
            self.get("/v1/models", accept="application/json", timeout_s=FIRST_REPLY_TIMEOUT_S)
        except RemoteError as error:
            return error.status == HTTPStatus.NOT_FOUND
        return False

    def lacks_model(self, model: str) -> bool:
        """Returns whether the server reports that it has no such model; False for any other reply."""
        try:
            self.model_card(model)
        except RemoteError as error:
            return error.status == HTTPStatus.NOT_FOUND and error.code is not None
        return False

    def model_card(self, model: str) -> ServerResult:
        path = f"/v1/models/{model}/card"
        return self.get(path, accept="application/json", timeout_s=FIRST_REPLY_TIMEOUT_S)

    def job(self, job_id: str) -> JobStatus:
        """Returns the status of a job; raises RemoteError if the server has no such job."""
        path = f"/v1/jobs/{job_id}"
        reply = self._send("GET", path, timeout=_timeout(FIRST_REPLY_TIMEOUT_S))
        self._result_in(reply)
        return self._job_in(reply)

    def job_result(self, job_id: str, *, accept: str) -> ServerResult:
        """Returns the result of a job; raises RemoteError with its problem if it did not succeed."""
        return self.get(f"/v1/jobs/{job_id}/result", accept=accept)

    def cancel(self, job_id: str) -> None:
        """Cancels a job, and deletes its pictures and results."""
        self._result_in(self._send("DELETE", f"/v1/jobs/{job_id}", timeout=_timeout(CANCEL_TIMEOUT_S)))

    def _result_in(self, reply: httpx2.Response) -> ServerResult:
        if reply.status_code != HTTPStatus.OK:
            raise self._error_of(reply)
        return ServerResult(media_type_of(reply), reply.content)

    def _error_of(self, reply: httpx2.Response) -> RemoteError:
        """Returns the error for an unsuccessful reply."""
        if reply.is_redirect:
            return self._redirect_error(reply)
        if (problem := problem_in(reply)) is None:
            answer = f"it answered {reply.status_code} with {_quoted(reply)}"
            return NotSightlineError(
                f"What answers at {self.address} is not Sightline: {answer}", status=reply.status_code
            )
        return RemoteError(
            f"The server refused the request ({reply.status_code}): {problem['detail']}",
            status=reply.status_code,
            code=str(problem["code"]),
            request_id=str(problem.get("request_id") or reply.headers.get(REQUEST_ID) or "") or None,
            hint=_hint(reply),
            retry_after_s=retry_after_s(reply),
        )

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        try:
            return self._client.request(method, self._base + path, **options)
        except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
            raise UnreachableError(f"{self.address} cannot be reached: {reason_of(error)}") from error

    def _job_in(self, reply: httpx2.Response) -> JobStatus:
        try:
            job = reply.json()
            progress = job.get("progress") or {}
            status = JobStatus(
                str(job["id"]),
                str(job["state"]),
                job.get("position"),
                job.get("eta_s"),
                progress.get("stage"),
                progress.get("share"),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            status = None
        if status is None or not _JOB_ID.fullmatch(status.id):
            raise NotSightlineError(f"What answers at {self.address} is not Sightline: it sent no job")
        return status

    def _redirect_error(self, reply: httpx2.Response) -> RemoteError:
        target = printable(reply.headers.get("location", "nowhere"))[:MAX_QUOTED_CHARACTERS]
        return NotSightlineError(
            f"{self.address} redirects to {target}",
            status=reply.status_code,
            hint="Redirects are not followed; give the server's own address with --url.",
        )


class RetryPolicy:
    """Retries requests while a server is unavailable or busy, and reports each outage once.

    Not stamina: its waits cannot be ended by a stop request from another thread.
    """

    def __init__(self, pause: Pause, notify: Notify, limit_s: float | None = None) -> None:
        self.pause, self._notify = pause, notify
        self._limit_s = MAX_OUTAGE_S if limit_s is None else limit_s

    def call(self, request: Callable[[], T]) -> T:
        """Returns the reply; raises the RemoteError if it is not temporary or lasts too long."""
        give_up_at, wait_s = time.monotonic() + self._limit_s, FIRST_PAUSE_S
        while True:
            try:
                reply = request()
            except RemoteError as error:
                pause_s = min(error.retry_after_s or wait_s, MAX_PAUSE_S)
                if not error.is_temporary or time.monotonic() + pause_s > give_up_at:
                    raise
                if wait_s == FIRST_PAUSE_S:
                    self._notify(f"{error.detail}. Trying again for up to {self._limit_s:.0f} s ...")
                self.pause(pause_s)
                wait_s = min(2 * wait_s, MAX_PAUSE_S)
            else:
                if wait_s > FIRST_PAUSE_S:
                    self._notify("The server answers again.")
                return reply


def follow_job(server: ServerClient, job: JobStatus, retries: RetryPolicy) -> Iterator[JobStatus]:
    """Yields the job's states up to the final one, also across restarts of the server."""
    pause_s = POLL_PAUSE_S
    while not job.is_final:
        yield job
        retries.pause(pause_s)
        pause_s = min(1.5 * pause_s, MAX_POLL_PAUSE_S)
        job = retries.call(partial(server.job, job.id))
    yield job


def finished_result(server: ServerClient, job: JobStatus, retries: RetryPolicy, *, accept: str) -> ServerResult:
    """Returns the result of a job in a final state; raises RemoteError if it did not succeed."""
    request = partial(server.job_result, job.id, accept=accept)
    return retries.call(request) if job.state == "succeeded" else request()


def parse_base_url(text: str) -> httpx2.URL:
    """Parses a server's address; raises CommandError with the reason if it is not valid."""
    text = text.strip()
    example = "write it like http://localhost:8080"
    if not re.match(r"https?://", text, re.IGNORECASE):
        raise CommandError(f"{text!r} does not begin with http:// or https://; {example}")
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, UnicodeError, ValueError) as error:
        raise CommandError(f"{text!r} is no valid address ({error}); {example}") from None
    if not url.host or re.search(r"[\s%\\]", url.host):
        raise CommandError(f"{text!r} names no valid host; {example}")
    if not 0 < (url.port or 80) < 1 << 16:
        raise CommandError(f"{text!r} names no valid port; {example}")
    path = _PASTED_PATHS.sub("", url.path)
    return url.copy_with(path=path or "/", query=None, fragment=None)


def problem_in(reply: httpx2.Response) -> Mapping[str, Any] | None:
    """Returns the problem details of a Sightline error, with `code` and `detail`; None for any other reply."""
    try:
        problem: dict[str, Any] = reply.json()
        return problem | {"code": printable(str(problem["code"])), "detail": printable(str(problem["detail"]))}
    except (ValueError, KeyError, TypeError):
        return None


def retry_after_s(reply: httpx2.Response) -> float | None:
    text = reply.headers.get("retry-after", "")
    return float(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def media_type_of(reply: httpx2.Response) -> str:
    return str(reply.headers.get("content-type", "")).partition(";")[0].strip().lower()


def reason_of(error: BaseException) -> str:
    """Returns the reason why no reply came, as part of a sentence."""
    for cause in _chain(error):
        if reason := _known_reason(cause):
            return reason
    return printable(str(error)) or type(error).__name__


def _known_reason(error: BaseException) -> str | None:
    match error:
        case socket.gaierror():
            return "its name is unknown (DNS)"
        case UnicodeError() | httpx2.InvalidURL():
            return "its name is not valid"
        case ConnectionRefusedError():
            return "the connection was refused, so nothing listens at this address"
        case ssl.SSLCertVerificationError():
            return f"its TLS certificate is not trusted ({error.verify_message})"
        case ssl.SSLError():
            return f"a TLS error, perhaps because it speaks http:// only ({error.reason or error})"
        case httpx2.ConnectTimeout():
            return f"the connection timed out after {CONNECT_TIMEOUT_S:.0f} s"
        case httpx2.TimeoutException():
            return "it accepted the connection, but the reply timed out"
        case httpx2.ProxyError():
            return f"the proxy in the environment refused ({printable(str(error))})"
        case OSError(errno=errno.ECONNRESET | errno.EPIPE) | httpx2.RemoteProtocolError() | httpx2.ReadError():
            return "the connection broke off, or it does not speak HTTP here"
        case OSError(errno=int(number)):
            return os.strerror(number)
    return None


def _chain(error: BaseException) -> list[BaseException]:
    """Returns the error and its causes, the first cause first, as it is the most specific."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain[::-1]


def _sentence(detail: str, code: str | None, request_id: str | None, hint: str | None) -> str:
    facts = ", ".join([*filter(None, [code]), *([f"request {request_id}"] if request_id else [])])
    said = f"{detail.rstrip('.')} ({facts})" if facts else detail.rstrip(".")
    return f"{said}. {hint}" if hint else said


def _hint(reply: httpx2.Response) -> str | None:
    match reply.status_code:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return "Give a valid key with --api-key or SIGHTLINE_API_KEY."
        case status if status in BUSY and (seconds := retry_after_s(reply)):
            return f"Try again in {seconds:.0f} s."
    return None


def _quoted(reply: httpx2.Response) -> str:
    kind = media_type_of(reply) or "no media type"
    start = " ".join(reply.text[:MAX_QUOTED_CHARACTERS].split())
    return f"{printable(kind)}, beginning with {start!r}" if start else f"{printable(kind)} and no text"


def key_headers(api_key: str | None, *, has_login: bool = False) -> dict[str, str]:
    """Returns the header with the key. A login in the address is for a proxy, which uses `Authorization` itself."""
    key = (api_key or "").strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise CommandError("The API key holds a character that no key has; check --api-key and SIGHTLINE_API_KEY")
    if not key:
        return {}
    return {"X-Api-Key": key} if has_login else {"Authorization": f"Bearer {key}"}


def _timeout(reply_s: float) -> httpx2.Timeout:
    return httpx2.Timeout(reply_s, connect=CONNECT_TIMEOUT_S)
