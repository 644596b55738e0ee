"""TIFF and BigTIFF: a directory of tags anywhere in the file (TIFF 6.0, section 2); EXIF uses the same structure."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from sightline.api.problems import Problem
from sightline.imaging.formats import Buffer, ImageFormat, ImageHeader, IncompleteError, take, unreadable, unsupported

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

NEW_SUBFILE_TYPE, IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE = 254, 256, 257, 258
ORIENTATION, SUB_IFDS, DNG_VERSION = 274, 330, 50706
_WANTED = frozenset({NEW_SUBFILE_TYPE, IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE, SUB_IFDS, DNG_VERSION})
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # TIFF type to struct code
_REDUCED, _MASK = 1, 4
_MAX_ENTRIES, _MAX_VALUES = 4096, 16


@dataclass(frozen=True, slots=True)
class _Layout:
    """Widths of the fields: classic files count in 2 and 4 bytes, BigTIFF in 8."""

    order: str
    count: str
    offset: str

    def unpack(self, codes: str, data: Buffer, start: int) -> tuple[int, ...]:
        layout = self.order + codes
        return struct.unpack(layout, take(data, start, struct.calcsize(layout)))


@dataclass(frozen=True, slots=True)
class Directory:
    tags: Mapping[int, tuple[int, ...]]
    next_offset: int

    def first(self, tag: int, default: int = 0) -> int:
        values = self.tags.get(tag) or (default,)
        return values[0]


def read_header(data: Buffer) -> ImageHeader:
    directory = read_directory(data, _WANTED)
    width, height = directory.first(IMAGE_WIDTH), directory.first(IMAGE_LENGTH)
    reduced = directory.first(NEW_SUBFILE_TYPE) & _REDUCED
    if DNG_VERSION in directory.tags or bytes(data[8:10]) == b"CR" or (reduced and SUB_IFDS in directory.tags):
        raise unsupported("Camera raw files are not supported.")
    if not width or not height:
        raise unreadable("The TIFF directory gives no size.")
    bit_depth = max(directory.tags.get(BITS_PER_SAMPLE) or (1,))
    return ImageHeader(ImageFormat.TIFF, width, height, None if directory.next_offset else 1, bit_depth)


def read_orientation(data: Buffer) -> int:
    """Of a TIFF file or of EXIF data; 1 where there is none or the data is broken."""
    try:
        orientation = read_directory(data, frozenset({ORIENTATION})).first(ORIENTATION, 1)
    except (Problem, IncompleteError):
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def orientation_exif(orientation: int) -> bytes:
    """EXIF data that holds nothing but the orientation."""
    return struct.pack("<4sIHHHIHHI", SIGNATURES[0], 8, 1, ORIENTATION, 3, 1, orientation, 0, 0)


def has_more_pages(data: Buffer) -> bool:
    """Whether a second picture follows that is not the first one's thumbnail or mask."""
    try:
        second = read_directory(data, frozenset({NEW_SUBFILE_TYPE}), number=1)
    except (Problem, IncompleteError):
        return False
    return not second.first(NEW_SUBFILE_TYPE) & (_REDUCED | _MASK)


def read_directory(data: Buffer, wanted: frozenset[int], *, number: int = 0) -> Directory:
    """The first or a later directory; of the wanted tags only integer values, and the first few of them."""
    layout, start = _layout(data)
    directory = _read_directory_at(data, layout, start, wanted)
    for _ in range(number):
        directory = _read_directory_at(data, layout, directory.next_offset, wanted)
    return directory


def _read_directory_at(data: Buffer, layout: _Layout, start: int, wanted: frozenset[int]) -> Directory:
    if start < 8:
        raise unreadable("The TIFF file has no such directory.")
    (entries,) = layout.unpack(layout.count, data, start)
    if not 0 < entries <= _MAX_ENTRIES:
        raise unreadable("The TIFF directory has an impossible number of entries.")
    start += struct.calcsize(layout.order + layout.count)
    entry_bytes = 4 + 2 * struct.calcsize(layout.order + layout.offset)
    (next_offset,) = layout.unpack(layout.offset, data, start + entries * entry_bytes)
    places = range(start, start + entries * entry_bytes, entry_bytes)
    found = (_read_entry(data, layout, place, wanted) for place in places)
    return Directory({tag: values for tag, values in found if values}, next_offset)


def _layout(data: Buffer) -> tuple[_Layout, int]:
    """The layout and the offset of the first directory."""
    signature = take(data, 0, 4)
    if signature not in SIGNATURES:
        raise unreadable("The TIFF header is broken.")
    order = "<" if signature[:1] == b"I" else ">"
    if 0x2A in signature[2:]:
        layout = _Layout(order, "H", "I")
        return layout, layout.unpack("I", data, 4)[0]
    layout = _Layout(order, "Q", "Q")
    offset_bytes, zero, start = layout.unpack("HHQ", data, 4)
    if offset_bytes != 8 or zero:
        raise unreadable("The BigTIFF header is broken.")
    return layout, start


def _read_entry(data: Buffer, layout: _Layout, place: int, wanted: frozenset[int]) -> tuple[int, tuple[int, ...]]:
    tag, kind, count = layout.unpack("HH" + layout.offset, data, place)
    if tag not in wanted or kind not in _INTEGERS:
        return tag, ()
    codes = _INTEGERS[kind] * min(count, _MAX_VALUES)
    value_at = place + 4 + struct.calcsize(layout.order + layout.offset)
    if count * struct.calcsize(_INTEGERS[kind]) > struct.calcsize(layout.order + layout.offset):
        (value_at,) = layout.unpack(layout.offset, data, value_at)
    return tag, layout.unpack(codes, data, value_at)
