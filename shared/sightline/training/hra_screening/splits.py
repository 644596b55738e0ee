"""Splits by source, so that no source is in two splits, and near-duplicates across a split."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.api.screening import CATEGORIES
from sightline.imaging.perceptual_hash import near_duplicates, perceptual_hash
from sightline.training.hra_screening.examples import Example
from sightline.training.photos import read_rgb

FOLDS = 5
LARGE = 90


def hold_out(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Development examples, and held-out ones, whose sources are in `val` or `test` alone."""
    seen = {example.source for example in examples if example.split not in ("val", "test")}
    kept = [example for example in examples if example.split in ("val", "test") and example.source not in seen]
    chosen = {example.path for example in kept}
    return [example for example in examples if example.path not in chosen], kept


def source_folds(examples: Sequence[Example], count: int, *, together: int = LARGE) -> NDArray[np.int64]:
    """Fold of each example, with classes spread evenly; -1 (always trained on) for sources of at least `together`
    pictures.

    Pictures of such a set resemble each other. Leaving it out would measure a model without most of its data instead of
    the quality on new sources.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for at, example in enumerate(examples):
        members[example.source].append(at)
    fold = np.full(len(examples), -1)
    labels = np.eye(len(CATEGORIES))[[example.label for example in examples]]
    whole = labels.sum(0).clip(1)
    filled = np.zeros((count, len(CATEGORIES)))
    for _, places in sorted(members.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(places) >= together:
            continue
        share = labels[places].sum(0) / whole
        best = int(np.argmin(((filled + share) ** 2 - filled**2).sum(1)))
        filled[best] += share
        fold[places] = best
    return fold


def leaks(examples: Sequence[Example], others: Sequence[Example]) -> list[tuple[Example, Example]]:
    """Pairs of near-duplicates with one picture in each split."""
    both = [*examples, *others]
    groups = near_duplicates([perceptual_hash(read_rgb(each.path)) for each in both])
    return [
        (both[first], both[second])
        for group in groups
        for first in group
        for second in group
        if first < len(examples) <= second
    ]


def balanced_weights(examples: Sequence[Example], *, classes: float, sources: float) -> NDArray[np.float32]:
    """Weight of each example, 1 on average: inverse sizes of its class and of its source, to these powers."""
    size: dict[str, int] = defaultdict(int)
    for example in examples:
        size[example.source] += 1
    weights = np.array([size[example.source] ** -sources for example in examples])
    labels = np.array([example.label for example in examples])
    of_class = np.bincount(labels, weights, minlength=len(CATEGORIES))
    weights = weights * of_class[labels] ** -classes
    return np.asarray(weights / weights.mean(), np.float32)
