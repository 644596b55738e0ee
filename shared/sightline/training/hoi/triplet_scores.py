"""HICO-DET's measure: mean average precision of triplets over its 600 classes, in the default setting.

Chao et al., WACV 2018: a triplet is right when person and object both overlap an annotated pair of its class by half,
and the precision is interpolated at eleven recalls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.training.hoi.average_precision import eleven_point_precision
from sightline.training.hoi.detections import iou_matrix
from sightline.training.hoi.hico_det import Pairs

MATCH_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class FoundPairs:
    """Of one picture: the pairs with their scores (t,)."""

    pairs: Pairs
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MeanPrecision:
    full: float
    rare: float
    non_rare: float


def mean_precision(found: Sequence[FoundPairs], truths: Sequence[Pairs], rare: NDArray[np.bool_]) -> MeanPrecision:
    """Over the classes that occur in the truths; NaN for a group of which none does. rare: (classes,)."""
    each = np.array([class_precision(found, truths, at) for at in range(len(rare))])
    there = ~np.isnan(each)
    groups = (there, there & rare, there & ~rare)
    return MeanPrecision(*(float(each[group].mean()) if group.any() else float("nan") for group in groups))


def class_precision(found: Sequence[FoundPairs], truths: Sequence[Pairs], of_class: int) -> float:
    right: list[NDArray[np.bool_]] = []
    scores: list[NDArray[np.float32]] = []
    count = 0
    for given, truth in zip(found, truths, strict=True):
        wanted, mine = truth.classes == of_class, np.flatnonzero(given.pairs.classes == of_class)
        ranked = mine[np.argsort(-given.scores[mine], kind="stable")]
        right.append(_first_matches(given.pairs, ranked, truth, np.flatnonzero(wanted)))
        scores.append(given.scores[ranked])
        count += int(wanted.sum())
    return eleven_point_precision(np.concatenate(right), np.concatenate(scores), count)


def _first_matches(
    given: Pairs, ranked: NDArray[np.int64], truth: Pairs, wanted: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """A pair is matched with the one that it fits best, whose first match alone counts."""
    hits = np.zeros(len(ranked), bool)
    if not len(wanted):
        return hits
    people = iou_matrix(given.people[ranked], truth.people[wanted])
    fits = np.minimum(people, iou_matrix(given.objects[ranked], truth.objects[wanted]))
    taken = np.zeros(len(wanted), bool)
    for at, best in enumerate(fits.argmax(1)):
        hits[at] = fits[at, best] >= MATCH_IOU and not taken[best]
        taken[best] |= fits[at, best] >= MATCH_IOU
    return hits
