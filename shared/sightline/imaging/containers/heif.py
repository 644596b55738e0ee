"""HEIF container of HEIC and AVIF: boxes, and the properties of the primary item (ISO/IEC 23008-12, section 6.5)."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sightline.imaging.colour_spaces.tags import ColourTags, tags_from_nclx
from sightline.imaging.file_types import describe_iso_media
from sightline.imaging.formats import (
    Buffer,
    ImageFormat,
    ImageHeader,
    IncompleteError,
    Metadata,
    read_exactly,
    unreadable,
    unsupported,
    unsupported_file,
)

_CODECS = {b"hvcC": ImageFormat.HEIC, b"av1C": ImageFormat.AVIF}
_PICTURE_BRANDS = frozenset(
    {
        b"mif1",
        b"mif2",
        b"msf1",
        b"miaf",
        b"heic",
        b"heix",
        b"heim",
        b"heis",
        b"hevc",
        b"hevx",
        b"avif",
        b"avis",
        b"avio",
    }
)
_SEQUENCE_BRANDS = frozenset({b"hevc", b"hevx", b"msf1", b"avis"})
# Real files have a handful of top-level boxes and some hundred properties; larger ones are hostile.
_MAX_BOXES, _MAX_ENTRIES, _MAX_META_BYTES = 64, 16_384, 1 << 20


# EXIF orientations before and after a counterclockwise quarter turn, and before and after mirroring.
_COUNTERCLOCKWISE = {1: 8, 8: 3, 3: 6, 6: 1, 2: 5, 5: 4, 4: 7, 7: 2}
_LEFT_TO_RIGHT = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 8, 8: 7}
_TOP_TO_BOTTOM = {1: 4, 4: 1, 2: 3, 3: 2, 5: 8, 8: 5, 6: 7, 7: 6}


@dataclass(frozen=True, slots=True)
class IsoBox:
    """A box of the ISO base media file format (ISO/IEC 14496-12)."""

    kind: bytes
    payload: memoryview


def read_header(data: Buffer) -> ImageHeader:
    """Reads the header; raises Problem UNSUPPORTED_FORMAT for videos and other codecs."""
    brands = _brands(data)
    if brands.isdisjoint(_PICTURE_BRANDS) and (video := describe_iso_media(read_exactly(data, 8, 4))):
        raise unsupported_file(video)
    meta = read_meta(data)
    try:
        properties = _primary_properties(meta)
    except (struct.error, IndexError, KeyError):
        raise unreadable("The HEIF file does not describe its primary picture.") from None
    width, height = _size(properties)
    frames = None if brands & _SEQUENCE_BRANDS else 1
    return ImageHeader(_codec(meta), width, height, frames, _bit_depth(properties))


def read_metadata(data: Buffer) -> Metadata:
    """Reads profile or colour tags of the primary picture, and its transforms as EXIF orientation."""
    try:
        properties = _primary_properties(read_meta(data))
        colours = {bytes(box.payload[:4]): box.payload[4:] for box in properties if box.kind == b"colr"}
        profile = colours.get(b"prof") or colours.get(b"rICC")
        tags = None if profile else _read_nclx(colours.get(b"nclx"), _peak_nits(properties))
        return Metadata(_orientation(properties), bytes(profile) if profile else None, colour_tags=tags)
    except (struct.error, IndexError, KeyError):
        raise unreadable("The HEIF file does not describe its primary picture.") from None


def _read_nclx(payload: memoryview | None, peak_nits: float | None) -> ColourTags | None:
    if payload is None:
        return None
    primaries, transfer = struct.unpack_from(">HH", payload)
    return tags_from_nclx(primaries, transfer, peak_nits=peak_nits)


def _peak_nits(properties: list[IsoBox]) -> float | None:
    """Returns the brightest light of the content (`clli`), else of the mastering display (`mdcv`), in cd/m2."""
    found = {box.kind: box.payload for box in properties}
    (content_nits,) = struct.unpack_from(">H", found.get(b"clli", bytes(2)))
    (display_nits,) = struct.unpack_from(">I", found.get(b"mdcv", bytes(20)), 16)
    return content_nits or display_nits / 10_000 or None


def _orientation(properties: list[IsoBox]) -> int:
    """Returns rotations (`irot`) and mirrorings (`imir`), in their order, as one EXIF orientation."""
    orientation = 1
    for box in properties:
        if box.kind == b"irot":
            for _ in range(box.payload[0] & 3):
                orientation = _COUNTERCLOCKWISE[orientation]
        elif box.kind == b"imir":
            orientation = (_LEFT_TO_RIGHT if box.payload[0] & 1 else _TOP_TO_BOTTOM)[orientation]
    return orientation


def read_meta(data: Buffer) -> dict[bytes, memoryview]:
    """Returns the payloads of the boxes in the meta box, by kind."""
    return {box.kind: box.payload for box in boxes(_meta(data)[4:])}


def _brands(data: Buffer) -> frozenset[bytes]:
    (size_bytes,) = struct.unpack(">I", read_exactly(data, 0, 4))
    if not 16 <= size_bytes <= 4096:
        raise unreadable("The HEIF file type box is broken.")
    body = read_exactly(data, 8, size_bytes - 8)
    return frozenset(body[at : at + 4] for at in range(0, len(body), 4) if at != 4)


def _meta(data: Buffer) -> memoryview:
    """Returns the payload of the meta box, which may follow the coded pictures."""
    position = 0
    for _ in range(_MAX_BOXES):
        kind, head_bytes, size_bytes = _box_head(data, position)
        if kind == b"meta" and size_bytes > _MAX_META_BYTES:
            raise unreadable("The HEIF file's description is too long.")
        if kind == b"meta":
            return memoryview(read_exactly(data, position + head_bytes, size_bytes - head_bytes))
        position += size_bytes
    raise unreadable("The HEIF file has too many boxes before its description.")


def _box_head(data: Buffer, position: int) -> tuple[bytes, int, int]:
    """Returns kind, size of the box header, and size of the box with its header."""
    size_bytes, kind = struct.unpack(">I4s", read_exactly(data, position, 8))
    head_bytes = 8
    if size_bytes == 1:
        (size_bytes,) = struct.unpack(">Q", read_exactly(data, position + 8, 8))
        head_bytes = 16
    if size_bytes < head_bytes:  # zero means up to the end of the file, which only the pixels may do
        raise unreadable("The HEIF file has a broken box.")
    return kind, head_bytes, size_bytes


def boxes(payload: memoryview) -> Iterator[IsoBox]:
    """Yields the boxes of a payload."""
    position = 0
    while position < len(payload):
        try:
            kind, head_bytes, size_bytes = _box_head(payload, position)
        except IncompleteError:
            raise unreadable("The HEIF file has a broken box.") from None
        yield IsoBox(kind, payload[position + head_bytes : position + size_bytes])
        position += size_bytes


def _primary_properties(meta: Mapping[bytes, memoryview]) -> list[IsoBox]:
    primary = _primary_item(meta[b"pitm"])
    parts = {box.kind: box.payload for box in boxes(meta[b"iprp"])}
    known = list(boxes(parts[b"ipco"]))
    return [known[number - 1] for number in _associated(parts[b"ipma"], primary) if 0 < number <= len(known)]


def _primary_item(payload: memoryview) -> int:
    version = payload[0]
    (item,) = struct.unpack_from(">I" if version else ">H", payload, 4)
    return int(item)


def _associated(payload: memoryview, item: int) -> list[int]:
    """Returns the 1-based numbers of an item's properties (`ipma`)."""
    version, wide = payload[0], payload[3] & 1
    (entries,) = struct.unpack_from(">I", payload, 4)
    position, item_layout = 8, struct.Struct(">I" if version else ">H")
    for _ in range(min(entries, _MAX_ENTRIES)):
        (number,) = item_layout.unpack_from(payload, position)
        position += item_layout.size
        count, position = payload[position], position + 1
        if number == item:
            return _association_numbers(payload, position, count, wide=bool(wide))
        position += count * (2 if wide else 1)
    raise KeyError(item)


def _association_numbers(payload: memoryview, position: int, count: int, *, wide: bool) -> list[int]:
    if wide:
        return [number & 0x7FFF for number in struct.unpack_from(f">{count}H", payload, position)]
    return [number & 0x7F for number in struct.unpack_from(f">{count}B", payload, position)]


def _size(properties: list[IsoBox]) -> tuple[int, int]:
    for box in properties:
        if box.kind == b"ispe" and len(box.payload) >= 12:
            width, height = struct.unpack_from(">II", box.payload, 4)
            if width and height:
                return width, height
    raise unreadable("The HEIF file gives no size of its primary picture.")


def _bit_depth(properties: list[IsoBox]) -> int:
    """Returns the stated bit depth (`pixi`), or else that of the decoder configuration."""
    for box in properties:
        if box.kind == b"pixi" and len(box.payload) > 5:
            return max(8, *box.payload[5 : 5 + box.payload[4]])
    for box in properties:
        if box.kind == b"av1C" and len(box.payload) > 2:
            deep, twelve = box.payload[2] >> 6 & 1, box.payload[2] >> 5 & 1
            return 8 + 2 * deep + 2 * (deep & twelve)
        if box.kind == b"hvcC" and len(box.payload) > 17:
            return 8 + (box.payload[17] & 7)
    return 8


def _codec(meta: Mapping[bytes, memoryview]) -> ImageFormat:
    """Returns the format by decoder configuration, as brands alone do not distinguish HEIC from AVIF."""
    parts = {box.kind: box.payload for box in boxes(meta[b"iprp"])}
    for box in boxes(parts[b"ipco"]):
        if box.kind in _CODECS:
            return _CODECS[box.kind]
    raise unsupported("The HEIF file is coded with neither HEVC nor AV1.")
