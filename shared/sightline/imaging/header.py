"""Format and size of a picture out of its first bytes: pure Python, no decoder, safe on hostile files."""

import struct
from collections.abc import Callable, Mapping

from sightline.imaging import file_types
from sightline.imaging.containers import heif, jpeg, png, tiff, webp
from sightline.imaging.formats import (
    Buffer,
    ImageFormat,
    ImageHeader,
    IncompleteError,
    read_exactly,
    unreadable,
    unsupported_file,
)

__all__ = ["HEADER_LIMIT_BYTES", "HeaderSniffer", "ImageFormat", "ImageHeader", "read_header", "require_header"]

HEADER_LIMIT_BYTES = 1 << 20
"""Stop peeking into a stream here.

A JPEG, PNG, WebP, GIF, HEIC or AVIF file that has not told its size by then is unreadable for a streaming reader.
A TIFF file may keep its directory behind the pixels, as most writers do: only who holds all of it can tell.
"""

_SIGNATURE_BYTES, _NAMING_BYTES = 12, 512


def read_header(prefix: Buffer) -> ImageHeader | None:
    """The header, or None when the file's start does not tell yet; a longer start never changes an answer.

    Raises Problem UNSUPPORTED_FORMAT for an unknown signature or variant, UNREADABLE_IMAGE for a broken header.
    """
    try:
        return _parse(prefix)
    except IncompleteError:
        return None


def require_header(data: Buffer) -> ImageHeader:
    """The header of a whole file."""
    header = read_header(data)
    if header is None:
        raise unreadable("The file ends before its header does.")
    return header


class HeaderSniffer:
    """Reads the header of a stream, looking again only once the bytes it waits for have come."""

    def __init__(self) -> None:
        self.header: ImageHeader | None = None
        self._start = bytearray()
        self._needed_bytes = _SIGNATURE_BYTES

    @property
    def exhausted(self) -> bool:
        """No header within HEADER_LIMIT_BYTES, or none to be expected there: further feeding is in vain."""
        return self.header is None and max(len(self._start), self._needed_bytes) > HEADER_LIMIT_BYTES

    def feed(self, chunk: Buffer) -> ImageHeader | None:
        if self.header is None and not self.exhausted:
            self._start += chunk
            self._look()
        return self.header

    def _look(self) -> None:
        if len(self._start) < self._needed_bytes:
            return
        try:
            self.header = _parse(self._start)
        except IncompleteError as more:
            self._needed_bytes = more.size_bytes


def _parse(data: Buffer) -> ImageHeader:
    if len(data) < _SIGNATURE_BYTES:
        raise IncompleteError(_SIGNATURE_BYTES)
    parser = _parser(bytes(data[:_SIGNATURE_BYTES]))
    if parser is None:
        raise unsupported_file(file_types.describe_file_type(bytes(data[:_NAMING_BYTES])))
    return parser(data)


def _read_gif_header(data: Buffer) -> ImageHeader:
    width, height = struct.unpack("<HH", read_exactly(data, 6, 4))
    if not width or not height:
        raise unreadable("The GIF header gives a size of zero.")
    return ImageHeader(ImageFormat.GIF, width, height, frames=None, bit_depth=8)


_SIGNATURES: Mapping[bytes, Callable[[Buffer], ImageHeader]] = {
    jpeg.SIGNATURE: jpeg.read_header,
    png.SIGNATURE: png.read_header,
    **dict.fromkeys((b"GIF87a", b"GIF89a"), _read_gif_header),
    **dict.fromkeys(tiff.SIGNATURES, tiff.read_header),
}


def _parser(signature: bytes) -> Callable[[Buffer], ImageHeader] | None:
    for start, parser in _SIGNATURES.items():
        if signature.startswith(start):
            return parser
    if signature[:4] == b"RIFF" and signature[8:] == b"WEBP":
        return webp.read_header
    if signature[4:8] == b"ftyp":
        return heif.read_header
    return None
