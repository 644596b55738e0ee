"""Index of source patches and approximate nearest-neighbour search in it (PatchMatch, Barnes et al. 2009)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.patch_completion.descriptors import PATCH_RADIUS_PX, Centres, PaddedImage, describe
from services.inpaint.pyramid import Floats

# All targets search at the same time, so that a good source spreads by long steps as well.
PROPAGATION_STEPS_PX = (1, 4, 2, 1)
COHERENCE_STEPS_PX = (1, 1, 4)
NO_SHIFT = np.iinfo(np.int32).min
DISTANCE_COST = 5.0  # of the image's longer side, in levels of 255: of equal patches the nearer one is chosen


@dataclass(slots=True, eq=False)
class NearestNeighbourField:
    """The source patch of every target patch, and the squared distance of their descriptors."""

    targets: Centres
    sources: Centres
    costs: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PatchIndex:
    """Descriptors (pixels, components) by centre in the padded image; is_source: (pixels,) the centres of sources."""

    descriptors: Floats
    is_source: NDArray[np.bool_]

    @classmethod
    def build(cls, padded: PaddedImage, sources: Centres) -> Self:
        is_source = np.zeros(len(padded.values), bool)
        is_source[sources] = True
        described = describe(padded.values.reshape(padded.height, padded.width, -1))
        return cls(described.reshape(len(padded.values), -1), is_source)

    def update(self, padded: PaddedImage, targets: Centres) -> None:
        """Describes the target patches again, after their pixels have changed."""
        at = padded.coordinates(targets)
        (top, left), (bottom, right) = at.min(0), at.max(0) + 1
        margin = PATCH_RADIUS_PX  # centres of patches keep this distance from the edge of the padded image
        part = padded.values.reshape(padded.height, padded.width, -1)[
            top - margin : bottom + margin, left - margin : right + margin
        ]
        whole = self.descriptors.reshape(padded.height, padded.width, -1)
        whole[top:bottom, left:right] = describe(part)[margin:-margin, margin:-margin]

    def patch_match(
        self,
        field: NearestNeighbourField,
        padded: PaddedImage,
        rng: np.random.Generator,
        *,
        search_radius_px: int,
        propagation_steps_px: Sequence[int] = PROPAGATION_STEPS_PX,
    ) -> None:
        """Improves the field in place: propagation from neighbours, then random search (Barnes et al., section 3.2).

        search_radius_px: of the first random search around the present source; halved for each further one.
        """
        wanted = np.take(self.descriptors, field.targets, axis=0)
        field.costs = self._costs(field.sources, wanted)
        for step_px in propagation_steps_px:
            for step in _four_steps(step_px, padded.width):
                self._accept_better(field, wanted, self._propagate(field, step))
        while search_radius_px >= 1:
            steps = rng.integers(-search_radius_px, search_radius_px + 1, (2, len(field.sources)), np.int32)
            self._accept_better(field, wanted, field.sources + steps[0] * np.int32(padded.width) + steps[1])
            search_radius_px //= 2

    def cohere(self, field: NearestNeighbourField, padded: PaddedImage, *, penalty: float) -> None:
        """Lowers costs plus a penalty for each neighbour with another shift (iterated conditional modes, Besag 1986).

        Neighbours with one shift copy a whole piece of the picture, so that edges continue and grain is not averaged.
        """
        wanted = np.take(self.descriptors, field.targets, axis=0)
        shifts = np.full(len(self.is_source), NO_SHIFT, np.int32)
        shifts[field.targets] = field.sources - field.targets
        is_even = padded.coordinates(field.targets).sum(1) % 2 == 0
        for step_px in COHERENCE_STEPS_PX:
            # As on a chessboard: no pixel changes at the same time as its neighbours.
            for part in (np.flatnonzero(is_even), np.flatnonzero(~is_even)):
                targets, costs, wants = field.targets[part], field.costs[part], wanted[part]
                around = shifts[targets + _four_steps(1, padded.width)[:, None]]
                own = shifts[targets]
                for step in _four_steps(step_px, padded.width):
                    candidates = shifts[np.clip(targets + step, 0, len(shifts) - 1)]
                    saved = penalty * np.subtract((around == candidates).sum(0), (around == own).sum(0))
                    tried = np.flatnonzero((candidates != NO_SHIFT) & (candidates != own) & (saved > -costs))
                    tried = tried[self._are_sources(targets[tried] + candidates[tried])]
                    found = self._costs(targets[tried] + candidates[tried], wants[tried])
                    better = found - costs[tried] < saved[tried]
                    chosen = tried[better]
                    own[chosen], costs[chosen] = candidates[chosen], found[better]
                shifts[targets], field.costs[part], field.sources[part] = own, costs, targets + own

    def costs(self, sources: Centres, targets: Centres) -> Floats:
        """Returns (n,) squared distances between the descriptors of sources and targets."""
        return self._costs(sources, np.take(self.descriptors, targets, axis=0))

    def nearest_sources(self, centres: Centres, width: int) -> Centres:
        """Returns the source that lies nearest to each centre in the image; `width` is that of the padded image."""
        mask = self.is_source.reshape(-1, width)
        _, labels = cv2.distanceTransformWithLabels(
            (~mask).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
        )
        source_of_label = np.zeros(labels.max() + 1, np.int32)
        source_of_label[labels[mask]] = np.flatnonzero(mask)
        return np.asarray(source_of_label[labels.ravel()[centres]], np.int32)

    def _propagate(self, field: NearestNeighbourField, step: int) -> Centres:
        """Returns the continuation of each neighbour's source; -1 where the neighbour is no target."""
        chosen = np.full(len(self.is_source), -1, np.int32)
        chosen[field.targets] = field.sources
        neighbours = chosen[np.clip(field.targets + step, 0, len(chosen) - 1)]
        return np.where(neighbours >= 0, neighbours - step, -1).astype(np.int32)

    def _accept_better(self, field: NearestNeighbourField, wanted: Floats, candidates: Centres) -> None:
        tried = np.flatnonzero(self._are_sources(candidates) & (candidates != field.sources))
        costs = self._costs(candidates[tried], wanted[tried])
        better = costs < field.costs[tried]
        field.sources[tried[better]] = candidates[tried[better]]
        field.costs[tried[better]] = costs[better]

    def _are_sources(self, centres: Centres) -> NDArray[np.bool_]:
        inside = (centres >= 0) & (centres < len(self.is_source))
        return np.asarray(inside & self.is_source[np.where(inside, centres, 0)])

    def _costs(self, sources: Centres, wanted: Floats) -> Floats:
        differences = np.take(self.descriptors, sources, axis=0)
        differences -= wanted
        return np.asarray(np.einsum("ij,ij->i", differences, differences), np.float32)


def _four_steps(step_px: int, width: int) -> Centres:
    """Returns the steps to the right, left, down and up."""
    return np.array([step_px, -step_px, step_px * width, -step_px * width], np.int32)
