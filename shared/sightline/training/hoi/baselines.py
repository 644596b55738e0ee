"""What can be said of boxes without looking at them: how often each verb is done, and that objects are near people."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sightline.networks.boxes import encode
from sightline.postprocessing.interactions import NO_OBJECT
from sightline.training.hoi.predictions import Boxes, Triplets
from sightline.training.hoi.truth import Truth

NEARNESS_SIGMA = 1.0
"""Of the distance between the centres, in sizes of the person."""


def verb_prior(truths: Sequence[Truth]) -> Tensor:
    """(slots,) how many of the people whose actions are known do each."""
    known = np.concatenate([truth.actions[(truth.actions >= 0).any(1)] for truth in truths])
    return torch.from_numpy((known == 1).mean(0).astype(np.float32))


def by_prior(seen: Boxes, prior: Tensor, plausible: Tensor, *, near: bool) -> Triplets:
    """The same boxes composed by the prior alone, or times a Gaussian of the distance; plausible: (n, slots)."""
    people = seen.boxes[seen.people]
    offsets = encode(seen.boxes[None], people[:, None])[..., :2]
    nearness = (-offsets.square().sum(-1) / (2 * NEARNESS_SIGMA**2)).exp() if near else torch.ones(offsets.shape[:2])
    fits = seen.scores[None, :, None] * nearness[:, :, None] * prior * plausible
    fits[torch.arange(len(people)), seen.people] = 0
    best, objects = fits.max(1)
    agents = seen.scores[seen.people][:, None] * prior
    return Triplets(torch.where(best > 0, objects, NO_OBJECT), seen.scores[seen.people][:, None] * best, agents)
