"""What the networks found in a photo, or in several views of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sightline.inference.signature import Tensors

Floats = NDArray[np.float32]

SAME_THING_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """n boxes by falling score, and for each what the interaction network says of it.

    boxes_xyxy: (n, 4) in pixels of the photo; scores: (n,) in 0..1; labels: (n,) index of the class;
    actions: (n, slots) in 0..1 and targets: (n, slots, 4), both of people only and 0 for others;
    person_logits, object_logits: (n, slots).
    """

    boxes_xyxy: Floats
    scores: Floats
    labels: NDArray[np.int64]
    actions: Floats
    targets: Floats
    person_logits: Floats
    object_logits: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "Found":
        return Found(*(getattr(self, each.name)[chosen] for each in fields(self)))

    def best_first(self) -> "Found":
        return self.at(np.argsort(-self.scores, kind="stable"))


def found_in(outputs: Tensors, least_score: float) -> Found:
    """Without the rows that only fill the tensors up; boxes as the network gives them."""
    found = Found(
        outputs["boxes"],
        outputs["scores"],
        outputs["labels"],
        outputs["actions"],
        outputs["targets"],
        outputs["person_logits"],
        outputs["object_logits"],
    )
    return found.at((found.scores > 0) & (found.scores >= least_score))


def together(parts: Sequence[Found]) -> Found:
    """Of several views, each thing once: in the view in which it is surest."""
    every = Found(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Found)))
    return distinct(every.best_first())


def distinct(found: Found) -> Found:
    """Non-maximum suppression within each class; `found` has its boxes by falling score."""
    kept: list[int] = []
    left = np.arange(len(found))
    while left.size:
        first, left = left[0], left[1:]
        kept.append(int(first))
        same = found.labels[left] == found.labels[first]
        overlaps = iou(found.boxes_xyxy[left], found.boxes_xyxy[first]) > SAME_THING_IOU
        left = left[~(same & overlaps)]
    return found.at(np.array(kept, np.intp))


def iou(boxes_xyxy: Floats, box_xyxy: Floats) -> Floats:
    """(n,): intersection over union with one box; 0 where both are empty."""
    shared = _area(
        np.concatenate([np.maximum(boxes_xyxy[:, :2], box_xyxy[:2]), np.minimum(boxes_xyxy[:, 2:], box_xyxy[2:])], 1)
    )
    either = _area(boxes_xyxy) + _area(box_xyxy[None]) - shared
    return np.asarray(shared / np.maximum(either, np.finfo(np.float32).tiny), np.float32)


def _area(boxes_xyxy: Floats) -> Floats:
    return np.asarray(np.prod(np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0), axis=1), np.float32)
