"""TIFF and BigTIFF container: directories of tags (TIFF 6.0, section 2), which EXIF uses as well."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sightline.api.problems import Problem
from sightline.imaging.formats import (
    Buffer,
    ImageFormat,
    ImageHeader,
    IncompleteError,
    read_exactly,
    unreadable,
    unsupported,
)

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

NEW_SUBFILE_TYPE, SUBFILE_TYPE, IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE, PHOTOMETRIC = 254, 255, 256, 257, 258, 262
ORIENTATION, SUB_IFDS, DNG_VERSION = 274, 330, 50706
_WANTED = frozenset(
    {
        *(NEW_SUBFILE_TYPE, SUBFILE_TYPE, IMAGE_WIDTH, IMAGE_LENGTH, BITS_PER_SAMPLE, PHOTOMETRIC),
        *(ORIENTATION, SUB_IFDS, DNG_VERSION),
    }
)
_RAW_PHOTOMETRICS = frozenset({32803, 34892})  # colour filter array, linear raw
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # TIFF type to struct code
_REDUCED, _MASK = 1, 4
_OLD_REDUCED = 2
_MAX_ENTRIES, _MAX_VALUES, _MAX_DIRECTORIES = 4096, 16, 64


@dataclass(frozen=True, slots=True)
class _Layout:
    """Byte order and field widths: classic files have counts of 2 and offsets of 4 bytes, BigTIFF of 8 bytes."""

    order: str
    count: str
    offset: str

    def unpack(self, codes: str, data: Buffer, start: int) -> tuple[int, ...]:
        """Unpacks values by `struct` codes in the file's byte order; raises IncompleteError."""
        layout = self.order + codes
        return struct.unpack(layout, read_exactly(data, start, struct.calcsize(layout)))


@dataclass(frozen=True, slots=True)
class Directory:
    """Integer tags of one page of the file; offset: the start of the directory in the file."""

    tags: Mapping[int, tuple[int, ...]]
    next_offset: int
    offset: int

    def first(self, tag: int, default: int = 0) -> int:
        """Returns the first value of a tag."""
        values = self.tags.get(tag) or (default,)
        return values[0]

    @property
    def kind(self) -> int:
        """The bits of NewSubfileType, or their equivalent of the older SubfileType."""
        return self.first(NEW_SUBFILE_TYPE) | (_REDUCED if self.first(SUBFILE_TYPE) == _OLD_REDUCED else 0)

    @property
    def is_picture(self) -> bool:
        return not self.kind & (_REDUCED | _MASK)

    @property
    def pixels(self) -> int:
        return self.first(IMAGE_WIDTH) * self.first(IMAGE_LENGTH)

    @property
    def orientation(self) -> int | None:
        orientation = self.first(ORIENTATION)
        return orientation if 1 <= orientation <= 8 else None


def read_header(data: Buffer) -> ImageHeader:
    """Reads the header from the directory of the first picture of full resolution."""
    directory = picture_directory(data)
    width, height = directory.first(IMAGE_WIDTH), directory.first(IMAGE_LENGTH)
    if not width or not height:
        raise unreadable("The TIFF directory gives no size.")
    bit_depth = max(directory.tags.get(BITS_PER_SAMPLE) or (1,))
    return ImageHeader(ImageFormat.TIFF, width, height, None if directory.next_offset else 1, bit_depth)


def picture_directory(data: Buffer) -> Directory:
    """Returns the directory of the first picture of full resolution, which may follow thumbnails and masks.

    If all are reduced, returns the largest. Raises Problem UNSUPPORTED_FORMAT for camera raw data.
    """
    seen: list[Directory] = []
    for directory in _directories(data, sub_directories=True):
        if DNG_VERSION in directory.tags or bytes(data[8:10]) == b"CR":
            raise unsupported("Camera raw files are not supported.")
        seen.append(directory)
        if directory.is_picture:
            break
    reduced = [each for each in seen if not each.kind & _MASK] or seen
    chosen = seen[-1] if seen[-1].is_picture else max(reduced, key=lambda each: each.pixels)
    if chosen.first(PHOTOMETRIC) in _RAW_PHOTOMETRICS:
        raise unsupported("Camera raw files are not supported.")
    return chosen


def _directories(data: Buffer, *, sub_directories: bool) -> Iterator[Directory]:
    """Yields directories in the order of the file; those of SubIFDs, if wanted, follow their parent."""
    layout, start = _layout(data)
    waiting, known = [start], set[int]()
    while waiting and len(known) < _MAX_DIRECTORIES:
        offset = waiting.pop(0)
        if offset in known:
            continue
        known.add(offset)
        directory = _read_directory_at(data, layout, offset, _WANTED)
        yield directory
        later = [directory.next_offset] if directory.next_offset else []
        waiting = [*(directory.tags.get(SUB_IFDS, ()) if sub_directories else ()), *waiting, *later]


def read_orientation(data: Buffer) -> int:
    """Reads the orientation of a TIFF file or of EXIF data; returns 1 if it is missing or invalid."""
    try:
        return read_directory(data, frozenset({ORIENTATION})).orientation or 1
    except (Problem, IncompleteError):
        return 1


def find_tags(data: Buffer, sub_directories: frozenset[int]) -> frozenset[tuple[int, int]]:
    """Returns the tags of the first directory, and of those that these tags of it point to.

    Each tag comes after that of its directory, which is 0 for the first. A directory that cannot be read has no tags.
    """
    try:
        layout, start = _layout(data)
        first = _tag_offsets(data, layout, start)
    except (Problem, IncompleteError):
        return frozenset()
    found = {(0, tag) for tag in first}
    for directory in sub_directories & first.keys():
        try:
            found |= {(directory, tag) for tag in _tag_offsets(data, layout, first[directory])}
        except (Problem, IncompleteError):
            continue
    return frozenset(found)


def _tag_offsets(data: Buffer, layout: _Layout, start: int) -> dict[int, int]:
    """Returns the tags of a directory, of any type, with the values of their entries as offsets."""
    (entries,) = layout.unpack(layout.count, data, start)
    if not 0 < entries <= _MAX_ENTRIES:
        raise unreadable("The TIFF directory has an impossible number of entries.")
    start += struct.calcsize(layout.order + layout.count)
    entry = "HH" + layout.offset * 2
    size = struct.calcsize(layout.order + entry)
    fields = (layout.unpack(entry, data, start + at * size) for at in range(entries))
    return {tag: value for tag, _, _, value in fields}


def orientation_exif(orientation: int) -> bytes:
    """Returns EXIF data with the orientation only."""
    return struct.pack("<4sIHHHIHHI", SIGNATURES[0], 8, 1, ORIENTATION, 3, 1, orientation, 0, 0)


def has_more_pages(data: Buffer, chosen: Directory) -> bool:
    """Returns whether the file has other pictures of full resolution."""
    try:
        return any(
            each.is_picture and each.offset != chosen.offset for each in _directories(data, sub_directories=False)
        )
    except (Problem, IncompleteError):
        return False


def read_directory(data: Buffer, wanted: frozenset[int]) -> Directory:
    """Reads the first directory: integer values of the wanted tags, at most the first 16 of each."""
    layout, start = _layout(data)
    return _read_directory_at(data, layout, start, wanted)


def _read_directory_at(data: Buffer, layout: _Layout, start: int, wanted: frozenset[int]) -> Directory:
    offset = start
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
    return Directory({tag: values for tag, values in found if values}, next_offset, offset)


def _layout(data: Buffer) -> tuple[_Layout, int]:
    """Returns the layout and the offset of the first directory."""
    signature = read_exactly(data, 0, 4)
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
