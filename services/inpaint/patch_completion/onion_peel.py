"""Onion-peel initialisation of the coarsest level (Newson et al. 2014)."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.patch_completion.descriptors import Centres, PaddedImage, centres_of, pad
from services.inpaint.patch_completion.index import DISTANCE_COST
from services.inpaint.patch_completion.texture_features import COLOUR_CHANNELS, FeatureImage
from services.inpaint.pyramid import Floats

GUESS_CONFIDENCE = 0.15  # of a guessed colour; that of a known one is 1
CONFIDENCE_DECAY = 0.7  # from one layer of the onion to the next one inwards

ShiftMap = NDArray[np.int32]
"""(h, w, 2) rows and columns from the pixels of holes to the known ones that they are copied from."""


def onion_peel(image: FeatureImage) -> ShiftMap:
    """Fills holes layer by layer, from the rim inwards, each pixel with the centre of the most similar source patch."""
    filling = _begin(image)
    shifts, hole, confidence = np.zeros((*image.hole.shape, 2), np.int32), image.hole, 1.0
    while hole.any():
        inside = cv2.erode(hole.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1) > 0
        layer = hole & ~inside
        confidence *= CONFIDENCE_DECAY
        shifts[layer] = filling.fill(centres_of(layer), max(confidence, GUESS_CONFIDENCE))
        hole = inside
    return shifts


@dataclass(frozen=True, slots=True, eq=False)
class _PartialFilling:
    """An image during onion peeling; confidence: 0..1 for every value; source_patches: (sources, values)."""

    padded: PaddedImage
    confidence: PaddedImage
    sources: Centres
    source_patches: Floats

    def fill(self, centres: Centres, confidence: float) -> NDArray[np.int32]:
        """Copies the best sources to these centres and returns the shifts (n, 2), rows and columns, to them."""
        best = self.sources[self._costs(centres).argmin(1)]
        self.padded.values[centres], self.confidence.values[centres] = self.padded.values[best], confidence
        return self.padded.coordinates(best) - self.padded.coordinates(centres)

    def _costs(self, centres: Centres) -> Floats:
        """Returns (n, sources) weighted squared differences, without the term that all sources share."""
        wanted = self.padded.patches(centres).reshape(len(centres), -1)
        weights = self.confidence.patches(centres).reshape(len(centres), -1)
        patches = self.source_patches
        costs = (weights @ (patches**2).T - 2 * (weights * wanted) @ patches.T) / weights.sum(1)[:, None]
        distances = self.padded.coordinates(centres)[:, None] - self.padded.coordinates(self.sources)
        scale = DISTANCE_COST / max(self.padded.height, self.padded.width)
        return np.asarray(costs + scale**2 * (distances**2).sum(2), np.float32)


def _begin(image: FeatureImage) -> _PartialFilling:
    padded, sources = pad(image.values), centres_of(image.source_mask())
    confidence = np.repeat(~image.hole[..., None], image.values.shape[2], 2).astype(np.float32)
    confidence[..., :COLOUR_CHANNELS] = np.maximum(confidence[..., :COLOUR_CHANNELS], GUESS_CONFIDENCE)
    return _PartialFilling(padded, pad(confidence), sources, padded.patches(sources).reshape(len(sources), -1))
