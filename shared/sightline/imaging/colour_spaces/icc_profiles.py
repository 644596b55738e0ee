"""Colour conversion by ICC profiles through LittleCMS, and bounds on its cost (ICC.1:2022, sections 7 and 10).

The rendering intent is relative colorimetric with black point compensation.
"""

import struct
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.picture import Samples

MAX_PROFILE_BYTES = 4 << 20  # press profiles have 0.5 to 3 MiB
_HEADER_BYTES, _MAX_TAGS = 128, 100
# LittleCMS inverts a curve by 4096 searches from its start. Real curves have
# at most 4096 points.
_MAX_CURVE_POINTS = 16_384
# Real chains have up to seven elements, and their curves a few segments. Each is evaluated for every pixel.
_MAX_CHAIN_ELEMENTS, _MAX_CURVE_SEGMENTS = 16, 64
_CURVE, _CHAIN, _CURVE_SET, _SEGMENTED_CURVE = b"curv", b"mpet", b"cvst", b"curf"


class ColourSpace(StrEnum):
    """Colour models of profiles, by LittleCMS's names."""

    RGB = "rgb"
    GREY = "gray"
    CMYK = "cmyk"

    @property
    def channels(self) -> int:
        return {ColourSpace.GREY: 1, ColourSpace.RGB: 3, ColourSpace.CMYK: 4}[self]


@lru_cache(maxsize=16)
def is_usable(profile: bytes, space: ColourSpace) -> bool:
    """Returns whether the profile is of this space and converts to sRGB, and, except for CMYK, back."""
    if len(profile) > MAX_PROFILE_BYTES or not has_bounded_cost(profile):
        return False
    try:
        rgb = to_srgb(_probe(space), profile, space)
        if space is not ColourSpace.CMYK:
            from_srgb(rgb, profile, space, dtype=np.dtype(np.uint16))
    except (RuntimeError, ValueError):
        return False
    return True


@lru_cache(maxsize=16)
def is_srgb(profile: bytes) -> bool:
    """Returns whether no 8-bit colour changes by more than rounding, whatever the profile's name."""
    probe = _probe(ColourSpace.RGB)
    change = to_srgb(probe, profile, ColourSpace.RGB).astype(int) - probe
    return bool(np.abs(change).max() <= 1)


def to_srgb(pixels: NDArray[np.uint8], profile: bytes, space: ColourSpace) -> NDArray[np.uint8]:
    """Converts (h, w[, c]) of the profile's space to (h, w, 3) sRGB."""
    converted = _transform(pixels, profile, _srgb(), space, ColourSpace.RGB, np.dtype(np.uint8), precise=False)
    return np.asarray(converted, np.uint8)


def from_srgb(pixels: NDArray[Any], profile: bytes, space: ColourSpace, *, dtype: np.dtype[Any]) -> Samples:
    """Converts (h, w, 3) sRGB, uint8 or float32 in 0..1, to (h, w[, c]) of the profile's space, uint8 or uint16."""
    # LittleCMS's optimised curves are 10 times faster, but off by up to 15/255 in the shadows of 16-bit pictures.
    precise = dtype == np.uint16
    return _transform(pixels, _srgb(), profile, ColourSpace.RGB, space, dtype, precise=precise)


def _transform(
    pixels: NDArray[Any],
    source: bytes,
    target: bytes,
    source_space: ColourSpace,
    target_space: ColourSpace,
    dtype: np.dtype[Any],
    *,
    precise: bool,
) -> Samples:
    flags = imagecodecs.CMS.FLAGS.BLACKPOINTCOMPENSATION
    size = pixels.shape if source_space is ColourSpace.GREY else pixels.shape[:-1]
    shape = size if target_space is ColourSpace.GREY else (*size, target_space.channels)
    # Without an array to fill, imagecodecs releases a reference of None with each broken profile, until Python aborts.
    converted: Samples = np.empty(shape, dtype)
    imagecodecs.cms_transform(
        np.ascontiguousarray(pixels),
        source,
        target,
        colorspace=source_space.value,
        outcolorspace=target_space.value,
        out=converted,  # type: ignore[arg-type]  # the stub lacks arrays
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=flags | imagecodecs.CMS.FLAGS.NOOPTIMIZE if precise else flags,
    )
    return converted


@lru_cache(maxsize=1)
def _srgb() -> bytes:
    return bytes(imagecodecs.cms_profile("srgb"))


def _probe(space: ColourSpace) -> NDArray[np.uint8]:
    """Returns a row of colours that covers the space: (1, n) for grey, else (1, n, c)."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(*[levels] * space.channels), axis=-1).reshape(1, -1, space.channels)
    return colours[..., 0] if space is ColourSpace.GREY else colours


def has_bounded_cost(profile: bytes) -> bool:
    """Returns whether curves are short and transforms have few elements, so that conversion takes the usual time."""
    try:
        return all(_is_cheap(profile[start : start + size]) for start, size in _tags(profile))
    except struct.error:
        return False


def _tags(profile: bytes) -> Iterator[tuple[int, int]]:
    """Yields offset and size of each tag within the profile; LittleCMS skips the others."""
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
    """Returns whether a set of segmented curves has few segments; True for other elements."""
    if element[:4] != _CURVE_SET:
        return True
    (channels,) = struct.unpack_from(">H", element, 8)
    offsets = (struct.unpack_from(">I", element, 12 + 8 * number)[0] for number in range(min(channels, 16)))
    return all(_segments(element, offset) <= _MAX_CURVE_SEGMENTS for offset in offsets)


def _segments(element: bytes, offset: int) -> int:
    kind, count = struct.unpack_from(">4s4xH", element, offset)
    return int(count) if kind == _SEGMENTED_CURVE else 0
