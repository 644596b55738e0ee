"""Bilateral grid of affine colour maps, fitted on a small copy of the photo and applied to the full photo.

Chen et al., "Bilateral Guided Upsampling", SIGGRAPH Asia 2016, regularised like a guided filter. The maps keep the
photo's texture, and differ across its edges, so that no halo appears.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.bit_depth import Floats, to_float
from sightline.imaging.picture import Samples

CELL_PX = 4
POOLING = ((1.5, 0.7, 1.0), (8.0, 2.0, 1e-3), (64.0, 8.0, 1e-5))
"""Spread over cells, spread over levels, and weight: the far pools decide only where the near ones have no pixels. Less
spread would copy the network's grain into smooth skies."""
RELATIVE_NOISE, MIN_NOISE = 0.01, 0.01
"""Contrast below this share of the brightness, or below this value, is regularised away."""
BLACK = 0.015
"""Gains fall where a photo is about as dark as this: there it shows only the steps and blocks of its encoding."""
LEVELS = 8
EVEN_SHARE = 0.2
"""Share of evenly placed levels; the rest are quantiles of the photo's brightness."""
GUIDE_WEIGHTS = np.array([0.25, 0.5, 0.25], np.float32)

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class AffineGrid:
    """Affine colour maps over place and brightness.

    maps: (rows, columns, levels, 3, 4), for each output channel the factors of red, green, blue and 1; the centres of
    the cells lie evenly over the photo. levels: brightness of the levels, rising from 0 to 1.
    """

    maps: Floats
    levels: Floats

    def blended(self, strength: float) -> "AffineGrid":
        """The grid between the identity (0) and these maps (1)."""
        unchanged = np.eye(3, 4, dtype=np.float32)
        return replace(self, maps=unchanged + np.float32(strength) * (self.maps - unchanged))


def fit_grid(photo: Floats, target: Floats) -> AffineGrid:
    """The grid that maps photo to target, (h, w, 3) each, h and w multiples of CELL_PX."""
    planes = np.ascontiguousarray(np.moveaxis(photo, 2, 0))
    guide = brightness(planes)
    levels = place_levels(guide)
    features = local_features(planes, level_weights(guide, levels))
    moments = _moments(features, np.concatenate([planes, np.ones_like(planes[:1]), np.moveaxis(target, 2, 0)]))
    return AffineGrid(_solve(_pool(moments)).astype(np.float32), levels)


def _moments(features: Floats, values: Floats) -> Doubles:
    """(4 * levels, h, w) and (7, h, w) to (rows, columns, levels, 4, 7): sums of their products over each cell."""
    # In double precision, because `_solve` subtracts squared means from means of squares.
    products: Doubles = np.matmul(_cells(features).swapaxes(2, 3), _cells(values), dtype=np.float64)
    return products.reshape(*products.shape[:2], -1, 4, len(values))


def _cells(planes: Floats) -> Floats:
    """(n, h, w) to (rows, columns, pixels of a cell, n)"""
    count, height, width = planes.shape
    blocks = planes.reshape(count, height // CELL_PX, CELL_PX, width // CELL_PX, CELL_PX)
    return blocks.transpose(1, 3, 2, 4, 0).reshape(height // CELL_PX, width // CELL_PX, -1, count)


def _pool(moments: Doubles) -> Doubles:
    rows, columns, levels = moments.shape[:3]
    pooled = np.zeros_like(moments)
    for cells, spread, weight in POOLING:
        blurs = _blur(rows, cells), _blur(columns, cells), _blur(levels, spread)
        pooled += weight * np.einsum("ay,bx,cz,yxzij->abcij", *blurs, moments, optimize=True)
    return pooled


def _blur(count: int, sigma: float) -> Doubles:
    """(count, count): in each row a Gaussian about the diagonal, with the sum 1."""
    away = np.arange(count)[:, None] - np.arange(count)
    weights = np.exp(-0.5 * (away / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def _solve(moments: Doubles) -> Doubles:
    """(..., 4, 7) to (..., 3, 4): least squares about the means; without contrast a plain gain."""
    means = moments / moments[..., 3:, 3:4]
    mean_in, mean_out = means[..., 3, :3], means[..., 3, 4:]
    spread = means[..., :3, :3] - mean_in[..., :, None] * mean_in[..., None, :]
    shared = means[..., :3, 4:] - mean_in[..., :, None] * mean_out[..., None, :]
    noise = (RELATIVE_NOISE * mean_in.mean(axis=-1) + MIN_NOISE) ** 2
    gain = (mean_in * mean_out).sum(axis=-1) / ((mean_in**2).sum(axis=-1) + 3 * BLACK**2)
    ridge = noise[..., None, None] * np.eye(3)
    factors = np.linalg.solve(spread + ridge, shared + gain[..., None, None] * ridge).swapaxes(-1, -2)
    offsets = mean_out - (factors @ mean_in[..., None])[..., 0]
    return np.concatenate([factors, offsets[..., None]], axis=-1)


def brightness(planes: Floats) -> Floats:
    """The guide (...) of colour planes (3, ...), both in 0..1."""
    red, green, blue = (weight * plane for weight, plane in zip(GUIDE_WEIGHTS, planes, strict=True))
    return np.asarray(red + green + blue, np.float32)


def place_levels(guide: Floats, count: int = LEVELS) -> Floats:
    """(count,): levels from 0 to 1, denser where the photo has many pixels."""
    even = np.linspace(0, 1, count)
    quantiles = np.quantile(guide, even)
    quantiles[0], quantiles[-1] = 0, 1
    return np.asarray(EVEN_SHARE * even + (1 - EVEN_SHARE) * quantiles, np.float32)


def level_weights(guide: Floats, levels: Floats) -> Floats:
    """(count, ...): linear interpolation weights of each pixel between its two nearest levels; their sum is 1."""
    above = [np.clip((guide - low) / (high - low), 0, 1) for low, high in pairwise(levels)]
    ends = [np.ones_like(guide), *above, np.zeros_like(guide)]
    return np.stack([ends[at] - ends[at + 1] for at in range(len(levels))])


def used_levels(guide: Floats, levels: Floats) -> slice:
    """The levels that have a weight anywhere; their weights alone add up to 1."""
    first = max(int(np.searchsorted(levels, guide.min(), "right")) - 1, 0)
    last = min(int(np.searchsorted(levels, guide.max(), "left")), len(levels) - 1)
    return slice(first, max(first, last) + 1)


def local_features(planes: Floats, weights: Floats) -> Floats:
    """(4 * count, ...): red, green, blue and 1 times the weight of each level, from (3, ...) and (count, ...)."""
    homogeneous = np.concatenate([planes, np.ones_like(planes[:1])])
    return np.asarray(weights[:, None] * homogeneous[None], np.float32).reshape(-1, *planes.shape[1:])


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Pixels start..stop of one axis between the centres of the same two cells; distance: from the first, in 0..1."""

    start: int
    stop: int
    cells: tuple[int, int]
    distance: Floats

    @property
    def pixels(self) -> slice:
        return slice(self.start, self.stop)


def mapped_bands(grid: AffineGrid, pixels: Samples) -> Iterator[tuple[slice, Floats]]:
    """Yields rows and their mapped values (rows, w, 3), not clipped, from top to bottom of a photo (h, w, 3)."""
    rows, columns = grid.maps.shape[:2]
    across = spans(pixels.shape[1], columns)
    for down in spans(pixels.shape[0], rows):
        tiles = [_map_tile(grid, pixels[down.pixels, over.pixels], down, over) for over in across]
        yield down.pixels, np.concatenate(tiles, axis=1)


def spans(length: int, cells: int) -> list[Span]:
    """The spans of an axis; beyond the outermost centres, the maps of the outermost cells hold."""
    position = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)
    first = np.minimum(position.astype(int), max(cells - 2, 0))
    starts = [0, *(np.flatnonzero(np.diff(first)) + 1).tolist(), length]
    return [
        Span(start, stop, _pair(int(first[start]), cells), (position - first)[start:stop].astype(np.float32))
        for start, stop in pairwise(starts)
    ]


def _pair(first: int, cells: int) -> tuple[int, int]:
    return first, min(first + 1, cells - 1)


def _map_tile(grid: AffineGrid, tile: Samples, down: Span, over: Span) -> Floats:
    """(rows, columns, 3): every pixel mapped by its four cells, then interpolated by distance."""
    planes = to_planes(tile)
    guide = brightness(planes)
    used = used_levels(guide, grid.levels)
    weights = level_weights(guide, grid.levels[used])
    features = local_features(planes, weights).reshape(4 * len(weights), -1)
    corners = grid.maps[np.ix_(down.cells, over.cells)][:, :, used]  # (2, 2, levels, 3, 4)
    matrix = corners.transpose(0, 1, 3, 2, 4).reshape(12, -1)
    mapped = (np.ascontiguousarray(matrix) @ features).reshape(2, 2, 3, *tile.shape[:2])
    upright = mapped[0] + (mapped[1] - mapped[0]) * down.distance[:, None]
    mixed = upright[0] + (upright[1] - upright[0]) * over.distance
    return np.asarray(cv2.merge(list(np.ascontiguousarray(mixed))), np.float32)


def to_planes(pixels: Samples) -> Floats:
    """Planes (3, h, w) in 0..1 of pixels (h, w, 3)."""
    return np.stack([to_float(np.asarray(plane, pixels.dtype)) for plane in cv2.split(pixels)])
