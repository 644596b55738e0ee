"""Conversion between a photo's colour space, given by an ICC profile or colour tags, and sRGB."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.bit_depth import quantize, to_8_bit
from sightline.imaging.colour_spaces import icc_profiles, tag_conversion, transfer_functions
from sightline.imaging.colour_spaces.icc_profiles import ColourSpace
from sightline.imaging.colour_spaces.tags import BT709
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.imaging.picture import Picture, Samples


def to_srgb(picture: Picture) -> NDArray[np.uint8]:
    """Returns (h, w, 3) sRGB; HDR is tone-mapped."""
    if picture.colour_tags is not None and not picture.colour_tags.is_srgb:
        return tag_conversion.to_srgb(picture.pixels, picture.colour_tags)
    pixels, profile = to_8_bit(picture.pixels), picture.icc_profile
    if profile is None or is_srgb(picture):
        return pixels
    if picture.grey:
        return icc_profiles.to_srgb(pixels[..., 0], profile, ColourSpace.GREY)
    return icc_profiles.to_srgb(pixels, profile, ColourSpace.RGB)


def linearization_table(picture: Picture) -> NDArray[np.float32] | None:
    """Returns the linear light 0..1 of each sample value; None for other primaries than sRGB's and for HDR."""
    if is_srgb(picture):
        return decode_srgb(np.linspace(0, 1, int(np.iinfo(picture.pixels.dtype).max) + 1))
    tags = picture.colour_tags
    if tags is None or tags.is_hdr or tags.chromaticities != BT709:
        return None
    return transfer_functions.linearization_table(tags, picture.pixels.dtype)


def is_srgb(picture: Picture) -> bool:
    """Returns whether the samples are sRGB, by colour tags, by profile or by default."""
    if picture.colour_tags is not None:
        return picture.colour_tags.is_srgb
    profile = picture.icc_profile
    return profile is None or (not picture.grey and icc_profiles.is_srgb(profile))


def from_srgb(pixels: NDArray[Any], picture: Picture) -> Samples:
    """Converts sRGB (..., 3), uint8 or floating point in 0..1, to the photo's colour space and sample type.

    Grey photos stay grey. Floating point keeps the precision of 16-bit photos. With a profile, 16-bit
    photos take 10 s per 60 megapixels: convert changed pixels only.
    """
    if not pixels.size:
        return np.empty(pixels.shape, picture.pixels.dtype)
    row = pixels.reshape(1, -1, 3)
    converted = _grey_from_srgb(row, picture) if picture.grey else _rgb_from_srgb(row, picture)
    return converted.reshape(pixels.shape)


def cmyk_to_srgb(samples: Samples, profile: bytes | None) -> NDArray[np.uint8]:
    """Converts (h, w, 4) with 0 = no ink to (h, w, 3), by the profile, or else as ideal inks."""
    inks = np.ascontiguousarray(to_8_bit(samples))
    if profile is not None and icc_profiles.is_usable(profile, ColourSpace.CMYK):
        return icc_profiles.to_srgb(inks, profile, ColourSpace.CMYK)
    light = 255 - inks.astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def _rgb_from_srgb(row: NDArray[Any], picture: Picture) -> Samples:
    profile, dtype = picture.icc_profile, picture.pixels.dtype
    if picture.colour_tags is not None and not picture.colour_tags.is_srgb:
        return tag_conversion.from_srgb(row, picture.colour_tags, dtype)
    if profile is None or icc_profiles.is_srgb(profile):
        return quantize(row, dtype)
    return icc_profiles.from_srgb(_sufficient_precision(row, dtype), profile, ColourSpace.RGB, dtype=dtype)


def _grey_from_srgb(row: NDArray[Any], picture: Picture) -> Samples:
    profile, dtype = picture.icc_profile, picture.pixels.dtype
    if picture.colour_tags is not None and not picture.colour_tags.is_srgb:
        neutral = cv2.cvtColor(cv2.cvtColor(_floats(row), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return tag_conversion.from_srgb(neutral, picture.colour_tags, dtype)
    if profile is None:
        grey = quantize(cv2.cvtColor(_sufficient_precision(row, dtype), cv2.COLOR_RGB2GRAY), dtype)
    else:
        grey = icc_profiles.from_srgb(_sufficient_precision(row, dtype), profile, ColourSpace.GREY, dtype=dtype)
    return np.repeat(grey.reshape(1, -1, 1), 3, axis=-1)


def _sufficient_precision(row: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Returns 8 bits for 8-bit photos, whose conversion is 10 times faster, else float32."""
    if dtype == np.uint8:
        return quantize(row, dtype)
    return _floats(row)


def _floats(row: NDArray[Any]) -> NDArray[np.float32]:
    return row.astype(np.float32) / np.float32(255) if row.dtype == np.uint8 else np.clip(row, 0, 1).astype(np.float32)
