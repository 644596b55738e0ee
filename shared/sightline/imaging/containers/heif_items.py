"""Coded data of HEIF items (ISO/IEC 14496-12, sections 8.11.3 and 8.11.6)."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.imaging.containers import heif
from sightline.imaging.formats import Buffer, IncompleteError, read_exactly, unreadable

_IN_FILE = 0
_MAX_ITEMS, _MAX_EXTENTS = 4096, 64
_Extent = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _ItemLocation:
    """Location of an item's data; method: the construction method, which gives the base of the extents' offsets."""

    item: int
    method: int
    extents: list[_Extent]


class _IntegerReader:
    """Reader of consecutive big-endian integers of any width."""

    def __init__(self, payload: memoryview, position: int) -> None:
        self._payload, self._position = payload, position

    def read(self, count_bytes: int) -> int:
        """Reads an unsigned integer of `count_bytes`, which may be 0."""
        return int.from_bytes(read_exactly(self._payload, self._skip(count_bytes), count_bytes), "big")

    def _skip(self, count_bytes: int) -> int:
        self._position += count_bytes
        return self._position - count_bytes


def coded_items(data: Buffer, kind: bytes) -> list[bytes]:
    """Returns the data of all items of a kind, such as `av01`."""
    meta = heif.read_meta(data)
    try:
        wanted = {item for item, item_kind in _kinds(meta[b"iinf"]) if item_kind == kind}
        locations = [location for location in _locations(meta[b"iloc"]) if location.item in wanted]
        _require_valid(locations, len(data))
        return [b"".join(read_exactly(data, *extent) for extent in location.extents) for location in locations]
    except (struct.error, IndexError, KeyError, IncompleteError):
        raise unreadable("The HEIF file does not give the locations of its pictures.") from None


def _require_valid(locations: Sequence[_ItemLocation], size_bytes: int) -> None:
    if any(location.method != _IN_FILE for location in locations):
        raise unreadable("The HEIF file stores a picture outside of its file data, which is not supported.")
    if sum(length for location in locations for _, length in location.extents) > size_bytes:
        raise unreadable("The pictures in the HEIF file overlap.")


def _kinds(payload: memoryview) -> Iterator[tuple[int, bytes]]:
    """Yields number and kind of each item (`iinf`, `infe`)."""
    for box in heif.boxes(payload[8 if payload[0] else 6 :]):
        wide = box.payload[0] > 2
        item, _, kind = struct.unpack_from(">IH4s" if wide else ">HH4s", box.payload, 4)
        yield item, kind


def _locations(payload: memoryview) -> Iterator[_ItemLocation]:
    """Yields the location of each item's data (`iloc`)."""
    version, widths = payload[0], (payload[4] >> 4, payload[4] & 15, payload[5] >> 4, payload[5] & 15)
    fields = _IntegerReader(payload, 6)
    item_bytes = 4 if version == 2 else 2
    for _ in range(_bounded(fields.read(item_bytes), _MAX_ITEMS)):
        item = fields.read(item_bytes)
        method = fields.read(2) & 15 if version else _IN_FILE
        fields.read(2)
        yield _ItemLocation(item, method, _read_extents(fields, *widths[:3], widths[3] if version else 0))


def _bounded(count: int, limit: int) -> int:
    if count > limit:
        raise unreadable("The HEIF file has too many items.")
    return count


def _read_extents(
    fields: _IntegerReader, offset_bytes: int, length_bytes: int, base_bytes: int, index_bytes: int
) -> list[_Extent]:
    base = fields.read(base_bytes)
    extents = []
    for _ in range(_bounded(fields.read(2), _MAX_EXTENTS)):
        fields.read(index_bytes)
        offset = fields.read(offset_bytes)
        extents.append((base + offset, fields.read(length_bytes)))
    return extents
