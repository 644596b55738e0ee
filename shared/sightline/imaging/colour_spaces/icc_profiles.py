"""ICC profiles: relative colorimetric with black point compensation, by LittleCMS."""

from enum import StrEnum
from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.containers import icc
from sightline.imaging.picture import Samples

MAX_PROFILE_BYTES = 4 << 20  # press profiles have 0.5 to 3 MiB


class ColourSpace(StrEnum):
    """As the colour engine names them."""

    RGB = "rgb"
    GREY = "gray"
    CMYK = "cmyk"

    @property
    def channels(self) -> int:
        return {ColourSpace.GREY: 1, ColourSpace.RGB: 3, ColourSpace.CMYK: 4}[self]


@lru_cache(maxsize=16)
def usable(profile: bytes, space: ColourSpace) -> bool:
    """Whether the profile is of this space and converts to sRGB, and back where pixels must be written in it."""
    if len(profile) > MAX_PROFILE_BYTES or not icc.has_bounded_cost(profile):
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
    """sRGB under any name: no 8-bit colour changes by more than rounding."""
    probe = _probe(ColourSpace.RGB)
    change = to_srgb(probe, profile, ColourSpace.RGB).astype(int) - probe
    return bool(np.abs(change).max() <= 1)


def to_srgb(pixels: NDArray[np.uint8], profile: bytes, space: ColourSpace) -> NDArray[np.uint8]:
    """(h, w[, c]) of the profile's space to (h, w, 3) sRGB."""
    converted = _transform(pixels, profile, _srgb(), space, ColourSpace.RGB, np.dtype(np.uint8), precise=False)
    return np.asarray(converted, np.uint8)


def from_srgb(pixels: NDArray[Any], profile: bytes, space: ColourSpace, *, dtype: np.dtype[Any]) -> Samples:
    """(h, w, 3) sRGB, uint8 or float32 in 0..1, to (h, w[, c]) of the profile's space, uint8 or uint16."""
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
        out=converted,  # type: ignore[arg-type]  # the stub forgets arrays
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=flags | imagecodecs.CMS.FLAGS.NOOPTIMIZE if precise else flags,
    )
    return converted


@lru_cache(maxsize=1)
def _srgb() -> bytes:
    return bytes(imagecodecs.cms_profile("srgb"))


def _probe(space: ColourSpace) -> NDArray[np.uint8]:
    """A row of colours that covers the space: (1, n) of grey, else (1, n, c)."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(*[levels] * space.channels), axis=-1).reshape(1, -1, space.channels)
    return colours[..., 0] if space is ColourSpace.GREY else colours
