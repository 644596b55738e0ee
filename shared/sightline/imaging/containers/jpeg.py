"""JPEG container: marker segments, header and metadata (ITU-T T.81, annex B)."""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sightline.imaging.containers import tiff
from sightline.imaging.formats import (
    Buffer,
    ImageFormat,
    ImageHeader,
    IncompleteError,
    Metadata,
    read_exactly,
    unreadable,
    unsupported,
)

SIGNATURE = b"\xff\xd8\xff"

_APP0, APP1, APP2 = 0xE0, 0xE1, 0xE2
SOI, EOI, SOS, TEM = 0xD8, 0xD9, 0xDA, 0x01
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_ICC_PART_BYTES = 65_000
_EXIF, _ICC = b"Exif\0\0", b"ICC_PROFILE\0"
# Real files have a few dozen segments; the bounds keep reading a growing hostile prefix cheap.
_MAX_SEGMENTS, _MAX_STRAY_BYTES = 1024, 1 << 16
_MARKER = re.compile(rb"\xff[^\x00\xff]")


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker segment; start, size_bytes: of the payload behind the length field."""

    marker: int
    start: int
    size_bytes: int


def segments(data: Buffer) -> Iterator[Segment]:
    """Yields the segments up to and including the start of the first scan."""
    position = 2
    for _ in range(_MAX_SEGMENTS):
        position, marker = _next_marker(data, position)
        if marker in (SOI, EOI, TEM) or 0xD0 <= marker <= 0xD7:
            raise unreadable("The JPEG file has no picture before its end marker.")
        (length,) = struct.unpack(">H", read_exactly(data, position, 2))
        if length < 2:
            raise unreadable("A JPEG segment gives an impossible length.")
        yield Segment(marker, position + 2, length - 2)
        if marker == SOS:
            return
        position += length
    raise unreadable("The JPEG file has too many segments before its picture.")


def _next_marker(data: Buffer, position: int) -> tuple[int, int]:
    """Returns the offset behind the marker and its code, after skipping fill bytes (0xFF) and stray bytes."""
    found = _MARKER.search(data, position, position + _MAX_STRAY_BYTES)
    if found:
        return found.end(), data[found.end() - 1]
    if len(data) < position + _MAX_STRAY_BYTES:
        raise IncompleteError(max(position + 2, len(data) + 1))
    raise unreadable("The JPEG file has too many stray bytes between its segments.")


def read_header(data: Buffer) -> ImageHeader:
    """Reads the header from the frame header (SOFn)."""
    for segment in segments(data):
        if segment.marker in START_OF_FRAME:
            return _frame_header(segment, read_exactly(data, segment.start, 6))
    raise unreadable("The JPEG file starts a scan without a frame header.")


def _frame_header(segment: Segment, fields: bytes) -> ImageHeader:
    bit_depth, height, width, components = struct.unpack(">BHHB", fields)
    if segment.size_bytes != 6 + 3 * components or not width or not components:
        raise unreadable("The JPEG frame header is broken.")
    if segment.marker in _LOSSLESS or bit_depth != 8:
        raise unsupported("Lossless JPEG and JPEG of more than 8 bits are not supported.")
    if not height:
        raise unsupported("JPEG files that give their height only at the end are not supported.")
    return ImageHeader(ImageFormat.JPEG, width, height, frames=1, bit_depth=bit_depth)


def is_progressive(markers: Iterable[int]) -> bool:
    """Returns whether these markers contain that of a progressive frame."""
    return not _PROGRESSIVE.isdisjoint(markers)


def read_metadata(data: Buffer) -> Metadata:
    """Reads EXIF orientation and ICC profile."""
    exif = b""
    icc_parts: dict[int, bytes] = {}
    for segment in segments(data):
        payload = read_exactly(data, segment.start, segment.size_bytes)
        if segment.marker == APP1 and payload.startswith(_EXIF) and not exif:
            exif = payload[len(_EXIF) :]
        elif segment.marker == APP2 and payload.startswith(_ICC) and len(payload) > len(_ICC) + 2:
            icc_parts.setdefault(payload[len(_ICC)], payload[len(_ICC) + 2 :])
    icc_profile = b"".join(icc_parts[number] for number in sorted(icc_parts))
    return Metadata(tiff.read_orientation(exif), icc_profile or None)


def with_metadata(data: bytes, metadata: Metadata) -> bytes:
    """Inserts profile and orientation before the tables; the file must have neither yet."""
    added = []
    if metadata.orientation != 1:
        added.append(_segment(APP1, _EXIF + tiff.orientation_exif(metadata.orientation)))
    added += [_segment(APP2, payload) for payload in _icc_payloads(metadata.icc_profile or b"")]
    at = _behind_jfif(data)
    return b"".join([data[:at], *added, data[at:]])


def _icc_payloads(profile: bytes) -> list[bytes]:
    """Splits a profile into segments of at most 64 KiB, numbered from 1."""
    starts = range(0, len(profile), _ICC_PART_BYTES)
    return [
        _ICC + bytes([number, len(starts)]) + profile[start : start + _ICC_PART_BYTES]
        for number, start in enumerate(starts, 1)
    ]


def _behind_jfif(data: bytes) -> int:
    """Returns the offset behind the JFIF segment, which must come first."""
    first = next(segments(data))
    return first.start + first.size_bytes if first.marker == _APP0 else 2


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload
