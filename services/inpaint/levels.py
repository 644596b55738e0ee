"""Half-sized copies of a holed picture, and the way back up."""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

TILE_PX = 512
RIM_PX = 4  # coarse pixels around an enlarged tile, more than cubic interpolation reaches

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Index = NDArray[np.intp]
Fill = NDArray[np.uint16]
"""(h, w, 3) sRGB in 0..65535 that says something in holes only; its untouched pages cost no memory."""


@dataclass(frozen=True, slots=True)
class Level:
    """pixels: (h, w, 3) sRGB; hole: (h, w), 1 = hole. Pixels in holes mean nothing."""

    pixels: Pixels
    hole: Pixels

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.hole.shape
        return height, width


def halve(level: Level) -> Level:
    """Half the size, rounded up: means of the known pixels, a hole where fewer than two of four are known.

    Where that would leave no known pixel at all, one of four is enough.
    """
    half = _halve(level, least_known=2)
    return _halve(level, least_known=1) if half.hole.all() else half


def _halve(level: Level, *, least_known: int) -> Level:
    pixels, known = _make_even(level.pixels), _make_even(1 - level.hole)
    size = (known.shape[1] // 2, known.shape[0] // 2)
    counts = cv2.resize(known * 252, size, interpolation=cv2.INTER_AREA) // 63
    means = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    rows, columns = np.nonzero((counts >= least_known) & (counts < 4))
    means[rows, columns] = _known_means(pixels, known, rows, columns)
    return Level(means, np.asarray(counts < least_known, np.uint8))


def _known_means(pixels: Pixels, known: Pixels, rows: Index, columns: Index) -> Pixels:
    """(n, 3) means of the known ones among the four pixels under each of n half-sized ones."""
    four = [(2 * rows + down, 2 * columns + right) for down, right in product((0, 1), repeat=2)]
    weights = [known[at][:, None].astype(np.uint16) for at in four]
    sums, count = sum(pixels[at] * weight for at, weight in zip(four, weights, strict=True)), sum(weights)
    return np.asarray((sums + count // 2) // count, np.uint8)


def _make_even(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    if height % 2 == width % 2 == 0:
        return pixels
    return np.asarray(cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)


def distance_px(level: Level) -> NDArray[np.float32]:
    """(h, w) distance to the nearest known pixel; very large where there is none."""
    return np.asarray(cv2.distanceTransform(level.hole, cv2.DIST_L2, 3), np.float32)


def touched(hole: Pixels, halvings: int) -> Pixels:
    """(h, w) halved so often, rounded up: 1 where any pixel under it is."""
    for _ in range(halvings):
        even = _make_even(hole)
        hole = even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]
    return hole


def compose(level: Level, fill: Fill) -> Pixels:
    """The picture with its holes filled, in 8 bits."""
    return np.where(level.hole[..., None] == 1, (fill >> 8).astype(np.uint8), level.pixels)


def enlarge(coarse: Level, coarse_fill: Fill, share: NDArray[np.float32]) -> Fill:
    """A fill of twice the size: the filled coarse picture times `share` (h, w), tile by tile where that is not 0."""
    height, width = share.shape
    fill = new_fill((height, width))
    for top, left in product(range(0, height, TILE_PX), range(0, width, TILE_PX)):
        tile = slice(top, top + TILE_PX), slice(left, left + TILE_PX)
        if share[tile].any():
            doubled = _doubled_tile(coarse, coarse_fill, top, left, share[tile].shape)
            fill[tile] = np.rint(doubled * share[tile][..., None])
    return fill


def new_fill(size: tuple[int, int]) -> Fill:
    return np.zeros((*size, 3), np.uint16)


def add_colours(fill: Fill, colours: Floats) -> None:
    """Add colours (h, w, 3) in 0..65535, times their share of each pixel, to a part of a fill.

    The shares of a pixel add up to 1 but for rounding; a plain sum of 16 bits would wrap white to black.
    """
    fill[:] = cv2.add(fill, np.rint(colours).astype(np.uint16))


def _doubled_tile(coarse: Level, coarse_fill: Fill, top: int, left: int, shape: tuple[int, ...]) -> Fill:
    first_row, first_column = max(top // 2 - RIM_PX, 0), max(left // 2 - RIM_PX, 0)
    part = np.s_[first_row : (top + shape[0] + 1) // 2 + RIM_PX, first_column : (left + shape[1] + 1) // 2 + RIM_PX]
    filled = np.where(coarse.hole[part][..., None] == 1, coarse_fill[part], coarse.pixels[part].astype(np.uint16) * 257)
    doubled = cv2.resize(filled, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    row, column = top - 2 * first_row, left - 2 * first_column
    return np.asarray(doubled[row : row + shape[0], column : column + shape[1]], np.uint16)
