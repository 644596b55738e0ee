"""Small copy of a photo, in sRGB for the network and in the photo's own colours for fitting the grid."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.bit_depth import Floats, quantize, to_float
from sightline.imaging.colour_spaces.conversion import from_srgb, to_srgb
from sightline.imaging.picture import Picture

WORKING_PX = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """A photo stretched to the network's size, with 16 bits per sample."""

    picture: Picture

    @property
    def own(self) -> Floats:
        """(h, w, 3) in 0..1, in the photo's colour space."""
        return to_float(self.picture.pixels)

    @property
    def srgb(self) -> NDArray[np.uint8]:
        """(h, w, 3): the input of the network."""
        return to_srgb(self.picture)

    def to_own(self, srgb: Floats) -> Floats:
        """sRGB (h, w, 3) in 0..1, of the preview's size, in the photo's colour space."""
        return to_float(from_srgb(srgb, self.picture))


def preview(picture: Picture, *, width: int, height: int) -> Preview:
    """The photo stretched to that size."""
    pixels = quantize(_shrink(picture, width, height), np.dtype(np.uint16))
    return Preview(replace(picture, pixels=pixels, alpha=None, bit_depth=16, size_px=(width, height)))


def _shrink(picture: Picture, width: int, height: int) -> Floats:
    """The photo shrunk in two steps, so that only a small copy is in floating point, whose means are not rounded."""
    pixels = picture.pixels
    sides = min(picture.width, WORKING_PX), min(picture.height, WORKING_PX)
    if sides != (picture.width, picture.height):
        pixels = np.asarray(cv2.resize(pixels, sides, interpolation=cv2.INTER_AREA), pixels.dtype)
    return np.asarray(
        cv2.resize(to_float(pixels), (width, height), interpolation=_filter(sides, width, height)), np.float32
    )


def _filter(sides: tuple[int, int], width: int, height: int) -> int:
    """The area mean for shrinking, which avoids aliasing, and linear interpolation for enlarging."""
    return cv2.INTER_AREA if sides[0] >= width and sides[1] >= height else cv2.INTER_LINEAR
