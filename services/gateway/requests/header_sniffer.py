"""Finds the headers of the pictures in a request body while the body streams by, without parsing the form."""

from contextlib import suppress
from typing import Protocol

from python_multipart.multipart import parse_options_header

from sightline.api.problems import Problem
from sightline.http.multipart import FormParser, MultipartError, PartHeaders, boundary_of
from sightline.imaging.header import HeaderSniffer, ImageHeader

IMAGE_FIELD = b"image"
PICTURE_FIELDS = frozenset({IMAGE_FIELD, b"mask"})
_BARE_TYPES = (b"", b"application/octet-stream")


class BodySniffer(Protocol):
    """Fed until `done` to know the first picture; done without its `header` means that only the service can judge it.

    Fed on until `complete`, it knows all `headers`, of masks as well.
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


def sniffer_for(content_type: str) -> BodySniffer | None:
    """None where the body is neither a form nor a bare picture."""
    boundary = boundary_of(content_type)
    if boundary is not None:
        return FormSniffer(boundary)
    media_type, _ = parse_options_header(content_type)
    if media_type.startswith(b"image/") or media_type in _BARE_TYPES:
        return PictureSniffer()
    return None


class PictureSniffer:
    """A body that is the picture."""

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
    """A multipart form; looks for the parts that are pictures, wherever they come.

    A broken first `image` raises its Problem; what is wrong with further ones the service says in their place.
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
