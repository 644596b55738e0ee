"""Boxes with classes and scores, as a detector gives them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
"""(n, 4) corners x1, y1, x2, y2 in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """boxes_xyxy: (n, 4); labels: (n,) int64 among COCO's 80 in order; scores: (n,) float32 in 0..1."""

    boxes_xyxy: Boxes
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Detections":
        return Detections(self.boxes_xyxy[chosen], self.labels[chosen], self.scores[chosen])

    def scaled(self, by_x: float, by_y: float) -> "Detections":
        factors = np.array([by_x, by_y, by_x, by_y], np.float32)
        return Detections(self.boxes_xyxy * factors, self.labels, self.scores)

    def flipped(self, width: float) -> "Detections":
        x1, y1, x2, y2 = self.boxes_xyxy.T
        return Detections(np.stack([width - x2, y1, width - x1, y2], 1), self.labels, self.scores)


def iou_matrix(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """(n, m) intersections over unions of (n, 4) and (m, 4)."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (bottom_right - top_left).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1) for boxes in (first, second)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared).clip(1e-9), np.float32)


def suppress(detections: Detections, iou_threshold: float, *, at_most: int) -> Detections:
    """Per-class non-maximum suppression; what is kept falls in score."""
    order = np.argsort(-detections.scores, kind="stable")
    ranked = detections.where(order)
    overlaps = iou_matrix(ranked.boxes_xyxy, ranked.boxes_xyxy) > iou_threshold
    rivals = np.triu(overlaps & (ranked.labels[:, None] == ranked.labels[None]), 1)
    kept = np.ones(len(ranked), bool)
    for at in range(len(ranked)):
        if kept[at]:
            kept &= ~rivals[at]
    return ranked.where(np.flatnonzero(kept)[:at_most])
