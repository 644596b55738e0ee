"""Detections in a photo, and their merging over several views of it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from sightline.inference.signature import Tensors
from sightline.postprocessing.detection import suppress

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
    merged = merged.sorted_by_score()
    return merged.select(suppress(merged.boxes_xyxy, merged.labels, DUPLICATE_IOU))
