"""Voting: the colour of a hole pixel from all patches that overlap it (Wexler et al. 2007)."""

from collections.abc import Iterator

import numpy as np

from services.inpaint.patch_completion.descriptors import PATCH_RADIUS_PX, Centres, PaddedImage
from services.inpaint.patch_completion.index import NearestNeighbourField
from services.inpaint.pyramid import Floats

CENTRE_SIGMA_PX = 1.5  # votes weigh most at the centre of a patch, which keeps the mean of many sharp
MIN_CENTRE_WEIGHT = 0.3  # of a vote that is counted: the others would take more time than they change
CONFIDENCE_BASE = 1.15  # by which confidence falls with each pixel of depth in a hole
MAX_CONFIDENCE_DEPTH_PX = 40  # confidence is constant beyond
VARIANCE_PERCENTILE = 75  # of the costs, taken as the variance of likelihoods


def confidence(depth_px: Floats) -> Floats:
    """Returns the weights of patches by the depth of their centres in a hole."""
    return np.asarray(CONFIDENCE_BASE ** -np.minimum(depth_px, MAX_CONFIDENCE_DEPTH_PX), np.float32)


def vote(padded: PaddedImage, hole: Centres, field: NearestNeighbourField, confidences: Floats) -> None:
    """Sets the pixels of holes to the weighted mean of the votes of the patches over them.

    A patch votes for the pixels of its source. confidences: (n,) weights of the targets, among which are all pixels
    within a patch's radius of the holes.
    """
    variance = np.percentile(field.costs, VARIANCE_PERCENTILE) + 1
    weights, shifts = np.zeros(len(padded.values), np.float32), np.zeros(len(padded.values), np.int32)
    weights[field.targets] = confidences * np.exp(-field.costs / np.float32(2 * variance))
    shifts[field.targets] = field.sources - field.targets
    sums, total = np.zeros((len(hole), padded.values.shape[1]), np.float32), np.zeros(len(hole), np.float32)
    for offset, centre_weight in _votes(padded.width):
        voters = hole - offset
        weight = weights[voters] * centre_weight
        sums += np.take(padded.values, hole + shifts[voters], axis=0) * weight[:, None]
        total += weight
    voted = total > np.finfo(np.float32).tiny
    padded.values[hole[voted]] = sums[voted] / total[voted, None]


def _votes(width: int) -> Iterator[tuple[np.int32, np.float32]]:
    """Yields the offset from the centre of a patch to each of its pixels that vote, and the vote's weight."""
    steps = np.arange(-PATCH_RADIUS_PX, PATCH_RADIUS_PX + 1)
    weights = np.exp(-np.add.outer(steps**2, steps**2) / (2 * CENTRE_SIGMA_PX**2)).astype(np.float32)
    for row, column in np.argwhere(weights >= MIN_CENTRE_WEIGHT):
        yield np.int32(steps[row] * width + steps[column]), weights[row, column]
