"""Index of source patches and approximate nearest-neighbour search in it (PatchMatch, Barnes et al. 2009)."""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.patch_completion.descriptors import Centres, PaddedImage, PatchDescriptor
from services.inpaint.pyramid import Floats

# All targets search at the same time, so that a good source spreads by long steps as well.
PROPAGATION_STEPS_PX = (1, 4, 2, 1)
DISTANCE_COST = 5.0  # of the image's longer side, in levels of 255: of equal patches the nearer one is chosen


@dataclass(slots=True, eq=False)
class NearestNeighbourField:
    """The source patch of every target patch, and the squared distance of their descriptors."""

    targets: Centres
    sources: Centres
    costs: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PatchIndex:
    """Descriptors (pixels, components) by centre in the padded image; is_source: (pixels,) which of them are set."""

    descriptor: PatchDescriptor
    descriptors: Floats
    is_source: NDArray[np.bool_]

    @classmethod
    def build(cls, descriptor: PatchDescriptor, padded: PaddedImage, sources: Centres) -> Self:
        described, pixels = _describe(descriptor, padded, sources), len(padded.values)
        descriptors, is_source = np.zeros((pixels, described.shape[1]), np.float32), np.zeros(pixels, bool)
        descriptors[sources], is_source[sources] = described, True
        return cls(descriptor, descriptors, is_source)

    def patch_match(
        self, field: NearestNeighbourField, padded: PaddedImage, rng: np.random.Generator, *, search_radius_px: int
    ) -> None:
        """Improves the field in place: propagation from neighbours, then random search (Barnes et al., section 3.2).

        search_radius_px: of the first random search around the present source; halved for each further one.
        """
        wanted = _describe(self.descriptor, padded, field.targets)
        field.costs = self._costs(field.sources, wanted)
        for step_px in PROPAGATION_STEPS_PX:
            for step in (step_px, -step_px, step_px * padded.width, -step_px * padded.width):
                self._accept_better(field, wanted, self._propagate(field, step))
        while search_radius_px >= 1:
            steps = rng.integers(-search_radius_px, search_radius_px + 1, (2, len(field.sources)), np.int32)
            self._accept_better(field, wanted, field.sources + steps[0] * np.int32(padded.width) + steps[1])
            search_radius_px //= 2

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
        valid = (candidates >= 0) & (candidates < len(self.is_source)) & (candidates != field.sources)
        tried = np.flatnonzero(valid)
        tried = tried[self.is_source[candidates[tried]]]
        costs = self._costs(candidates[tried], wanted[tried])
        better = costs < field.costs[tried]
        field.sources[tried[better]] = candidates[tried[better]]
        field.costs[tried[better]] = costs[better]

    def _costs(self, sources: Centres, wanted: Floats) -> Floats:
        differences = self.descriptors[sources]
        differences -= wanted
        return np.asarray(np.einsum("ij,ij->i", differences, differences), np.float32)


def _describe(descriptor: PatchDescriptor, padded: PaddedImage, centres: Centres) -> Floats:
    """Returns descriptors to which the scaled coordinates are appended, so that distance in the image costs as well."""
    scale = np.float32(DISTANCE_COST / max(padded.height, padded.width))
    return np.concatenate([descriptor.describe(padded, centres), padded.coordinates(centres) * scale], 1)
