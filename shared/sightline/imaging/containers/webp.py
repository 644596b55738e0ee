"""WebP container: RIFF chunks, of which the first is VP8, VP8L or VP8X (RFC 9649)."""

import struct
from collections.abc import Iterator

from sightline.imaging.containers import tiff
from sightline.imaging.formats import (
    Buffer,
    ImageFormat,
    ImageHeader,
    IncompleteError,
    Metadata,
    read_exactly,
    unreadable,
)

_ANIMATION = 0x02
_MAX_CHUNKS = 1024


def read_header(data: Buffer) -> ImageHeader:
    """Reads the header from the first chunk."""
    kind = read_exactly(data, 12, 4)
    if kind == b"VP8X":
        return _extended(read_exactly(data, 20, 10))
    if kind == b"VP8L":
        return _lossless(read_exactly(data, 20, 5))
    if kind == b"VP8 ":
        return _lossy(read_exactly(data, 20, 10))
    raise unreadable("The WebP file starts with an unknown chunk.")


def _extended(fields: bytes) -> ImageHeader:
    frames = None if fields[0] & _ANIMATION else 1
    return _header(1 + int.from_bytes(fields[4:7], "little"), 1 + int.from_bytes(fields[7:10], "little"), frames)


def _lossless(fields: bytes) -> ImageHeader:
    if fields[0] != 0x2F:
        raise unreadable("The lossless WebP header is broken.")
    (bits,) = struct.unpack("<I", fields[1:])
    return _header(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), 1)


def _lossy(fields: bytes) -> ImageHeader:
    if fields[0] & 1 or fields[3:6] != b"\x9d\x01\x2a":
        raise unreadable("The lossy WebP header is broken.")
    width, height = struct.unpack("<HH", fields[6:])
    return _header(width & 0x3FFF, height & 0x3FFF, 1)


def _header(width: int, height: int, frames: int | None) -> ImageHeader:
    if not width or not height:
        raise unreadable("The WebP header gives a size of zero.")
    return ImageHeader(ImageFormat.WEBP, width, height, frames, bit_depth=8)


def read_metadata(data: Buffer) -> Metadata:
    """Reads the ICC profile; an EXIF orientation is only noted."""
    found = {kind: payload for kind, payload in _chunks(data) if kind in (b"EXIF", b"ICCP")}
    # Some writers put JPEG's prefix before the TIFF header.
    exif = found.get(b"EXIF", b"").removeprefix(b"Exif\0\0")
    # Browsers ignore the orientation of WebP, and masks are drawn over the picture in a browser.
    return Metadata(icc_profile=found.get(b"ICCP"), orientation_ignored=tiff.read_orientation(exif) != 1)


def _chunks(data: Buffer) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    for _ in range(_MAX_CHUNKS):
        try:
            kind, size_bytes = struct.unpack("<4sI", read_exactly(data, position, 8))
            yield kind, read_exactly(data, position + 8, size_bytes) if kind in (b"EXIF", b"ICCP") else b""
        except IncompleteError:
            return
        position += 8 + size_bytes + (size_bytes & 1)
