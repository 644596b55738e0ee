"""A first choice of sources in a tiny picture, from the rim of its holes inwards."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.levels import Floats
from services.inpaint.patches import Plane, Spots, border, spots_of
from services.inpaint.scenes import COLOURS, Scene
from services.inpaint.search import FAR_COST

GUESS_TRUST = 0.15  # of a guessed colour beside a known one
PEELED_TRUST = 0.7  # of a found pixel beside the one further out that it was found by

Shifts = NDArray[np.int32]
"""(h, w, 2) rows and columns from the pixels of holes to the known ones that they are copied from."""


def peel(scene: Scene) -> Shifts:
    """Each pixel is taken from the middle of the known patch that is most like what is there so far."""
    canvas = _begin(scene)
    shifts, left, trust = np.zeros((*scene.hole.shape, 2), np.int32), scene.hole, 1.0
    while left.any():
        rest = cv2.erode(left.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
        trust *= PEELED_TRUST
        shifts[left & ~rest] = canvas.fill(spots_of(left & ~rest), max(trust, GUESS_TRUST))
        left = rest
    return shifts


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
    """trusted: 0..1 for every value; examples: (sources, values) patches."""

    plane: Plane
    trusted: Plane
    sources: Spots
    examples: Floats

    def fill(self, spots: Spots, trust: float) -> NDArray[np.int32]:
        """(n, 2) rows and columns to the sources."""
        found = self.sources[self._costs(spots).argmin(1)]
        self.plane.values[spots], self.trusted.values[spots] = self.plane.values[found], trust
        return self.plane.places(found) - self.plane.places(spots)

    def _costs(self, spots: Spots) -> Floats:
        """(n, sources), short of what is the same for all sources."""
        wanted = self.plane.patches(spots).reshape(len(spots), -1)
        weights = self.trusted.patches(spots).reshape(len(spots), -1)
        costs = (weights @ (self.examples**2).T - 2 * (weights * wanted) @ self.examples.T) / weights.sum(1)[:, None]
        away = self.plane.places(spots)[:, None] - self.plane.places(self.sources)
        cost = FAR_COST / max(self.plane.height, self.plane.width)
        return np.asarray(costs + cost**2 * (away**2).sum(2), np.float32)


def _begin(scene: Scene) -> _Canvas:
    plane, sources = border(scene.values), spots_of(scene.known_patches())
    trusted = np.repeat(~scene.hole[..., None], scene.values.shape[2], 2).astype(np.float32)
    trusted[..., :COLOURS] = np.maximum(trusted[..., :COLOURS], GUESS_TRUST)
    return _Canvas(plane, border(trusted), sources, plane.patches(sources).reshape(len(sources), -1))
