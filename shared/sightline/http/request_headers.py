"""Parsers of request headers, shared by the gateway and the model services so that each header has one grammar."""

from starlette.datastructures import Headers

from sightline.api import headers as names
from sightline.api.problems import Code, Problem

IDENTITY = "identity"
_MAX_QUOTED_CHARACTERS = 64
_MAX_DEADLINE_DIGITS = 9


def declared_bytes(headers: Headers) -> int:
    """Returns Content-Length; 0 where it is missing, as with a chunked body, or not a number."""
    declared = headers.get("content-length", "")
    return int(declared) if declared.isascii() and declared.isdecimal() else 0


def media_type_of(headers: Headers) -> str:
    """Returns the media type of Content-Type in lower case, without its parameters; empty where there is none."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def require_uncompressed(headers: Headers) -> None:
    """Raises Problem UNSUPPORTED_FORMAT, with the coding's name, where Content-Encoding is not `identity`."""
    coding = headers.get("content-encoding", "").strip().lower()
    if coding not in ("", IDENTITY):
        detail = f"The body is compressed ({coding[:_MAX_QUOTED_CHARACTERS]!r}); send it without Content-Encoding."
        raise Problem(Code.UNSUPPORTED_FORMAT, detail, accepted=[IDENTITY])


def deadline_s(headers: Headers) -> float | None:
    """Returns the seconds that the client waits from when it sent the request; None where it names no deadline.

    Raises Problem INVALID_REQUEST where the header is not a whole number of milliseconds with at most nine digits.
    """
    text = headers.get(names.DEADLINE_MS)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DEADLINE_DIGITS):
        raise Problem(Code.INVALID_REQUEST, f"The header {names.DEADLINE_MS} must be a whole number of milliseconds.")
    return int(text) / 1e3


def bearer_token(headers: Headers) -> str | None:
    """Returns the token of `Authorization: Bearer …`; None without a token, or where the header is repeated."""
    values = headers.getlist("authorization")
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return token.strip() or None if scheme.lower() == "bearer" else None
