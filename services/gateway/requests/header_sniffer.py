"""Checks the size of the pictures in a request by their headers while the body arrives."""

from contextlib import suppress
from typing import Protocol

from starlette.datastructures import Headers

from services.gateway.requests.context import RequestBody
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Problem
from sightline.http.multipart import FormParser, MultipartError, PartHeaders, boundary_of
from sightline.http.negotiation import OCTET_STREAM
from sightline.http.request_headers import media_type_of, require_uncompressed
from sightline.imaging.header import HeaderSniffer, ImageHeader
from sightline.imaging.limits import PixelLimits, require_pixels_within

IMAGE_FIELD = b"image"
PICTURE_FIELDS = frozenset({IMAGE_FIELD, b"mask"})
_BARE_TYPES = ("", OCTET_STREAM)


async def admit_pictures(body: RequestBody, headers: Headers, settings: GatewaySettings) -> int:
    """Returns the pixels of the largest picture whose header has arrived; 0 without one.

    Reads until the headers of all pictures are known, at most `peek_bytes`; the service checks the rest. Raises Problem
    UNSUPPORTED_FORMAT, UNREADABLE_IMAGE, or TOO_MANY_PIXELS for one picture or all of them together.
    """
    sniffer = sniffer_for(headers)
    if sniffer is None:
        return 0
    require_uncompressed(headers)
    while not (sniffer.complete or body.complete or body.size_bytes >= settings.peek_bytes):
        sniffer.feed(await body.read())
        _check(sniffer, body, settings)
    return max((header.pixels for header in sniffer.headers), default=0)


def _check(sniffer: "BodySniffer", body: RequestBody, settings: GatewaySettings) -> None:
    if sniffer.header is not None:
        # `RequestBody` limits the bytes.
        limits = PixelLimits(body.size_bytes, settings.max_pixels, settings.max_side_px)
        limits.check(sniffer.header, body.size_bytes)
    require_pixels_within([header.pixels for header in sniffer.headers], settings.max_request_pixels)


class BodySniffer(Protocol):
    """Finds the headers of the pictures in a body that is fed to it.

    `done` once the first picture's `header` is known, or can only be read by the service. `complete` once all `headers`
    are known, those of masks included.
    """

    @property
    def header(self) -> ImageHeader | None: ...
    @property
    def headers(self) -> list[ImageHeader]: ...
    @property
    def done(self) -> bool: ...
    @property
    def complete(self) -> bool: ...
    def feed(self, chunk: bytes) -> None: ...


def sniffer_for(headers: Headers) -> BodySniffer | None:
    """Returns a sniffer for the body's media type; None where it is neither a form nor a bare picture."""
    boundary = boundary_of(headers.get("content-type", ""))
    if boundary is not None:
        return FormSniffer(boundary)
    media_type = media_type_of(headers)
    return PictureSniffer() if media_type.startswith("image/") or media_type in _BARE_TYPES else None


class PictureSniffer:
    """The sniffer of a body that is a picture."""

    def __init__(self) -> None:
        self._header = HeaderSniffer()

    @property
    def header(self) -> ImageHeader | None:
        return self._header.header

    @property
    def headers(self) -> list[ImageHeader]:
        return [] if self.header is None else [self.header]

    @property
    def done(self) -> bool:
        return self._header.header is not None or self._header.exhausted

    @property
    def complete(self) -> bool:
        return self.done

    def feed(self, chunk: bytes) -> None:
        self._header.feed(chunk)


class FormSniffer:
    """The sniffer of a multipart form: finds the parts that are pictures, in any order.

    A broken first `image` raises its Problem; the service reports faults of the others.
    """

    def __init__(self, boundary: bytes) -> None:
        self._parser, self._broken = FormParser(boundary, self), False
        self._first, self._current = PictureSniffer(), PictureSniffer()
        self._others: list[ImageHeader] = []
        self._is_picture = self._has_content = self._first_is_over = False

    @property
    def header(self) -> ImageHeader | None:
        return self._first.header

    @property
    def headers(self) -> list[ImageHeader]:
        return [*self._first.headers, *self._others]

    @property
    def done(self) -> bool:
        return self.complete or self._first_is_over or self._first.done

    @property
    def complete(self) -> bool:
        return self._broken or self._parser.complete

    def feed(self, chunk: bytes) -> None:
        try:
            if not self._broken:
                self._parser.feed(chunk)
        except MultipartError:
            self._broken = True

    def begin_part(self, part: PartHeaders) -> None:
        is_first = part.name == IMAGE_FIELD and not self._first_is_over
        self._current = self._first if is_first else PictureSniffer()
        self._is_picture, self._has_content = part.name in PICTURE_FIELDS, False

    def part_data(self, data: bytes) -> None:
        self._has_content = True
        if not self._is_picture:
            return
        if self._current is self._first:
            self._first.feed(data)
        else:
            self._feed_other(data)

    def end_part(self) -> None:
        # A part without content is a field without a chosen file: the picture may come in a later one of its name.
        self._first_is_over |= self._current is self._first and self._has_content

    def _feed_other(self, data: bytes) -> None:
        if self._current.done:
            return
        with suppress(Problem):
            self._current.feed(data)
            self._others += self._current.headers
