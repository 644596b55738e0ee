"""Which known patch is most like each patch of a hole, and goes on like its neighbours' choices."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.levels import Floats
from services.inpaint.patches import Eye, Plane, Spots

JUMPS_PX = (1, 4, 2, 1)  # all targets look at once, so that a good choice travels by leaps as well
FAR_COST = 5.0  # what the longer side of the picture costs, in levels of 255: of equals the nearer is taken


@dataclass(slots=True, eq=False)
class Field:
    """The chosen source of every target and the squared distance of their looks."""

    targets: Spots
    sources: Spots
    costs: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """looks: (spots, features) of all spots of the plane; usable: (spots,) that may be sources."""

    eye: Eye
    looks: Floats
    usable: NDArray[np.bool_]

    def improve(self, field: Field, plane: Plane, rng: np.random.Generator, *, reach_px: int) -> None:
        """Randomised correspondences of Barnes et al. ("PatchMatch", 2009), for all targets at once.

        reach_px: how far from the present source the farthest random try is.
        """
        wanted = _look(self.eye, plane, field.targets)
        field.costs = self._costs(field.sources, wanted)
        for jump_px in JUMPS_PX:
            for step in (jump_px, -jump_px, jump_px * plane.width, -jump_px * plane.width):
                self._try(field, wanted, self._following(field, step))
        while reach_px >= 1:
            steps = rng.integers(-reach_px, reach_px + 1, (2, len(field.sources)), np.int32)
            self._try(field, wanted, field.sources + steps[0] * np.int32(plane.width) + steps[1])
            reach_px //= 2

    def nearest(self, spots: Spots, width: int) -> Spots:
        """The usable spots nearest to those."""
        flags = self.usable.reshape(-1, width)
        _, labels = cv2.distanceTransformWithLabels(
            (~flags).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
        )
        named = np.zeros(labels.max() + 1, np.int32)
        named[labels[flags]] = np.flatnonzero(flags)
        return np.asarray(named[labels.ravel()[spots]], np.int32)

    def _following(self, field: Field, step: int) -> Spots:
        """Where the sources of the neighbours go on; -1 beside targets."""
        chosen = np.full(len(self.usable), -1, np.int32)
        chosen[field.targets] = field.sources
        theirs = chosen[np.clip(field.targets + step, 0, len(chosen) - 1)]
        return np.where(theirs >= 0, theirs - step, -1).astype(np.int32)

    def _try(self, field: Field, wanted: Floats, candidates: Spots) -> None:
        possible = (candidates >= 0) & (candidates < len(self.usable)) & (candidates != field.sources)
        tried = np.flatnonzero(possible)
        tried = tried[self.usable[candidates[tried]]]
        costs = self._costs(candidates[tried], wanted[tried])
        better = costs < field.costs[tried]
        field.sources[tried[better]] = candidates[tried[better]]
        field.costs[tried[better]] = costs[better]

    def _costs(self, sources: Spots, wanted: Floats) -> Floats:
        differences = self.looks[sources]
        differences -= wanted
        return np.asarray(np.einsum("ij,ij->i", differences, differences), np.float32)


def hang(eye: Eye, plane: Plane, sources: Spots) -> Gallery:
    described = _look(eye, plane, sources)
    looks, usable = np.zeros((len(plane.values), described.shape[1]), np.float32), np.zeros(len(plane.values), bool)
    looks[sources], usable[sources] = described, True
    return Gallery(eye, looks, usable)


def _look(eye: Eye, plane: Plane, spots: Spots) -> Floats:
    cost = np.float32(FAR_COST / max(plane.height, plane.width))
    return np.concatenate([eye.look(plane, spots), plane.places(spots) * cost], 1)
