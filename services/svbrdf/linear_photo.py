"""Photos in linear light."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from sightline.imaging.colour_spaces.conversion import linearization_table, to_srgb
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.imaging.picture import Picture, Samples
from sightline.materials.maps import Floats

WORKING_PX = 1024
BAND_PIXELS = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class LinearPhoto:
    """A photo with the linear light of its samples.

    samples: (h, w, 3) of 8 or 16 bits; table: linear light 0..1 of each sample value.
    """

    samples: Samples
    table: Floats

    @property
    def height(self) -> int:
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        return int(self.samples.shape[1])

    def light(self, rows: slice = slice(None)) -> Floats:
        """Linear light (rows, w, 3)."""
        return np.asarray(self.table[self.samples[rows]], np.float32)

    def bands(self) -> Iterator[slice]:
        """Rows from top to bottom, in bands small enough for floating point."""
        step = max(1, BAND_PIXELS // self.width)
        return (slice(top, min(top + step, self.height)) for top in range(0, self.height, step))

    def within(self, longest_px: int) -> "LinearPhoto":
        """The photo, shrunk if a side is longer than `longest_px`."""
        scale = min(1.0, longest_px / max(self.height, self.width))
        size = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        if scale == 1:
            return self
        small = cv2.resize(self.samples, size, interpolation=cv2.INTER_AREA)
        return LinearPhoto(np.asarray(small, self.samples.dtype), self.table)

    def stretched(self, height: int, width: int) -> Floats:
        """Linear light (height, width, 3) of the stretched photo, averaged where it shrinks."""
        near = self.within(WORKING_PX)
        shrinks = near.height >= height and near.width >= width
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(near.light(), (width, height), interpolation=how), np.float32)


def linear_photo(picture: Picture, *, linear: bool) -> LinearPhoto:
    """The linear light of a photo; linear: whether its samples are proportional to light already."""
    if linear:
        values = np.linspace(0, 1, int(np.iinfo(picture.pixels.dtype).max) + 1)
        return LinearPhoto(picture.pixels, np.asarray(values, np.float32))
    table = linearization_table(picture)
    if table is not None:
        return LinearPhoto(picture.pixels, table)
    return LinearPhoto(to_srgb(picture), decode_srgb(np.linspace(0, 1, 256)))
