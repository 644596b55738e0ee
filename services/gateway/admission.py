"""What is judged before a service is bothered: the time allowed, and the picture by its header."""

from starlette.datastructures import Headers

from services.gateway.peek import peek_for
from services.gateway.settings import GatewaySettings
from services.gateway.upload import Upload
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.imaging.header import ImageHeader
from sightline.imaging.limits import PixelLimits


def asked_deadline_s(headers: Headers, settings: GatewaySettings) -> float | None:
    """How long the client waits from now on, if it says so."""
    asked_ms = headers.get(names.DEADLINE_MS)
    if asked_ms is None:
        return None
    if not (asked_ms.isascii() and asked_ms.isdecimal() and len(asked_ms) < 10 and int(asked_ms)):
        raise Problem(Code.INVALID_REQUEST, f"The header {names.DEADLINE_MS} is not a number of milliseconds.")
    return min(int(asked_ms) / 1e3, settings.max_deadline_s)


def declared_bytes(headers: Headers) -> int:
    declared = headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else 0


async def admit_picture(upload: Upload, headers: Headers, settings: GatewaySettings) -> ImageHeader | None:
    """Reads on until the picture's header is known; a body that does not show it in time is left to the service."""
    peek = None if headers.get("content-encoding") else peek_for(headers.get("content-type", ""))
    if peek is None:
        return None
    while not (peek.done or upload.complete or upload.size_bytes >= settings.peek_bytes):
        peek.feed(await upload.read())
    if peek.header is not None:
        # How many bytes a body may have is watched while it comes in.
        limits = PixelLimits(upload.size_bytes, settings.max_pixels, settings.max_side_px)
        limits.check(peek.header, upload.size_bytes)
    return peek.header
