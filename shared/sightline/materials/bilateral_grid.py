"""Bilateral means over near neighbours with similar guide values, for dense conditional random fields.

The bilateral grid of Chen, Paris, Durand: "Real-Time Edge-Aware Image Processing with the Bilateral Grid", SIGGRAPH
2007.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from sightline.materials.maps import Floats

KERNEL = np.array([1, 4, 6, 4, 1], np.float32) / 16
RADIUS = len(KERNEL) // 2
MIN_WEIGHT = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class BilateralGrid:
    """A grid over rows, columns and guide values.

    corners: the flat indices (pixels,) and shares (pixels,) of each of the eight cells next to a pixel.
    """

    shape: tuple[int, int, int]
    corners: tuple[tuple[NDArray[np.intp], Floats], ...]
    weights: Floats

    @classmethod
    def build(
        cls, guide: Floats, *, sigma_px: float, sigma_guide: float, weights: Floats | None = None
    ) -> "BilateralGrid":
        """The grid of a guide (h, w). weights: (h, w), the weight of each pixel in the means."""
        rows, columns = np.indices(guide.shape).reshape(2, -1) / sigma_px
        place = np.stack([rows, columns, (guide - guide.min()).ravel() / sigma_guide])
        low = np.floor(place).astype(np.intp)
        rest = (place - low).astype(np.float32)
        shape = tuple(int(size) + 2 + 2 * RADIUS for size in low.max(axis=1))
        corners = []
        for corner in product((0, 1), repeat=3):
            cell = np.ravel_multi_index(tuple(low + np.array(corner)[:, None] + RADIUS), shape)
            share = np.prod([rest[axis] if upper else 1 - rest[axis] for axis, upper in enumerate(corner)], axis=0)
            corners.append((cell, np.asarray(share, np.float32)))
        given = np.ones(guide.shape, np.float32) if weights is None else weights
        return cls((shape[0], shape[1], shape[2]), tuple(corners), given)

    def mean(self, values: Floats) -> Floats:
        """Means (h, w, c) of each pixel's neighbours, with Gaussian weights of their distance in place and guide.

        Pixels whose neighbours have almost no weight keep their value.
        """
        weighted = np.concatenate([values * self.weights[..., None], self.weights[..., None]], 2)
        means = np.stack([self._spread(plane) for plane in np.moveaxis(weighted, 2, 0)], 2)
        total = means[..., -1:]
        return np.where(total > MIN_WEIGHT, means[..., :-1] / np.maximum(total, MIN_WEIGHT), values).astype(np.float32)

    def _spread(self, plane: Floats) -> Floats:
        flat, count = plane.ravel(), int(np.prod(self.shape))
        cells = np.zeros(count)
        for cell, share in self.corners:
            cells += np.bincount(cell, share * flat, count)
        blurred = _blurred(cells.reshape(self.shape)).ravel()
        return np.asarray(sum(share * blurred[cell] for cell, share in self.corners), np.float32).reshape(plane.shape)


def _blurred(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """The cells, blurred by the kernel along every axis; the outermost cells are empty, so `np.roll` does not wrap."""
    for axis in range(3):
        cells = sum(weight * np.roll(cells, at - RADIUS, axis) for at, weight in enumerate(KERNEL))
    return cells
