"""Random fields of (size, size): noise of several octaves, scratched lines, and cells around scattered points."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Rng = np.random.Generator


def fbm(rng: Rng, size: int, waves: float, *, octaves: int = 5, gain: float = 0.5, stretch: float = 1.0) -> Field:
    """Fractional Brownian motion in 0..1; the coarsest octave has `waves` waves, `stretch` times longer down."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        across = waves * 2**octave
        if octave and across > size / 2:
            break
        total += np.float32(gain**octave) * _octave(rng, size, across, across / stretch)
    return unit_range(total)


def _octave(rng: Rng, size: int, across: float, down: float) -> Field:
    columns, rows = (max(2, int(np.ceil(waves)) + 3) for waves in (across, down))
    grid = rng.standard_normal((rows, columns)).astype(np.float32)
    # Only so much of the grid is shown that the number of waves need not be whole.
    scale = np.array([[size / max(across, 1e-3), 0, 0], [0, size / max(down, 1e-3), 0]], np.float32)
    scale[:, 2] = -scale[:, :2].diagonal()
    return np.asarray(cv2.warpAffine(grid, scale, (size, size), flags=cv2.INTER_CUBIC), np.float32)


def grain(rng: Rng, size: int, blur_px: float = 0.7) -> Field:
    """Fine grain in 0..1."""
    noise = rng.standard_normal((size, size)).astype(np.float32)
    return unit_range(np.asarray(cv2.GaussianBlur(noise, (0, 0), blur_px), np.float32))


def ridged(rng: Rng, size: int, waves: float, *, octaves: int = 5) -> Field:
    """Ridged noise, 1 on the crests."""
    field = 1 - np.abs(2 * fbm(rng, size, waves, octaves=octaves) - 1)
    return np.asarray(field, np.float32)


def warp(field: Field, rng: Rng, amount_px: float, waves: float) -> Field:
    """The field distorted by noise; also of (size, size, channels)."""
    size = field.shape[0]
    y, x = np.mgrid[:size, :size].astype(np.float32)
    dx, dy = (amount_px * (2 * fbm(rng, size, waves, octaves=3) - 1) for _ in range(2))
    return np.asarray(cv2.remap(field, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A Voronoi diagram: `ids` (size, size), distance to the nearest point, and depth inside the cell, in px."""

    ids: NDArray[np.int32]
    distance: Field
    depth: Field

    def values(self, rng: Rng, low: float = 0.0, high: float = 1.0) -> Field:
        """One value for each cell."""
        return rng.uniform(low, high, int(self.ids.max()) + 1).astype(np.float32)[self.ids]


def cells(rng: Rng, size: int, count: int, *, regular: float = 0.0) -> Cells:
    """About this number of cells; regular ones have their points near those of a grid."""
    side = max(2, round(count**0.5))
    y, x = (np.mgrid[:side, :side] + 0.5) * size / side
    jitter = (1 - regular) * size / side
    points = np.stack([each + jitter * rng.uniform(-0.7, 0.7, each.shape) for each in (y, x)], -1).reshape(-1, 2)
    points = np.clip(points, 0, size - 1).astype(int)
    empty = np.ones((size, size), np.uint8)
    empty[points[:, 0], points[:, 1]] = 0
    distance, ids = cv2.distanceTransformWithLabels(empty, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return Cells(np.asarray(ids, np.int32), np.asarray(distance, np.float32), inside(np.asarray(ids, np.int32)))


def inside(ids: NDArray[np.int32]) -> Field:
    """Distance in px of each pixel to the nearest one with another id."""
    border = np.zeros(ids.shape, bool)
    border[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    border[1:] |= ids[1:] != ids[:-1]
    return np.asarray(cv2.distanceTransform((~border).astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def lines(rng: Rng, size: int, count: int, *, longest: float = 0.5, angle: float | None = None) -> Field:
    """Thin scratches, 1 on the line; in all directions or about one angle in radians."""
    field = np.zeros((size, size), np.uint8)
    for _ in range(count):
        start = rng.uniform(0, size, 2)
        heading = rng.uniform(0, np.pi) if angle is None else rng.normal(angle, 0.05)
        reach = rng.uniform(0.1, longest) * size * np.array([np.cos(heading), np.sin(heading)])
        bow = rng.normal(0, 0.02 * size, 2)
        path = np.stack([start, start + reach / 2 + bow, start + reach]).astype(np.int32)
        cv2.polylines(field, [path], False, int(rng.integers(60, 256)), 1, cv2.LINE_AA)
    return np.asarray(field / np.float32(255), np.float32)


def smoothstep(low: float, high: float, field: Field) -> Field:
    share = np.clip((field - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def unit_range(field: Field) -> Field:
    """The field scaled to 0..1."""
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / max(high - low, 1e-6), np.float32)
