"""The estimated scene: linear light at the photo's size, 1.0 = white of a well-exposed photo."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.hdr_correct.bilateral_grid import AffineGrid, mapped_bands
from sightline.imaging.bit_depth import Floats
from sightline.imaging.picture import Samples

ALPHA, GAMMA = np.float32(0.03), np.float32(0.45)
WHITE = np.float32(100)
"""The network compresses scenes to ALPHA * scene ** GAMMA, in which WHITE is the white of a well-exposed photo."""
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class HdrScene:
    """An estimated scene, as the grid that maps the photo's pixels (h, w, 3) to compressed scene values."""

    grid: AffineGrid
    pixels: Samples

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    def bands(self) -> Iterator[tuple[slice, Floats]]:
        """Yields rows and their light (rows, w, 3), from top to bottom."""
        for rows, compressed in mapped_bands(self.grid, self.pixels):
            yield rows, expand(compressed)


def expand(compressed: Floats) -> Floats:
    """Compressed scene values in linear light with white at 1."""
    light = (np.maximum(compressed, 0) / ALPHA) ** (1 / GAMMA)
    return np.asarray(light / WHITE, np.float32)


def compress(light: Floats) -> Floats:
    """The inverse of `expand`, for light >= 0."""
    return np.asarray(ALPHA * (WHITE * light) ** GAMMA, np.float32)


def luminance(light: NDArray[Any]) -> Floats:
    """The luminance (...) of linear sRGB (..., 3)."""
    return np.asarray(light @ LUMINANCE, np.float32)
