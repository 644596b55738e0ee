"""Error replies: RFC 9457 problem details with a stable code."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"


class Code(StrEnum):
    """Stable code of an error, which clients may rely on."""

    INVALID_REQUEST = "invalid_request"
    UNREADABLE_IMAGE = "unreadable_image"
    BAD_MASK = "bad_mask"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    CROSS_SITE = "cross_site_request"
    NOT_FOUND = "not_found"
    HOST_NOT_ALLOWED = "host_not_allowed"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    NOT_FINISHED = "not_finished"
    KEY_IN_USE = "idempotency_key_in_use"
    KEY_REUSED = "idempotency_key_reused"
    GONE = "gone"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_REQUESTS = "too_many_requests"
    HEADERS_TOO_LARGE = "headers_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    UNSUPPORTED_FORMAT = "unsupported_format"
    CANCELLED = "cancelled"
    INTERNAL = "internal"
    UPSTREAM_FAILED = "upstream_failed"
    OVERLOADED = "overloaded"
    NOT_READY = "not_ready"
    QUEUE_UNAVAILABLE = "queue_unavailable"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"


STATUS: Mapping[Code, HTTPStatus] = {
    Code.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    Code.UNREADABLE_IMAGE: HTTPStatus.BAD_REQUEST,
    Code.BAD_MASK: HTTPStatus.BAD_REQUEST,
    Code.UNAUTHORIZED: HTTPStatus.UNAUTHORIZED,
    Code.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Code.CROSS_SITE: HTTPStatus.FORBIDDEN,
    Code.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Code.HOST_NOT_ALLOWED: HTTPStatus.MISDIRECTED_REQUEST,
    Code.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    Code.NOT_ACCEPTABLE: HTTPStatus.NOT_ACCEPTABLE,
    Code.NOT_FINISHED: HTTPStatus.CONFLICT,
    Code.KEY_IN_USE: HTTPStatus.CONFLICT,
    Code.KEY_REUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Code.GONE: HTTPStatus.GONE,
    Code.TOO_MANY_BYTES: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.TOO_MANY_PIXELS: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Code.TOO_MANY_REQUESTS: HTTPStatus.TOO_MANY_REQUESTS,
    Code.HEADERS_TOO_LARGE: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    Code.REQUEST_TIMEOUT: HTTPStatus.REQUEST_TIMEOUT,
    Code.UNSUPPORTED_FORMAT: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Code.CANCELLED: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    Code.UPSTREAM_FAILED: HTTPStatus.BAD_GATEWAY,
    Code.OVERLOADED: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.NOT_READY: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.QUEUE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.STORAGE_UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Code.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}


class ProblemDetails(BaseModel):
    """Body of every error reply; further members are facts about the problem, such as a limit."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:sightline:problem:unreadable_image"])
    title: str
    status: int
    code: Code
    detail: str
    request_id: str


class Problem(Exception):
    """An error that the HTTP layer turns into problem details.

    `detail` is one human sentence without pixels or file names; `facts` become members of the body.
    """

    def __init__(self, code: Code, detail: str, *, retry_after_s: float | None = None, **facts: Any) -> None:
        super().__init__(detail)
        self.code, self.detail, self.retry_after_s, self.facts = code, detail, retry_after_s, facts

    @property
    def status(self) -> HTTPStatus:
        return STATUS[self.code]

    def details(self, request_id: str) -> ProblemDetails:
        return ProblemDetails(
            type=f"urn:sightline:problem:{self.code}",
            title=self.code.replace("_", " ").capitalize(),
            status=self.status,
            code=self.code,
            detail=self.detail,
            request_id=request_id,
            **self.facts,
        )
