"""Finds the headers of the pictures in a request body while the body streams by, without parsing the form."""

from contextlib import suppress
from typing import Protocol

from python_multipart.multipart import parse_options_header

from sightline.api.problems import Problem
from sightline.imaging.header import HeaderPeek, ImageHeader

IMAGE_FIELD = b"image"
PICTURE_FIELDS = frozenset({IMAGE_FIELD, b"mask"})
_PART_HEADERS_LIMIT_BYTES = 16 * 1024
_BREAK = b"\r\n"
_BARE_TYPES = (b"", b"application/octet-stream")


class Peek(Protocol):
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


def peek_for(content_type: str) -> Peek | None:
    """None where the body is neither a form nor a bare picture."""
    media_type, parameters = parse_options_header(content_type)
    if media_type == b"multipart/form-data" and parameters.get(b"boundary"):
        return FormPeek(parameters[b"boundary"])
    if media_type.startswith(b"image/") or media_type in _BARE_TYPES:
        return PicturePeek()
    return None


class PicturePeek:
    """A body that is the picture."""

    def __init__(self) -> None:
        self._header = HeaderPeek()

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


class FormPeek:
    """A multipart form; looks for the parts that are pictures, wherever they come.

    A broken first `image` raises its Problem; what is wrong with further ones the service says in their place.
    """

    def __init__(self, boundary: bytes) -> None:
        # A delimiter begins with the line break before it; the first one has none, so it is put there.
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")
        self._step = self._skip_part
        self._first, self._current = PicturePeek(), PicturePeek()
        self._others: list[ImageHeader] = []
        self._first_is_over = self._ended = False

    @property
    def header(self) -> ImageHeader | None:
        return self._first.header

    @property
    def headers(self) -> list[ImageHeader]:
        return [*self._first.headers, *self._others]

    @property
    def done(self) -> bool:
        return self._ended or self._first_is_over or self._first.done

    @property
    def complete(self) -> bool:
        return self._ended

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk
        while not self._ended and self._step():
            pass

    def _skip_part(self) -> bool:
        self._take_part()
        return self._step == self._read_part_headers

    def _read_part_headers(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, _PART_HEADERS_LIMIT_BYTES)
        self._ended = self._buffer.startswith(b"--") or (end < 0 and len(self._buffer) >= _PART_HEADERS_LIMIT_BYTES)
        if end < 0 or self._ended:
            return False
        name = _field_name(bytes(self._buffer[:end]))
        # The blank line's break stays in front of the content: where there is none, it begins the delimiter.
        del self._buffer[: end + 2]
        is_first = name == IMAGE_FIELD and not self._first_is_over
        self._current = self._first if is_first else PicturePeek()
        self._step = self._begin_picture if name in PICTURE_FIELDS else self._skip_part
        return True

    def _begin_picture(self) -> bool:
        if len(self._buffer) < len(_BREAK + self._delimiter):
            return False
        if self._buffer.startswith((self._delimiter, _BREAK + self._delimiter)):
            # A form's field without a chosen file: the picture may come in a later part of this name.
            self._step = self._skip_part
            return True
        del self._buffer[: len(_BREAK)]
        self._step = self._read_picture
        return True

    def _read_picture(self) -> bool:
        content = self._take_part()
        is_over = self._step == self._read_part_headers
        if self._current is self._first:
            self._first_is_over |= is_over
            self._first.feed(content)
        else:
            self._feed_other(content)
        return is_over

    def _feed_other(self, content: bytes) -> None:
        if self._current.done:
            return
        with suppress(Problem):
            self._current.feed(content)
            self._others += self._current.headers

    def _take_part(self) -> bytes:
        """What of the part's content is here; moves on to the next part's headers where the delimiter is here too."""
        end = self._buffer.find(self._delimiter)
        if end < 0:
            # The last bytes may be the beginning of a delimiter.
            return self._take(max(0, len(self._buffer) - len(self._delimiter) + 1))
        content = self._take(end)
        self._take(len(self._delimiter))
        self._step = self._read_part_headers
        return content

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _field_name(part_headers: bytes) -> bytes | None:
    for line in part_headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            return parse_options_header(value.strip())[1].get(b"name")
    return None
