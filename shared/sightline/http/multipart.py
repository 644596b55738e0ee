"""Streaming parser of `multipart/form-data` (RFC 7578), on python-multipart."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MAX_BOUNDARY_LENGTH, MultipartParser, parse_options_header

from sightline.api.problems import Code, Problem

MULTIPART = "multipart/form-data"
MAX_PARTS = 1024  # parsing costs far more per part than per byte
_MAX_QUOTED_CHARACTERS = 64


class MultipartError(Exception):
    """The body is not the form that its Content-Type declares."""


@dataclass(frozen=True, slots=True)
class PartHeaders:
    """The headers of one part, in their order, and the two names in its Content-Disposition."""

    headers: tuple[tuple[bytes, bytes], ...]
    name: bytes | None = None
    filename: bytes | None = None

    @classmethod
    def of(cls, headers: list[tuple[bytes, bytes]]) -> "PartHeaders":
        parameters: dict[bytes, bytes] = {}
        for name, value in headers:
            if name.lower() == b"content-disposition":
                parameters = parse_options_header(value)[1]
        return cls(tuple(headers), parameters.get(b"name"), parameters.get(b"filename"))


class PartHandler(Protocol):
    """A receiver of the parts of a form; exceptions that it raises pass through `FormParser.feed`."""

    def begin_part(self, part: PartHeaders) -> None: ...
    def part_data(self, data: bytes) -> None: ...
    def end_part(self) -> None: ...


class FormParser:
    """Passes the parts of one form to a handler while the body comes in, and holds no more than a part's headers.

    `complete` is True once the closing delimiter has come. Text before the first delimiter is skipped (RFC 2046,
    section 5.1.1), and so is text after the last.
    """

    def __init__(self, boundary: bytes, handler: PartHandler) -> None:
        self.complete = False
        self._handler, self._parts = handler, 0
        # A delimiter begins with the line break before it; the first one may have none, so it is put there.
        self._preamble: bytearray | None = bytearray(b"\r\n")
        self._delimiter = b"\r\n--" + boundary
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_name, self._header_value = bytearray(), bytearray()
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": handler.end_part,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Parses the next bytes. Raises MultipartError where the body is no form, or one of more than `MAX_PARTS`."""
        if self._preamble is not None:
            chunk = self._skip_preamble(self._preamble, chunk)
        if not chunk:
            return
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MultipartError(str(error)) from error

    def _skip_preamble(self, preamble: bytearray, chunk: bytes) -> bytes:
        """Returns the bytes from the first delimiter on; empty while it has not come."""
        preamble += chunk
        start = preamble.find(self._delimiter)
        if start < 0:
            del preamble[: -len(self._delimiter)]
            return b""
        self._preamble = None
        return bytes(preamble[start + 2 :])

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers.append((bytes(self._header_name), bytes(self._header_value)))
        self._header_name, self._header_value = bytearray(), bytearray()

    def _on_headers_finished(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MultipartError(f"more than {MAX_PARTS} parts")
        part, self._headers = PartHeaders.of(self._headers), []
        self._handler.begin_part(part)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._handler.part_data(data[start:end])

    def _on_end(self) -> None:
        self.complete = True


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form; `filename` is None where it was not sent as a file, and empty where no file was chosen."""

    name: str
    filename: str | None
    content: bytes

    @property
    def is_file(self) -> bool:
        return self.filename is not None

    @property
    def is_empty(self) -> bool:
        """True for a field that was left empty in a browser. A file with a name is not empty, even without content."""
        return not (self.filename or self.content) if self.is_file else not self.content.strip()


@dataclass(frozen=True, slots=True)
class FormLimits:
    """The largest number of files and of other fields in a form, and the largest size of such a field."""

    max_files: int
    max_fields: int
    max_field_bytes: int


async def read_form(body: AsyncIterator[bytes], content_type: str, limits: FormLimits) -> list[FormField]:
    """Returns the fields of a form, in memory. Raises Problem INVALID_REQUEST."""
    boundary = boundary_of(content_type)
    if boundary is None:
        detail = f"The form cannot be read: its Content-Type needs a boundary of 1 to {MAX_BOUNDARY_LENGTH} characters."
        raise Problem(Code.INVALID_REQUEST, detail)
    collector = _Collector(limits)
    parser = FormParser(boundary, collector)
    try:
        async for chunk in body:
            parser.feed(chunk)
    except MultipartError as error:
        raise Problem(Code.INVALID_REQUEST, "The form cannot be read: it is not valid multipart/form-data.") from error
    if not parser.complete:
        raise Problem(Code.INVALID_REQUEST, "The form ends before its last boundary; send it again in full.")
    return collector.fields


def boundary_of(content_type: str) -> bytes | None:
    """Returns the boundary of a form; None where the type is another one or has no usable boundary."""
    media_type, parameters = parse_options_header(content_type)
    boundary = parameters.get(b"boundary", b"")
    usable = media_type == MULTIPART.encode() and 0 < len(boundary) <= MAX_BOUNDARY_LENGTH
    return boundary if usable else None


@dataclass(slots=True)
class _Collector:
    """A handler that keeps the fields of a form, within limits."""

    limits: FormLimits
    fields: list[FormField] = field(default_factory=list)
    _chunks: list[bytes] = field(default_factory=list)
    _size_bytes: int = 0
    _part: PartHeaders = field(default_factory=lambda: PartHeaders(()))

    def begin_part(self, part: PartHeaders) -> None:
        self._part, self._chunks, self._size_bytes = part, [], 0
        if part.name is None:
            detail = "The form cannot be read: the Content-Disposition of each part must give its name."
            raise Problem(Code.INVALID_REQUEST, detail)
        self._require_room(is_file=part.filename is not None)

    def _require_room(self, *, is_file: bool) -> None:
        limit = self.limits.max_files if is_file else self.limits.max_fields
        if sum(each.is_file is is_file for each in self.fields) >= limit:
            detail = (
                f"The form cannot be read: Too many {'files' if is_file else 'fields'}; at most {limit} are accepted."
            )
            raise Problem(Code.INVALID_REQUEST, detail, limit=limit)

    def part_data(self, data: bytes) -> None:
        self._size_bytes += len(data)
        if self._part.filename is None and self._size_bytes > self.limits.max_field_bytes:
            raise field_too_long(_text(self._part.name or b""), self.limits.max_field_bytes)
        self._chunks.append(data)

    def end_part(self) -> None:
        filename = self._part.filename
        name, content = _text(self._part.name or b""), b"".join(self._chunks)
        self.fields.append(FormField(name, None if filename is None else _text(filename), content))
        self._chunks = []


def field_too_long(name: str, limit_bytes: int) -> Problem:
    name = name[:_MAX_QUOTED_CHARACTERS]
    detail = f"The field {name!r} is larger than {limit_bytes} bytes; send a shorter value."
    return Problem(Code.INVALID_REQUEST, detail, field=name, limit_bytes=limit_bytes)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
