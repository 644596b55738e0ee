"""Voting: the colour of a hole pixel from all patches that overlap it (Wexler et al. 2007)."""

import numpy as np

from services.inpaint.patch_completion.descriptors import PATCH_RADIUS_PX, Centres, PaddedImage
from services.inpaint.patch_completion.index import NearestNeighbourField
from services.inpaint.pyramid import Floats

CENTRE_SIGMA_PX = 1.5  # votes weigh most at the centre of a patch, which keeps the mean of many sharp
CONFIDENCE_BASE = 1.15  # by which confidence falls with each pixel of depth in a hole
MAX_CONFIDENCE_DEPTH_PX = 40  # confidence is constant beyond
VARIANCE_PERCENTILE = 75  # of the costs, taken as the variance of likelihoods


def confidence(depth_px: Floats) -> Floats:
    """Returns the weights of patches by the depth of their centres in a hole."""
    return np.asarray(CONFIDENCE_BASE ** -np.minimum(depth_px, MAX_CONFIDENCE_DEPTH_PX), np.float32)


def vote(padded: PaddedImage, hole: Centres, field: NearestNeighbourField, confidences: Floats) -> None:
    """Sets the pixels of holes to the weighted mean of the votes of the patches over them.

    A patch votes for the pixels of its source. confidences: (n,) weights of the targets.
    """
    variance = np.percentile(field.costs, VARIANCE_PERCENTILE) + 1
    weights = confidences * np.exp(-field.costs / np.float32(2 * variance))
    sums, total = np.zeros_like(padded.values), np.zeros(len(padded.values), np.float32)
    for offset, centre_weight in zip(padded.patch_offsets, _centre_weights(), strict=True):
        weight = np.asarray(weights * centre_weight, np.float32)
        sums[field.targets + offset] += padded.values[field.sources + offset] * weight[:, None]
        total[field.targets + offset] += weight
    voted = hole[total[hole] > np.finfo(np.float32).tiny]
    padded.values[voted] = sums[voted] / total[voted, None]


def _centre_weights() -> Floats:
    """Returns the weights (pixels,) of a patch, row by row."""
    squares = np.arange(-PATCH_RADIUS_PX, PATCH_RADIUS_PX + 1) ** 2
    return np.exp(-np.add.outer(squares, squares).ravel() / (2 * CENTRE_SIGMA_PX**2)).astype(np.float32)
