"""Detections in a photo, and their merging over several views of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sightline.inference.signature import Tensors

Floats = NDArray[np.float32]

DUPLICATE_IOU = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """n boxes by falling score, with the outputs of the interaction network for each.

    boxes_xyxy: (n, 4) in pixels of the photo; scores: (n,) in 0..1; labels: (n,) index of the class;
    actions: (n, slots) in 0..1 and targets: (n, slots, 4), of people, 0 for others;
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

    def select(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "Detections":
        return Detections(*(getattr(self, each.name)[chosen] for each in fields(self)))

    def sorted_by_score(self) -> "Detections":
        return self.select(np.argsort(-self.scores, kind="stable"))


def detections_from(outputs: Tensors, min_score: float) -> Detections:
    """The detections of at least `min_score`, without the padding rows; boxes in pixels of the view."""
    detections = Detections(
        outputs["boxes"],
        outputs["scores"],
        outputs["labels"],
        outputs["actions"],
        outputs["targets"],
        outputs["person_logits"],
        outputs["object_logits"],
    )
    return detections.select((detections.scores > 0) & (detections.scores >= min_score))


def merge_views(parts: Sequence[Detections]) -> Detections:
    """The detections of several views without duplicates: each from the view with the highest score."""
    merged = Detections(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Detections)))
    return suppress_duplicates(merged.sorted_by_score())


def suppress_duplicates(detections: Detections) -> Detections:
    """Non-maximum suppression within each class; the detections are sorted by falling score."""
    kept: list[int] = []
    left = np.arange(len(detections))
    while left.size:
        first, left = left[0], left[1:]
        kept.append(int(first))
        same = detections.labels[left] == detections.labels[first]
        overlaps = iou(detections.boxes_xyxy[left], detections.boxes_xyxy[first]) > DUPLICATE_IOU
        left = left[~(same & overlaps)]
    return detections.select(np.array(kept, np.intp))


def iou(boxes_xyxy: Floats, box_xyxy: Floats) -> Floats:
    """(n,): intersection over union with one box; 0 where both are empty."""
    shared = _area(
        np.concatenate([np.maximum(boxes_xyxy[:, :2], box_xyxy[:2]), np.minimum(boxes_xyxy[:, 2:], box_xyxy[2:])], 1)
    )
    either = _area(boxes_xyxy) + _area(box_xyxy[None]) - shared
    return np.asarray(shared / np.maximum(either, np.finfo(np.float32).tiny), np.float32)


def _area(boxes_xyxy: Floats) -> Floats:
    return np.asarray(np.prod(np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0), axis=1), np.float32)
