"""What is judged before a service is bothered: the time allowed, and the picture by its header."""

from starlette.datastructures import Headers

from services.gateway.requests.header_sniffer import HeaderSniffer, sniffer_for
from services.gateway.requests.upload import RequestBody
from services.gateway.settings import GatewaySettings
from sightline.api import headers as names
from sightline.api.problems import Code, Problem
from sightline.imaging.limits import PixelLimits, require_pixels_within

IDENTITY = "identity"
_MAX_QUOTED_CHARACTERS = 64


def requested_deadline_s(headers: Headers, settings: GatewaySettings) -> float | None:
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


def require_uncompressed(headers: Headers) -> None:
    """Raises Problem UNSUPPORTED_FORMAT, which names the Content-Encoding."""
    coding = headers.get("content-encoding", "").strip().lower()
    if coding not in ("", IDENTITY):
        detail = f"The body is compressed ({coding[:_MAX_QUOTED_CHARACTERS]!r}); send it without Content-Encoding."
        raise Problem(Code.UNSUPPORTED_FORMAT, detail, accepted=[IDENTITY])


async def admit_pictures(body: RequestBody, headers: Headers, settings: GatewaySettings) -> int:
    """The pixels of the largest picture, as far as the body has been read, 0 where none shows its header in time.

    Reads on until the headers of all pictures are known, or for `peek_bytes`; the service judges what follows. Raises
    Problem TOO_MANY_PIXELS where a picture, or all of them together, have too many.
    """
    sniffer = sniffer_for(headers.get("content-type", ""))
    if sniffer is None:
        return 0
    require_uncompressed(headers)
    while not (sniffer.complete or body.complete or body.size_bytes >= settings.peek_bytes):
        sniffer.feed(await body.read())
        _check(sniffer, body, settings)
    return max((header.pixels for header in sniffer.headers), default=0)


def _check(sniffer: HeaderSniffer, body: RequestBody, settings: GatewaySettings) -> None:
    if sniffer.header is not None:
        # How many bytes a body may have is watched while it comes in.
        limits = PixelLimits(body.size_bytes, settings.max_pixels, settings.max_side_px)
        limits.check(sniffer.header, body.size_bytes)
    require_pixels_within([header.pixels for header in sniffer.headers], settings.max_request_pixels)
