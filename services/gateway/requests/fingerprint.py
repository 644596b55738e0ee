"""What makes two requests the same work: equal bytes in equal fields, whatever the form's boundary and file names."""

import hashlib
import json
from typing import Protocol

from python_multipart.multipart import parse_options_header

_PART_HEADERS_LIMIT_BYTES = 16 * 1024
_BREAK = b"\r\n"


class BodyDigest(Protocol):
    """Fed with a body as it streams by; `hexdigest` once all of it did."""

    def feed(self, chunk: bytes) -> None: ...
    def hexdigest(self) -> str: ...


def digest_for(content_type: str) -> BodyDigest:
    media_type, parameters = parse_options_header(content_type)
    if media_type == b"multipart/form-data" and parameters.get(b"boundary"):
        return FormDigest(parameters[b"boundary"])
    return PlainDigest(media_type)


def fingerprint(body: BodyDigest, *, model: str, query: str, accept: str | None) -> str:
    """A SHA-256 over all that shapes the result."""
    shaping = json.dumps([model, query, accept, body.hexdigest()])
    return hashlib.sha256(shaping.encode()).hexdigest()


class PlainDigest:
    """A body that is one thing."""

    def __init__(self, media_type: bytes) -> None:
        self._sha256 = hashlib.sha256(b"plain:" + media_type + b"\0")

    def feed(self, chunk: bytes) -> None:
        self._sha256.update(chunk)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


class FormDigest:
    """A multipart form, digested part by part.

    A client that sends a form again makes a new boundary for it, so the bytes differ where the content does not. Each
    part counts by its field and its content; digests of fixed length keep a part's end apart from the next one's start.
    A part without content and without a file's name does not count: it is a field that was left empty.
    """

    def __init__(self, boundary: bytes) -> None:
        # A delimiter begins with the line break before it; the first one has none, so it is put there.
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")
        self._parts = hashlib.sha256(b"form:")
        self._part = hashlib.sha256()
        self._in_headers = False
        self._names_file = True  # the part that is being read
        self._content_bytes = 0  # of that part, with the break of the blank line before it

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk
        while self._take_headers() if self._in_headers else self._take_content():
            pass

    def hexdigest(self) -> str:
        """What follows the last delimiter counts as it is, so that a form that was cut off is another one."""
        ending = self._part.copy()
        ending.update(self._buffer)
        parts = self._parts.copy()
        parts.update(ending.digest())
        return parts.hexdigest()

    def _take_content(self) -> bool:
        end = self._buffer.find(self._delimiter)
        if end < 0:
            # The last bytes may be the beginning of a delimiter.
            self._update(self._take(max(0, len(self._buffer) - len(self._delimiter) + 1)))
            return False
        self._update(self._take(end))
        self._take(len(self._delimiter))
        if self._names_file or self._content_bytes > len(_BREAK):
            self._parts.update(self._part.digest())
        self._part, self._in_headers = hashlib.sha256(), True
        return True

    def _update(self, content: bytes) -> None:
        self._part.update(content)
        self._content_bytes += len(content)

    def _take_headers(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, _PART_HEADERS_LIMIT_BYTES)
        if end < 0:
            # What never becomes headers is the form's end, or nothing that can be told apart from content.
            self._in_headers = len(self._buffer) < _PART_HEADERS_LIMIT_BYTES
            return not self._in_headers
        # The blank line's break stays in front of the content: where there is none, it begins the delimiter.
        part_headers = self._take(end + 2)
        self._names_file, self._content_bytes = _names_file(part_headers), 0
        self._part.update(_canonical(part_headers))
        self._in_headers = False
        return True

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _names_file(part_headers: bytes) -> bool:
    dispositions = filter(None, map(_disposition, part_headers.split(b"\r\n")))
    return any(parameters.get(b"filename") for _, parameters in dispositions)


def _canonical(part_headers: bytes) -> bytes:
    """The part's headers without its file's name, and of a length that says where the content begins."""
    lines = b"\n".join(_canonical_line(line) for line in part_headers.split(b"\r\n"))
    return hashlib.sha256(lines).digest()


def _canonical_line(line: bytes) -> bytes:
    disposition = _disposition(line)
    if disposition is None:
        return line
    kind, parameters = disposition
    return b"content-disposition:%b;%d;%b" % (kind, b"filename" in parameters, parameters.get(b"name", b""))


def _disposition(line: bytes) -> tuple[bytes, dict[bytes, bytes]] | None:
    """The value and the parameters of a `Content-Disposition` line; None of any other header."""
    name, _, value = line.partition(b":")
    return parse_options_header(value.strip()) if name.strip().lower() == b"content-disposition" else None
