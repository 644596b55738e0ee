"""Image pyramid of a photo with holes: downsampling by known pixels, upsampling of fills."""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

TILE_PX = 512
TILE_BORDER_PX = 4  # coarse pixels around an upsampled tile: more than cubic interpolation needs

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Index = NDArray[np.intp]
Fill = NDArray[np.uint16]
"""(h, w, 3) sRGB in 0..65535, meaningful in holes only; pages that are never written take no memory."""


@dataclass(frozen=True, slots=True)
class PyramidLevel:
    """A photo with holes at one size: pixels (h, w, 3) sRGB, without meaning in holes; hole (h, w), 1 = hole."""

    pixels: Pixels
    hole: Pixels

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.hole.shape
        return height, width


def halve(level: PyramidLevel) -> PyramidLevel:
    """Returns half the size, rounded up: means of the known pixels, a hole where fewer than two of four are known.

    If no pixel at all would be known, one of four is enough.
    """
    half = _halve(level, min_known=2)
    return _halve(level, min_known=1) if half.hole.all() else half


def _halve(level: PyramidLevel, *, min_known: int) -> PyramidLevel:
    pixels, known = _make_even(level.pixels), _make_even(1 - level.hole)
    size = (known.shape[1] // 2, known.shape[0] // 2)
    counts = cv2.resize(known * 252, size, interpolation=cv2.INTER_AREA) // 63
    means = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    rows, columns = np.nonzero((counts >= min_known) & (counts < 4))
    means[rows, columns] = _known_means(pixels, known, rows, columns)
    return PyramidLevel(means, np.asarray(counts < min_known, np.uint8))


def _known_means(pixels: Pixels, known: Pixels, rows: Index, columns: Index) -> Pixels:
    """Returns (n, 3) means of the known ones among the four pixels under each of n half-sized pixels."""
    four = [(2 * rows + down, 2 * columns + right) for down, right in product((0, 1), repeat=2)]
    weights = [known[at][:, None].astype(np.uint16) for at in four]
    sums, count = sum(pixels[at] * weight for at, weight in zip(four, weights, strict=True)), sum(weights)
    return np.asarray((sums + count // 2) // count, np.uint8)


def _make_even(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    if height % 2 == width % 2 == 0:
        return pixels
    return np.asarray(cv2.copyMakeBorder(pixels, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8)


def hole_depth_px(level: PyramidLevel) -> NDArray[np.float32]:
    """Returns (h, w) distances to the nearest known pixel; very large if there is none."""
    return np.asarray(cv2.distanceTransform(level.hole, cv2.DIST_L2, 3), np.float32)


def halve_hole(hole: Pixels, halvings: int) -> Pixels:
    """Returns a hole (h, w), halved repeatedly and rounded up: 1 where any of the pixels under it is 1."""
    for _ in range(halvings):
        even = _make_even(hole)
        hole = even[::2, ::2] | even[1::2, ::2] | even[::2, 1::2] | even[1::2, 1::2]
    return hole


def composite(level: PyramidLevel, fill: Fill) -> Pixels:
    """Returns the photo with its holes filled, in 8 bits."""
    return np.where(level.hole[..., None] == 1, (fill >> 8).astype(np.uint8), level.pixels)


def upsample(coarse: PyramidLevel, coarse_fill: Fill, share: NDArray[np.float32]) -> Fill:
    """Returns a fill of twice the size: the filled coarse photo times `share` (h, w), which may be 0 in whole tiles."""
    height, width = share.shape
    fill = new_fill((height, width))
    for top, left in product(range(0, height, TILE_PX), range(0, width, TILE_PX)):
        tile = slice(top, top + TILE_PX), slice(left, left + TILE_PX)
        if share[tile].any():
            doubled = _upsample_tile(coarse, coarse_fill, top, left, share[tile].shape)
            fill[tile] = np.rint(doubled * share[tile][..., None])
    return fill


def new_fill(size: tuple[int, int]) -> Fill:
    """Returns a fill of zeros for a height and width."""
    return np.zeros((*size, 3), np.uint16)


def accumulate(fill: Fill, colours: Floats) -> None:
    """Adds colours (h, w, 3) in 0..65535, weighted by their share of each pixel, to a part of a fill.

    The shares of a pixel add up to 1 except for rounding; the sum saturates, as 16 bits would wrap white to black.
    """
    fill[:] = cv2.add(fill, np.rint(colours).astype(np.uint16))


def _upsample_tile(coarse: PyramidLevel, coarse_fill: Fill, top: int, left: int, shape: tuple[int, ...]) -> Fill:
    first_row, first_column = max(top // 2 - TILE_BORDER_PX, 0), max(left // 2 - TILE_BORDER_PX, 0)
    part = np.s_[
        first_row : (top + shape[0] + 1) // 2 + TILE_BORDER_PX,
        first_column : (left + shape[1] + 1) // 2 + TILE_BORDER_PX,
    ]
    filled = np.where(coarse.hole[part][..., None] == 1, coarse_fill[part], coarse.pixels[part].astype(np.uint16) * 257)
    doubled = cv2.resize(filled, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    row, column = top - 2 * first_row, left - 2 * first_column
    return np.asarray(doubled[row : row + shape[0], column : column + shape[1]], np.uint16)
