"""Finds the header of the picture in a request body while the body streams by, without parsing the form."""

from typing import Protocol

from python_multipart.multipart import parse_options_header

from sightline.imaging.header import HeaderPeek, ImageHeader

IMAGE_FIELD = b"image"
_PART_HEADERS_LIMIT_BYTES = 16 * 1024
_BREAK = b"\r\n"
_BARE_TYPES = (b"", b"application/octet-stream")


class Peek(Protocol):
    """Fed until `done`; done without a `header` means that only the service can judge this body."""

    @property
    def header(self) -> ImageHeader | None: ...
    @property
    def done(self) -> bool: ...
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
    def done(self) -> bool:
        return self._header.header is not None or self._header.exhausted

    def feed(self, chunk: bytes) -> None:
        self._header.feed(chunk)


class FormPeek:
    """A multipart form; looks for the part named `image`, wherever it comes."""

    def __init__(self, boundary: bytes) -> None:
        # A delimiter begins with the line break before it; the first one has none, so it is put there.
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")
        self._step = self._skip_part
        self._picture = PicturePeek()
        self._ended = False

    @property
    def header(self) -> ImageHeader | None:
        return self._picture.header

    @property
    def done(self) -> bool:
        return self._ended or self._picture.done

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk
        while not self.done and self._step():
            pass

    def _skip_part(self) -> bool:
        self._take_part()
        return self._step == self._read_part_headers

    def _read_part_headers(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, _PART_HEADERS_LIMIT_BYTES)
        self._ended = self._buffer.startswith(b"--") or (end < 0 and len(self._buffer) >= _PART_HEADERS_LIMIT_BYTES)
        if end < 0 or self._ended:
            return False
        wanted = _field_name(bytes(self._buffer[:end])) == IMAGE_FIELD
        # The blank line's break stays in front of the content: where there is none, it begins the delimiter.
        del self._buffer[: end + 2]
        self._step = self._begin_picture if wanted else self._skip_part
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
        self._picture.feed(self._take_part())
        self._ended = self._step == self._read_part_headers
        return False

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
