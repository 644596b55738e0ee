"""How bright a pixel is, and how much each of a few brightness levels has to say about it."""

from itertools import pairwise

import numpy as np

from services.hdr_correct.floats import Floats

LEVELS = 8
EVEN_SHARE = 0.2  # of the placement; the rest goes where the photo has its pixels
GUIDE_WEIGHTS = np.array([0.25, 0.5, 0.25], np.float32)


def brightness(planes: Floats) -> Floats:
    """(3, ...) in 0..1 to (...)."""
    red, green, blue = (weight * plane for weight, plane in zip(GUIDE_WEIGHTS, planes, strict=True))
    return np.asarray(red + green + blue, np.float32)


def place_levels(guide: Floats, count: int = LEVELS) -> Floats:
    """(count,) rising from 0 to 1, denser where many pixels are: in a dark photo most of them are dark."""
    even = np.linspace(0, 1, count)
    quantiles = np.quantile(guide, even)
    quantiles[0], quantiles[-1] = 0, 1
    return np.asarray(EVEN_SHARE * even + (1 - EVEN_SHARE) * quantiles, np.float32)


def level_weights(guide: Floats, levels: Floats) -> Floats:
    """(count, ...): hats around the levels, of which the two next to a pixel share it; they add up to 1."""
    above = [np.clip((guide - low) / (high - low), 0, 1) for low, high in pairwise(levels)]
    ends = [np.ones_like(guide), *above, np.zeros_like(guide)]
    return np.stack([ends[at] - ends[at + 1] for at in range(len(levels))])


def used_levels(guide: Floats, levels: Floats) -> slice:
    """Those that have weight anywhere; among themselves they share it as all of them would."""
    first = max(int(np.searchsorted(levels, guide.min(), "right")) - 1, 0)
    last = min(int(np.searchsorted(levels, guide.max(), "left")), len(levels) - 1)
    return slice(first, max(first, last) + 1)


def local_features(planes: Floats, weights: Floats) -> Floats:
    """(3, ...) and (count, ...) to (4 * count, ...): red, green, blue and 1 under each level's weight."""
    homogeneous = np.concatenate([planes, np.ones_like(planes[:1])])
    return np.asarray(weights[:, None] * homogeneous[None], np.float32).reshape(-1, *planes.shape[1:])
