"""ICC profiles: the tag table, and how much work the transforms in it cause (ICC.1:2022, sections 7 and 10)."""

import struct
from collections.abc import Iterator

_HEADER_BYTES, _MAX_TAGS = 128, 100
# The colour engine searches a curve from its start for each of 4096 steps when it inverts it. Real curves have
# at most 4096 points.
_MAX_CURVE_POINTS = 16_384
# Real chains have up to seven elements, and their curves a few segments. Each is evaluated for every pixel.
_MAX_CHAIN_ELEMENTS, _MAX_CURVE_SEGMENTS = 16, 64
_CURVE, _CHAIN, _CURVE_SET, _SEGMENTED_CURVE = b"curv", b"mpet", b"cvst", b"curf"


def has_bounded_cost(profile: bytes) -> bool:
    """Whether curves are short and chains of transforms have few stages, so that a conversion takes usual time."""
    try:
        return all(_is_cheap(profile[start : start + size]) for start, size in _tags(profile))
    except struct.error:
        return False


def _tags(profile: bytes) -> Iterator[tuple[int, int]]:
    """Offset and size of each tag that lies within the profile, as the colour engine skips the others."""
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    for number in range(min(count, _MAX_TAGS)):
        _, start, size = struct.unpack_from(">4sII", profile, _HEADER_BYTES + 4 + 12 * number)
        if start + size <= len(profile):
            yield start, size


def _is_cheap(tag: bytes) -> bool:
    if tag[:4] == _CURVE:
        return bool(struct.unpack_from(">I", tag, 8)[0] <= _MAX_CURVE_POINTS)
    return _is_short_chain(tag) if tag[:4] == _CHAIN else True


def _is_short_chain(tag: bytes) -> bool:
    (count,) = struct.unpack_from(">I", tag, 12)
    if count > _MAX_CHAIN_ELEMENTS:
        return False
    offsets = (struct.unpack_from(">I", tag, 16 + 8 * number)[0] for number in range(count))
    return all(_has_few_segments(tag[offset:]) for offset in offsets)


def _has_few_segments(element: bytes) -> bool:
    """Of an element that is a set of segmented curves; of others it is true."""
    if element[:4] != _CURVE_SET:
        return True
    (channels,) = struct.unpack_from(">H", element, 8)
    offsets = (struct.unpack_from(">I", element, 12 + 8 * number)[0] for number in range(min(channels, 16)))
    return all(_segments(element, offset) <= _MAX_CURVE_SEGMENTS for offset in offsets)


def _segments(element: bytes, offset: int) -> int:
    kind, count = struct.unpack_from(">4s4xH", element, offset)
    return int(count) if kind == _SEGMENTED_CURVE else 0
