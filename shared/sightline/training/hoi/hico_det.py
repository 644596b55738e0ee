"""HICO-DET: reader and metric of its 600 classes of a verb with an object class.

Chao et al., "Learning to Detect Human-Object Interactions", WACV 2018. The metric is the mean average precision of
triplets in the default setting: a triplet is right when person and object both overlap an annotated pair of its class
with an IoU of at least 0.5, and precision is interpolated at eleven recalls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from numpy.typing import NDArray

from sightline.training.hoi.annotations import CLASS_INDEX, PERSON, Boxes, boxes_without_actions, iou_matrix
from sightline.training.hoi.average_precision import eleven_point_precision
from sightline.training.hoi.datasets import Scene

MATCH_IOU = 0.5
MIN_COMMON_INSTANCES = 10
"""Classes with fewer training instances are rare."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The t triplets of one picture: people (t, 4) and objects (t, 4) in pixels, and classes (t,) in 0..599."""

    people: Boxes
    objects: Boxes
    classes: np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class HicoDet:
    """A split of the data set. `verbs` in the order of first appearance are the network's slots; `hois` has the verb
    and the object of each of the 600 classes, as indices of `verbs` and `COCO_CLASSES`."""

    verbs: tuple[str, ...]
    hois: tuple[tuple[int, int], ...]
    scenes: tuple[Scene, ...]
    pairs: tuple[Pairs, ...]


def read_hico_det(annotations: Path, images: Path, split: str) -> HicoDet:
    """Reads a split, train or test, of the official `anno_bbox.mat`. Triplets without a visible pair are left out."""
    document = scipy.io.loadmat(str(annotations), struct_as_record=False, squeeze_me=True)
    actions = np.atleast_1d(document["list_action"])
    verbs = tuple(dict.fromkeys(str(each.vname) for each in actions))
    hois = tuple((verbs.index(str(each.vname)), CLASS_INDEX[str(each.nname).replace("_", " ")]) for each in actions)
    rows = np.atleast_1d(document[f"bbox_{split}"])
    pairs = tuple(_triplets(row) for row in rows)
    scenes = tuple(_scene(row, each, images, hois, len(verbs)) for row, each in zip(rows, pairs, strict=True))
    return HicoDet(verbs, hois, scenes, pairs)


def _triplets(row: Any) -> Pairs:
    people, objects, classes = [], [], []
    for hoi in np.atleast_1d(row.hoi):
        if int(hoi.invis):
            continue
        for person, object_row in np.atleast_2d(hoi.connection).astype(int):
            people.append(_corners(np.atleast_1d(hoi.bboxhuman)[person - 1]))
            objects.append(_corners(np.atleast_1d(hoi.bboxobject)[object_row - 1]))
            classes.append(int(hoi.id) - 1)
    first, second = (np.array(each, np.float32).reshape(-1, 4) for each in (people, objects))
    return Pairs(first, second, np.array(classes, np.int64))


def _corners(box: Any) -> tuple[float, float, float, float]:
    """Corners x1, y1, x2, y2. MATLAB counts from 1."""
    return float(box.x1) - 1, float(box.y1) - 1, float(box.x2), float(box.y2)


def _scene(row: Any, pairs: Pairs, images: Path, hois: Sequence[tuple[int, int]], slots: int) -> Scene:
    """A scene in which equal boxes are one, and verbs that are not annotated for a person are 0."""
    verbs_and_objects = [hois[at] for at in pairs.classes.tolist()]
    keys = [(*box, PERSON) for box in pairs.people.tolist()]
    keys += [(*box, label) for box, (_, label) in zip(pairs.objects.tolist(), verbs_and_objects, strict=True)]
    row_of = {key: at for at, key in enumerate(dict.fromkeys(keys))}
    table = np.array(list(row_of), np.float32).reshape(-1, 5)
    truth = boxes_without_actions(table[:, :4], table[:, 4].astype(np.int64), slots=slots)
    for at, (verb, _) in enumerate(verbs_and_objects):
        person = row_of[keys[at]]
        truth.actions[person] = np.maximum(truth.actions[person], 0)
        truth.actions[person, verb] = 1
        truth.targets[person, verb] = row_of[keys[len(verbs_and_objects) + at]]
    size = int(row.size.width), int(row.size.height)
    return Scene(images / str(row.filename), *size, truth)


def rare_classes(training: Sequence[Pairs], count: int = 600) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(600,) True for classes with fewer than 10 training instances."""
    classes = np.concatenate([each.classes for each in training]) if training else np.zeros(0, np.int64)
    return np.bincount(classes, minlength=count) < MIN_COMMON_INSTANCES


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPairs:
    """Predicted triplets of one picture with their scores (t,)."""

    pairs: Pairs
    scores: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MeanPrecision:
    """Mean average precision over all classes, the rare ones and the others."""

    full: float
    rare: float
    non_rare: float


def mean_precision(
    predictions: Sequence[ScoredPairs], truths: Sequence[Pairs], rare: NDArray[np.bool_]
) -> MeanPrecision:
    """Means over the classes that occur in the truths; NaN for a group without any. rare: (classes,)."""
    precisions = np.array([class_precision(predictions, truths, at) for at in range(len(rare))])
    occurs = ~np.isnan(precisions)
    groups = (occurs, occurs & rare, occurs & ~rare)
    return MeanPrecision(*(float(precisions[group].mean()) if group.any() else float("nan") for group in groups))


def class_precision(predictions: Sequence[ScoredPairs], truths: Sequence[Pairs], of_class: int) -> float:
    """Average precision of one class; NaN where the truths have none of it."""
    is_right: list[NDArray[np.bool_]] = []
    scores: list[NDArray[np.float32]] = []
    count = 0
    for predicted, truth in zip(predictions, truths, strict=True):
        expected, candidates = truth.classes == of_class, np.flatnonzero(predicted.pairs.classes == of_class)
        ranked = candidates[np.argsort(-predicted.scores[candidates], kind="stable")]
        is_right.append(_first_matches(predicted.pairs, ranked, truth, np.flatnonzero(expected)))
        scores.append(predicted.scores[ranked])
        count += int(expected.sum())
    return eleven_point_precision(np.concatenate(is_right), np.concatenate(scores), count)


def _first_matches(
    predicted: Pairs, ranked: NDArray[np.int64], truth: Pairs, expected: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Matches each pair with the annotated pair that it fits best, whose first match alone is right."""
    hits = np.zeros(len(ranked), bool)
    if not len(expected):
        return hits
    people = iou_matrix(predicted.people[ranked], truth.people[expected])
    fits = np.minimum(people, iou_matrix(predicted.objects[ranked], truth.objects[expected]))
    taken = np.zeros(len(expected), bool)
    for at, best in enumerate(fits.argmax(1)):
        hits[at] = fits[at, best] >= MATCH_IOU and not taken[best]
        taken[best] |= fits[at, best] >= MATCH_IOU
    return hits
