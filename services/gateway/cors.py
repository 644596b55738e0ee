"""What pages of allowed origins may send and read."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.http.problem_responses import problem_response

METHODS = ("GET", "HEAD", "POST", "DELETE")
READABLE = (
    "Content-Disposition",
    "ETag",
    "Location",
    "Retry-After",
    "Server-Timing",
    "Inference-Header-Content-Length",
    names.PREFERENCE_APPLIED,
    names.REQUEST_ID,
    names.MODEL,
    names.INPUT_SHA256,
    names.BODY_SHA256,
    names.SYNTHESISED_SHARE,
    names.DECISION,
    names.CATEGORY,
    names.NOTES,
    names.JOB,
    names.CACHE,
)
MAX_AGE_S = 600


class NamedOriginsMiddleware(CORSMiddleware):
    """Starlette's, with refusals as problem details."""

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < HTTPStatus.BAD_REQUEST:
            return response
        refusal = Problem(Code.CROSS_SITE, "The origin, the method or a header of this request is not allowed.")
        return problem_response(refusal, "/")


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """Keys come in headers, so that cookies are never needed."""
    return {
        "allow_origins": origins,
        "allow_methods": METHODS,
        "allow_headers": ("*",),
        "expose_headers": READABLE,
        "max_age": MAX_AGE_S,
    }
