"""What the patches that lie over a pixel make of it."""

import numpy as np

from services.inpaint.levels import Floats
from services.inpaint.patches import RADIUS_PX, Plane, Spots
from services.inpaint.search import Field

CENTRE_SIGMA_PX = 1.5  # a patch says most about its middle, which keeps the mean of many sharp
TRUST_FALL = 1.15  # by which a patch counts less for every pixel that it is deeper in a hole (Wexler et al.)
TRUSTED_DEPTH_PX = 40  # from there on all count alike
USUAL_COST = 75  # percentile of the costs that serves as the variance of likelihoods


def trust(depth_px: Floats) -> Floats:
    return np.asarray(TRUST_FALL ** -np.minimum(depth_px, TRUSTED_DEPTH_PX), np.float32)


def vote(plane: Plane, inside: Spots, field: Field, trusted: Floats) -> None:
    """Give the pixels `inside` holes the mean of what the sources of the patches over them say.

    trusted: (n,) weights of the targets.
    """
    variance = np.percentile(field.costs, USUAL_COST) + 1
    weights = trusted * np.exp(-field.costs / np.float32(2 * variance))
    sums, total = np.zeros_like(plane.values), np.zeros(len(plane.values), np.float32)
    for step, nearness in zip(plane.around, _nearness(), strict=True):
        share = np.asarray(weights * nearness, np.float32)
        sums[field.targets + step] += plane.values[field.sources + step] * share[:, None]
        total[field.targets + step] += share
    voted = inside[total[inside] > np.finfo(np.float32).tiny]
    plane.values[voted] = sums[voted] / total[voted, None]


def _nearness() -> Floats:
    """(pixels,) of a patch, row by row."""
    squares = np.arange(-RADIUS_PX, RADIUS_PX + 1) ** 2
    return np.exp(-np.add.outer(squares, squares).ravel() / (2 * CENTRE_SIGMA_PX**2)).astype(np.float32)
