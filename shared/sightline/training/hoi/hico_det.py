"""HICO-DET: 600 classes of a verb with an object class (Chao et al., "Learning to Detect Human-Object Interactions",
WACV 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from sightline.training.hoi.coco import Scene
from sightline.training.hoi.detections import Boxes
from sightline.training.hoi.truth import boxes_only
from sightline.training.hoi.verbs import CLASS_INDEX, PERSON

RARE_BELOW = 10
"""Training instances."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Of one picture, t triplets: people (t, 4) and objects (t, 4) in pixels, and their classes (t,) in 0..599."""

    people: Boxes
    objects: Boxes
    classes: np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class HicoDet:
    """`verbs`, in the order of first appearance, are the network's slots; `hois` says the verb and the object of each
    of the 600 classes, as places in `verbs` and among COCO's classes."""

    verbs: tuple[str, ...]
    hois: tuple[tuple[int, int], ...]
    scenes: tuple[Scene, ...]
    pairs: tuple[Pairs, ...]


def read_hico_det(annotations: Path, images: Path, split: str) -> HicoDet:
    """The official `anno_bbox.mat`; `split` is train or test and names the list in it. Triplets without a visible pair
    have no boxes and are left out."""
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
        for person, thing in np.atleast_2d(hoi.connection).astype(int):
            people.append(_corners(np.atleast_1d(hoi.bboxhuman)[person - 1]))
            objects.append(_corners(np.atleast_1d(hoi.bboxobject)[thing - 1]))
            classes.append(int(hoi.id) - 1)
    first, second = (np.array(each, np.float32).reshape(-1, 4) for each in (people, objects))
    return Pairs(first, second, np.array(classes, np.int64))


def _corners(box: Any) -> tuple[float, float, float, float]:
    """MATLAB counts from 1."""
    return float(box.x1) - 1, float(box.y1) - 1, float(box.x2), float(box.y2)


def _scene(row: Any, pairs: Pairs, images: Path, hois: Sequence[tuple[int, int]], slots: int) -> Scene:
    """Equal boxes are one, and every verb that is not said of a person is 0."""
    named = [hois[at] for at in pairs.classes.tolist()]
    keys = [(*box, PERSON) for box in pairs.people.tolist()]
    keys += [(*box, thing) for box, (_, thing) in zip(pairs.objects.tolist(), named, strict=True)]
    place = {key: at for at, key in enumerate(dict.fromkeys(keys))}
    table = np.array(list(place), np.float32).reshape(-1, 5)
    truth = boxes_only(table[:, :4], table[:, 4].astype(np.int64), slots=slots)
    for at, (verb, _) in enumerate(named):
        person = place[keys[at]]
        truth.actions[person] = np.maximum(truth.actions[person], 0)
        truth.actions[person, verb] = 1
        truth.targets[person, verb] = place[keys[len(named) + at]]
    size = int(row.size.width), int(row.size.height)
    return Scene(images / str(row.filename), *size, truth)


def rare_classes(training: Sequence[Pairs], count: int = 600) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(600,) whether a class has fewer training instances than 10."""
    classes = np.concatenate([each.classes for each in training]) if training else np.zeros(0, np.int64)
    return np.bincount(classes, minlength=count) < RARE_BELOW
