"""Colour maps that differ by place and brightness, fitted to what the network did to a small copy of the photo.

A bilateral grid of affine maps, as in Chen et al., "Bilateral Guided Upsampling", SIGGRAPH Asia 2016, regularised as
a guided filter is. Applied to the full photo they keep its texture; across an edge different maps hold, so that none
shines over.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.hdr_correct.floats import Floats
from services.hdr_correct.guide import brightness, level_weights, local_features, place_levels

CELL_PX = 4
POOLING = ((1.5, 0.7, 1.0), (8.0, 2.0, 1e-3), (64.0, 8.0, 1e-5))
"""Spread over cells, spread over levels, and weight: what is near decides, what is far where nothing is near. Less
spread would copy the network's own grain into smooth skies."""
RELATIVE_NOISE, LEAST_NOISE = 0.01, 0.01
"""Contrast below this share of the brightness, or below this much, says little about how to map colours."""
BLACK = 0.015
"""Where a photo is about as dark as this, gains fall: what is left there are the steps and blocks of its encoding."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class AffineGrid:
    """maps: (rows, columns, levels, 3, 4), for each output channel factors of red, green, blue and 1; the cells'
    centres lie evenly over the photo. levels: their brightness, rising from 0 to 1."""

    maps: Floats
    levels: Floats

    def blended(self, strength: float) -> "AffineGrid":
        """Between leaving colours as they are (0) and these maps (1)."""
        unchanged = np.eye(3, 4, dtype=np.float32)
        return replace(self, maps=unchanged + np.float32(strength) * (self.maps - unchanged))


def fit_grid(photo: Floats, target: Floats) -> AffineGrid:
    """The maps from photo to target, (h, w, 3) each, h and w multiples of CELL_PX."""
    planes = np.ascontiguousarray(np.moveaxis(photo, 2, 0))
    guide = brightness(planes)
    levels = place_levels(guide)
    features = local_features(planes, level_weights(guide, levels))
    moments = _moments(features, np.concatenate([planes, np.ones_like(planes[:1]), np.moveaxis(target, 2, 0)]))
    return AffineGrid(_solve(_pool(moments)).astype(np.float32), levels)


def _moments(features: Floats, values: Floats) -> Doubles:
    """(4 * levels, h, w) and (7, h, w) to (rows, columns, levels, 4, 7): sums of their products over each cell."""
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
    """(count, count) whose rows are Gaussians that add up to 1."""
    away = np.arange(count)[:, None] - np.arange(count)
    weights = np.exp(-0.5 * (away / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


def _solve(moments: Doubles) -> Doubles:
    """(..., 4, 7) to (..., 3, 4): least squares about the means; without contrast a plain gain."""
    means = moments / moments[..., 3:, 3:4]
    mean_in, mean_out = means[..., 3, :3], means[..., 3, 4:]
    spread = means[..., :3, :3] - mean_in[..., :, None] * mean_in[..., None, :]
    shared = means[..., :3, 4:] - mean_in[..., :, None] * mean_out[..., None, :]
    noise = (RELATIVE_NOISE * mean_in.mean(axis=-1) + LEAST_NOISE) ** 2
    gain = (mean_in * mean_out).sum(axis=-1) / ((mean_in**2).sum(axis=-1) + 3 * BLACK**2)
    ridge = noise[..., None, None] * np.eye(3)
    factors = np.linalg.solve(spread + ridge, shared + gain[..., None, None] * ridge).swapaxes(-1, -2)
    offsets = mean_out - (factors @ mean_in[..., None])[..., 0]
    return np.concatenate([factors, offsets[..., None]], axis=-1)
