"""What pages of allowed origins may send and read."""

from collections.abc import Sequence
from typing import Any

from sightline.api import headers as names

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


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """For Starlette's CORSMiddleware. Keys come in headers, so that cookies are never needed."""
    return {
        "allow_origins": origins,
        "allow_methods": METHODS,
        "allow_headers": ("*",),
        "expose_headers": READABLE,
        "max_age": MAX_AGE_S,
    }
