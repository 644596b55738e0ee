"""Scans of JPEG files: end of the coded picture and completeness of its coefficients (ITU-T T.81, annexes B and G)."""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from sightline.imaging.containers import jpeg
from sightline.imaging.formats import Buffer, read_exactly

_ENTROPY_CODED_END = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_ALL = (1 << 64) - 1
_MAX_SEGMENTS, _MAX_FILL_BYTES = 4096, 4096
_DRI = 0xDD
_RESTART_MARKER = re.compile(rb"\xff[\xd0-\xd7]")
MIN_PADDING_BYTES = 32
"""Fewer zeros than this at the end of a scan may be part of its codes."""


@dataclass(frozen=True, slots=True)
class PictureEnd:
    """End of the coded picture; offset: of the byte behind the coded data that it needs; marked: an end marker follows.

    complete: by the scans' headers, all coefficients of all components have been sent to their last bit.
    """

    offset: int
    marked: bool
    complete: bool


def find_picture_end(data: Buffer) -> PictureEnd:
    """Finds the end of a file with valid segments before the first scan; ignores data behind a complete picture."""
    progress = _Progress(data)
    position = 0
    for marker, position, end in _segments_and_scans(data):
        if marker == jpeg.SOS:
            progress.add(read_exactly(data, position, end - position))
        if progress.complete or marker == jpeg.EOI:
            break
    found = _ENTROPY_CODED_END.search(data, position)
    at = found.start() if found else len(data) - _fill_bytes_at_end(data)
    return PictureEnd(at, bytes(data[at + 1 : at + 2]) == b"\xd9", progress.complete)


def padding_start(data: bytes, end: int) -> int:
    """Returns the offset in the run of zeros before `end` from which on they cannot be codes, or `end`."""
    at = len(data[:end].rstrip(b"\0")) + MIN_PADDING_BYTES // 2
    return at if end - at >= MIN_PADDING_BYTES // 2 else end


def has_all_restart_markers(data: Buffer) -> bool:
    """Returns whether each scan has all its restart markers: decoders skip unreadable data between them."""
    interval = next((_interval(data, each.start) for each in jpeg.segments(data) if each.marker == _DRI), 0)
    for marker, start, end in _segments_and_scans(data):
        if marker == _DRI:
            interval = _interval(data, start)
        elif marker == jpeg.SOS and interval:
            found = _ENTROPY_CODED_END.search(data, end)
            markers = sum(1 for _ in _RESTART_MARKER.finditer(data, end, found.start() if found else len(data)))
            if markers < (_mcu_count(data, read_exactly(data, start, end - start)) - 1) // interval:
                return False
    return True


def _interval(data: Buffer, start: int) -> int:
    return int.from_bytes(read_exactly(data, start, 2), "big")


def _mcu_count(data: Buffer, scan_header: bytes) -> int:
    """Returns the number of MCUs of a scan: interleaved units of several components, or blocks of a single one."""
    frame = next(each for each in jpeg.segments(data) if each.marker in jpeg.START_OF_FRAME)
    fields = read_exactly(data, frame.start, frame.size_bytes)
    height, width = int.from_bytes(fields[1:3], "big"), int.from_bytes(fields[3:5], "big")
    factors = {fields[at]: (fields[at + 1] >> 4 or 1, fields[at + 1] & 15 or 1) for at in range(6, len(fields) - 2, 3)}
    across, down = (max(each[axis] for each in factors.values()) for axis in (0, 1))
    of_one = factors.get(scan_header[1], (1, 1)) if scan_header[0] == 1 else (1, 1)
    return math.ceil(width * of_one[0] / (8 * across)) * math.ceil(height * of_one[1] / (8 * down))


def _fill_bytes_at_end(data: Buffer) -> int:
    tail = bytes(data[-_MAX_FILL_BYTES:])
    return len(tail) - len(tail.rstrip(b"\xff"))


def _segments_and_scans(data: Buffer) -> Iterator[tuple[int, int, int]]:
    """Yields marker, start and end of the payload of each segment from the first scan on."""
    *_, first = jpeg.segments(data)
    marker, start, end = first.marker, first.start, first.start + first.size_bytes
    for _ in range(_MAX_SEGMENTS):
        yield marker, start, end
        found = _ENTROPY_CODED_END.search(data, end)
        if found is None or data[found.end() - 1] == jpeg.EOI or found.end() + 2 > len(data):
            return
        marker, start = data[found.end() - 1], found.end() + 2
        (length,) = struct.unpack(">H", data[found.end() : start])
        end = start + max(length, 2) - 2
        if end > len(data):
            return


class _Progress:
    """Bit sets of complete coefficients by component."""

    def __init__(self, data: Buffer) -> None:
        frame = next(each for each in jpeg.segments(data) if each.marker in jpeg.START_OF_FRAME)
        fields = read_exactly(data, frame.start, frame.size_bytes)
        self._sequential = not jpeg.is_progressive([frame.marker])
        self._done = dict.fromkeys(fields[6 : 6 + 3 * fields[5] : 3], 0)

    @property
    def complete(self) -> bool:
        return all(done == _ALL for done in self._done.values())

    def add(self, scan_header: bytes) -> None:
        """Marks the coefficients that a scan completes."""
        components = scan_header[1 : 1 + 2 * scan_header[0] : 2]
        first, last, approximation = (scan_header[-3:] + bytes(3))[:3]
        sent = _ALL if self._sequential else (1 << max(0, min(last, 63) - first + 1)) - 1 << min(first, 63)
        for component in components if self._sequential or not approximation & 15 else ():
            self._done[component] = self._done.get(component, 0) | sent


def without_stray_bytes(data: bytes) -> bytes:
    """Removes stray bytes between the segments before the first scan, which decoders skip."""
    *_, last = segments = list(jpeg.segments(data))
    kept = [data[each.start - 4 : each.start + each.size_bytes] for each in segments]
    return b"".join([data[:2], *kept, data[last.start + last.size_bytes :]])
