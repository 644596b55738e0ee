"""Fingerprints of requests: equal for equal fields with equal bytes, whatever the form's boundary and file names."""

import hashlib
import json
from typing import Protocol

from python_multipart.multipart import parse_options_header

from sightline.http.multipart import FormParser, MultipartError, PartHeaders, boundary_of


class BodyDigest(Protocol):
    """A digest of a request body, fed in chunks; None if only the SHA-256 of the raw bytes identifies the body."""

    def feed(self, chunk: bytes) -> None: ...
    def hexdigest(self) -> str | None: ...


def digest_for(content_type: str) -> BodyDigest:
    """Returns a new digest for a body of this `Content-Type`."""
    boundary = boundary_of(content_type)
    return PlainDigest(parse_options_header(content_type)[0]) if boundary is None else FormDigest(boundary)


def fingerprint(body: BodyDigest, *, body_sha256: str, model: str, query: str, accept: str | None) -> str:
    """Returns a SHA-256 over everything that determines the result."""
    components = json.dumps([model, query, accept, body.hexdigest() or body_sha256])
    return hashlib.sha256(components.encode()).hexdigest()


class PlainDigest:
    """The digest of a body that is not a form: its media type and its bytes."""

    def __init__(self, media_type: bytes) -> None:
        self._sha256 = hashlib.sha256(b"plain:" + media_type + b"\0")

    def feed(self, chunk: bytes) -> None:
        self._sha256.update(chunk)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


class FormDigest:
    """The digest of a multipart form, over the digests of its parts.

    A client makes a new boundary each time it sends a form, so its bytes differ where the content does not. A part
    counts by its field and its content. A part without content and file name does not count: its field was left empty.
    A form that is cut off or broken has no digest: its bytes identify it.
    """

    def __init__(self, boundary: bytes) -> None:
        self._parser, self._broken = FormParser(boundary, self), False
        self._parts = hashlib.sha256(b"form:" + hashlib.sha256().digest())
        self._part, self._counts = hashlib.sha256(), False

    def feed(self, chunk: bytes) -> None:
        try:
            if not self._broken:
                self._parser.feed(chunk)
        except MultipartError:
            self._broken = True

    def hexdigest(self) -> str | None:
        if self._broken or not self._parser.complete:
            return None
        parts = self._parts.copy()
        parts.update(_END.digest())
        return parts.hexdigest()

    def begin_part(self, part: PartHeaders) -> None:
        self._part, self._counts = hashlib.sha256(_canonical(part) + b"\r\n"), bool(part.filename)

    def part_data(self, data: bytes) -> None:
        self._part.update(data)
        self._counts = True

    def end_part(self) -> None:
        if self._counts:
            self._parts.update(self._part.digest())


# Digests must stay equal across releases: idempotency keys outlive an upgrade of the gateway.
_END = hashlib.sha256(b"--\r\n")


def _canonical(part: PartHeaders) -> bytes:
    """Returns a digest of the part's headers without the file name; its fixed length separates it from the content."""
    lines = [_canonical_line(name, value) for name, value in part.headers]
    return hashlib.sha256(b"\n".join([b"", *lines, b""])).digest()


def _canonical_line(name: bytes, value: bytes) -> bytes:
    if name.lower() != b"content-disposition":
        return b"%b: %b" % (name, value)
    kind, parameters = parse_options_header(value)
    return b"content-disposition:%b;%d;%b" % (kind, b"filename" in parameters, parameters.get(b"name", b""))
