"""Readers of picture headers: format and size from the first bytes, in pure Python, safe on hostile files."""

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

__all__ = ["MAX_HEADER_BYTES", "HeaderSniffer", "ImageFormat", "ImageHeader", "read_header", "require_header"]

MAX_HEADER_BYTES = 1 << 20
"""Maximum length of a stream's start in which a header is searched.

A JPEG, PNG, WebP, GIF, HEIC or AVIF file without a size up to there is unreadable for a streaming reader. Most writers
of TIFF store the directory behind the pixels: its header needs the whole file.
"""

_SIGNATURE_BYTES, _DESCRIBED_BYTES = 12, 512


def read_header(prefix: Buffer) -> ImageHeader | None:
    """Returns the header, or None if it needs more of the file; a longer start never changes a result.

    Raises Problem UNSUPPORTED_FORMAT for an unknown signature or variant, UNREADABLE_IMAGE for a broken header.
    """
    try:
        return _parse(prefix)
    except IncompleteError:
        return None


def require_header(data: Buffer) -> ImageHeader:
    """Returns the header of a whole file; raises Problem UNREADABLE_IMAGE if it is incomplete."""
    header = read_header(data)
    if header is None:
        raise unreadable("The file ends before its header does.")
    return header


class HeaderSniffer:
    """Incremental reader of a stream's header, which parses again only when the bytes that it needs have arrived."""

    def __init__(self) -> None:
        self.header: ImageHeader | None = None
        self._start = bytearray()
        self._needed_bytes = _SIGNATURE_BYTES

    @property
    def exhausted(self) -> bool:
        """True if the first MAX_HEADER_BYTES have no header or cannot have one; feeding more is useless."""
        return self.header is None and max(len(self._start), self._needed_bytes) > MAX_HEADER_BYTES

    def feed(self, chunk: Buffer) -> ImageHeader | None:
        """Adds the next bytes and returns the header once it is complete."""
        if self.header is None and not self.exhausted:
            self._start += chunk
            self._parse()
        return self.header

    def _parse(self) -> None:
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
        raise unsupported_file(file_types.describe_file_type(bytes(data[:_DESCRIBED_BYTES])))
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
