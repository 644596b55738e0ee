"""Pasting of filled holes into a photo of any bit depth and colour space."""

import numpy as np
from numpy.typing import NDArray

from services.inpaint.pyramid import Fill
from sightline.imaging.colour_spaces.conversion import from_srgb
from sightline.imaging.picture import Picture, Samples

STRIP_ROWS = 256  # bounds the memory of colour conversion


def paste(picture: Picture, hole: NDArray[np.uint8], fill: Fill) -> Samples:
    """Returns a copy of the photo's pixels with its holes filled; all other pixels are bit-identical."""
    pixels = picture.pixels.copy()
    for top in range(0, picture.height, STRIP_ROWS):
        rows = slice(top, top + STRIP_ROWS)
        chosen = hole[rows] == 1
        if chosen.any():
            pixels[rows][chosen] = from_srgb(_colours(fill[rows][chosen], picture), picture)
    return pixels


def _colours(fill: Fill, picture: Picture) -> NDArray[np.uint8] | NDArray[np.float32]:
    if picture.bit_depth == 16:
        return np.asarray(fill / np.float32(65535), np.float32)
    return ((fill.astype(np.uint32) + 128) // 257).astype(np.uint8)


def make_opaque(alpha: Samples, hole: NDArray[np.uint8]) -> Samples:
    """Returns the alpha channel with the holes opaque."""
    return np.where(hole == 1, np.iinfo(alpha.dtype).max, alpha).astype(alpha.dtype)
