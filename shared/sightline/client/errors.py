"""Errors of the client: one class per kind of fault, with the server's code, request id and hint."""

from collections.abc import Mapping
from typing import Any


class SightlineError(Exception):
    """A request failed.

    detail: the reason in a sentence; status: of the HTTP reply, None if none came; code: the server's stable code;
    request_id: for the operators of the server; hint: what to do; retry_after_s: the server's request to wait so many
    seconds; facts: further members of the problem details, such as a limit.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        hint: str | None = None,
        retry_after_s: float | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail, self.status, self.code, self.request_id = detail, status, code, request_id
        self.hint, self.retry_after_s, self.facts = hint, retry_after_s, dict(facts or {})

    @property
    def is_temporary(self) -> bool:
        """True if the same request may succeed later."""
        return False

    def __str__(self) -> str:
        facts = [*([self.code] if self.code else []), *([f"request {self.request_id}"] if self.request_id else [])]
        sentence = self.detail.rstrip(".") + (f" ({', '.join(facts)})" if facts else "")
        return f"{sentence}. {self.hint}" if self.hint else sentence


class Unreachable(SightlineError):
    """No reply came, or only a part of it: the address, the network or the server is at fault.

    was_connected: a server accepted the connection, so the address is probably right.
    """

    was_connected = False

    @property
    def is_temporary(self) -> bool:
        return True


class NotSightline(SightlineError):
    """A reply came, but not one of a Sightline server."""


class InvalidRequest(SightlineError):
    """An option or a combination of options is not valid."""


class Unreadable(InvalidRequest):
    """A picture cannot be decoded, or its format is not supported."""


class BadMask(InvalidRequest):
    """The mask is missing, cannot be decoded or does not fit the picture."""


class NotAcceptable(InvalidRequest):
    """The model has no representation of the requested type."""


class TooLarge(InvalidRequest):
    """The request has more bytes or pixels than the server accepts; `facts` has the limit."""


class Unauthorized(SightlineError):
    """The API key is missing or unknown."""


class Forbidden(Unauthorized):
    """The API key does not allow this request."""


class NotFound(SightlineError):
    """The server has no such model or job."""


class Expired(NotFound):
    """The result was deleted, by its owner or after its retention time."""


class Conflict(SightlineError):
    """The request contradicts an earlier one, such as an idempotency key that was used for other pictures."""


class NotFinished(Conflict):
    """The job has not ended yet."""


class Overloaded(SightlineError):
    """The server or the model is busy, starting or without its queue."""

    @property
    def is_temporary(self) -> bool:
        return True


class RateLimited(Overloaded):
    """The caller exceeded its own share or limit."""


class ServerFault(SightlineError):
    """The server failed to process a valid request."""


class JobFailed(SightlineError):
    """A job ended without a result, after all its attempts."""


class JobCancelled(JobFailed):
    """The job was cancelled."""


BY_CODE: Mapping[str, type[SightlineError]] = {
    "invalid_request": InvalidRequest,
    "unreadable_image": Unreadable,
    "unsupported_format": Unreadable,
    "bad_mask": BadMask,
    "unauthorized": Unauthorized,
    "forbidden": Forbidden,
    "cross_site_request": Forbidden,
    "not_found": NotFound,
    "host_not_allowed": InvalidRequest,
    "method_not_allowed": InvalidRequest,
    "not_acceptable": NotAcceptable,
    "not_finished": NotFinished,
    "idempotency_key_in_use": Conflict,
    "idempotency_key_reused": Conflict,
    "gone": Expired,
    "too_many_bytes": TooLarge,
    "too_many_pixels": TooLarge,
    "too_many_requests": RateLimited,
    "headers_too_large": TooLarge,
    "request_timeout": Unreachable,
    "cancelled": JobCancelled,
    "internal": ServerFault,
    "upstream_failed": Overloaded,
    "overloaded": Overloaded,
    "not_ready": Overloaded,
    "queue_unavailable": Overloaded,
    "storage_unavailable": Overloaded,
    "deadline_exceeded": Overloaded,
}
"""Classes by the codes of problem details."""

BY_STATUS: Mapping[int, type[SightlineError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: Unreachable,
    413: TooLarge,
    429: RateLimited,
    502: Overloaded,
    503: Overloaded,
    504: Overloaded,
}
"""Classes by status for codes of a newer server, and for replies of a proxy."""

HINTS: Mapping[str, str] = {
    "unreadable_image": "If a viewer shows the picture, save it anew, as PNG or JPEG, and send that.",
    "too_many_pixels": "Send a smaller picture.",
    "too_many_bytes": "Send a smaller picture.",
    "idempotency_key_reused": "Use a new key for other pictures or options.",
    "internal": "The log of the server has the reason, under the request id.",
}
"""Hints by code, where the detail does not say what to do."""


def hint_of(
    status: int | None, wait_s: float | None, code: str | None = None, facts: Mapping[str, Any] | None = None
) -> str | None:
    """Returns what to do about a refusal: what the server offers instead, if its reply says so."""
    match facts or {}:
        case {"errors": [{"field": _, "message": _}, *_] as errors}:
            return "; ".join(f"{each['field']}: {each['message']}" for each in errors) + "."
        case {"offered": [_, *_] as offered}:
            return f"It can be requested as {', '.join(map(str, offered))}."
        case {"models": [_, *_] as names} | {"routes": [_, *_] as names}:
            return f"The server has {', '.join(str(name).removeprefix('/v1/') for name in names)}."
    match status:
        case 401 | 403:
            return "Give a valid key as `api_key` or in SIGHTLINE_API_KEY."
        case 429 | 502 | 503 if wait_s:
            return f"Try again in {wait_s:.0f} s."
    return HINTS.get(code or "")
