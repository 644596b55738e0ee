"""Applying a grid of colour maps to a photo of any size, band by band."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from services.hdr_correct.floats import Floats, to_unit
from services.hdr_correct.grid import AffineGrid
from services.hdr_correct.guide import brightness, level_weights, local_features, used_levels
from sightline.imaging.picture import Samples


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Neighbouring pixels start..stop of one axis between the same two cells' centres, and their distance from the
    first of the two in 0..1."""

    start: int
    stop: int
    cells: tuple[int, int]
    distance: Floats

    @property
    def pixels(self) -> slice:
        return slice(self.start, self.stop)


def mapped_bands(grid: AffineGrid, pixels: Samples) -> Iterator[tuple[slice, Floats]]:
    """Rows and their mapped values (rows, w, 3), not clipped, from top to bottom of a photo (h, w, 3)."""
    rows, columns = grid.maps.shape[:2]
    across = spans(pixels.shape[1], columns)
    for down in spans(pixels.shape[0], rows):
        tiles = [_map_tile(grid, pixels[down.pixels, over.pixels], down, over) for over in across]
        yield down.pixels, np.concatenate(tiles, axis=1)


def spans(length: int, cells: int) -> list[Span]:
    """Of an axis of so many pixels; beyond the outermost centres theirs are the maps."""
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
    """(rows, columns, 3): each of the four cells' maps for every pixel, then mixed by distance."""
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
    """(h, w, 3) to (3, h, w) in 0..1."""
    return np.stack([to_unit(np.asarray(plane, pixels.dtype)) for plane in cv2.split(pixels)])
