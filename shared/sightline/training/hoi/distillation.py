"""A teacher's boxes where no one drew any, as labels that are as sure as the teacher is."""

from collections.abc import Collection

import numpy as np

from sightline.training.hoi.detections import Detections, iou_matrix
from sightline.training.hoi.truth import Truth, boxes_only
from sightline.training.hoi.verbs import CLASS_INDEX

VOC_CLASSES = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
    "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
)  # fmt: skip
"""The classes that were all annotated in PASCAL VOC, by COCO's names."""
NONE_SURE, ALL_SURE = 0.1, 0.5
"""Scores of NanoDet-Plus, which are of class and place together: below the first a box is nothing, above the second it
is there."""
SAME_BOX_IOU = 0.6
MOST_BOXES = 60


def taught(truth: Truth, found: Detections, known: Collection[str] = ()) -> Truth:
    """The truth with the teacher's boxes of classes that are not `known`, and that are not one of the true boxes."""
    confidence = ((found.scores - NONE_SURE) / (ALL_SURE - NONE_SURE)).clip(0, 1)
    new = (confidence > 0.1) & ~np.isin(found.labels, [CLASS_INDEX[name] for name in known])
    if len(truth):
        new &= iou_matrix(found.boxes_xyxy, truth.boxes_xyxy).max(1, initial=0) < SAME_BOX_IOU
    chosen = np.flatnonzero(new)[: max(MOST_BOXES - len(truth), 0)]
    return truth.with_boxes(boxes_only(found.boxes_xyxy[chosen], found.labels[chosen], confidence[chosen]))
