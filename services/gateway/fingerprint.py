"""What makes two requests the same work: equal bytes in equal fields, whatever the form's boundary and file names."""

import hashlib
import json
from typing import Protocol

from python_multipart.multipart import parse_options_header

_PART_HEADERS_LIMIT_BYTES = 16 * 1024


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
    """

    def __init__(self, boundary: bytes) -> None:
        # A delimiter begins with the line break before it; the first one has none, so it is put there.
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")
        self._parts = hashlib.sha256(b"form:")
        self._part = hashlib.sha256()
        self._in_headers = False

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
            self._part.update(self._take(max(0, len(self._buffer) - len(self._delimiter) + 1)))
            return False
        self._part.update(self._take(end))
        self._take(len(self._delimiter))
        self._parts.update(self._part.digest())
        self._part, self._in_headers = hashlib.sha256(), True
        return True

    def _take_headers(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, _PART_HEADERS_LIMIT_BYTES)
        if end < 0:
            # What never becomes headers is the form's end, or nothing that can be told apart from content.
            self._in_headers = len(self._buffer) < _PART_HEADERS_LIMIT_BYTES
            return not self._in_headers
        # The blank line's break stays in front of the content: where there is none, it begins the delimiter.
        self._part.update(_canonical(self._take(end + 2)))
        self._in_headers = False
        return True

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


def _canonical(part_headers: bytes) -> bytes:
    """The part's headers without its file's name, and of a length that says where the content begins."""
    lines = b"\n".join(_canonical_line(line) for line in part_headers.split(b"\r\n"))
    return hashlib.sha256(lines).digest()


def _canonical_line(line: bytes) -> bytes:
    name, _, value = line.partition(b":")
    if name.strip().lower() != b"content-disposition":
        return line
    kind, parameters = parse_options_header(value.strip())
    return b"content-disposition:%b;%d;%b" % (kind, b"filename" in parameters, parameters.get(b"name", b""))
