"""What is known of a picture: boxes, how sure they are, and what the people in it do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sightline.training.hoi.detections import Boxes
from sightline.training.hoi.verbs import SLOTS

UNKNOWN = -1
"""As an action's label: nobody said. As a target: no object was annotated."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Of n boxes: boxes_xyxy (n, 4) in the picture's pixels; labels (n,); confidence (n,) from 1 for true boxes down to
    0 for regions that are nobody's business; actions (n, 29) of 1, 0 or unknown; targets (n, 29), the place of each
    action's object among the boxes, or unknown."""

    boxes_xyxy: Boxes
    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    actions: NDArray[np.int8]
    targets: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.labels)

    def scaled(self, by_x: float, by_y: float) -> "Truth":
        return replace(self, boxes_xyxy=self.boxes_xyxy * np.array([by_x, by_y, by_x, by_y], np.float32))

    def flipped(self, width_px: int) -> "Truth":
        x1, y1, x2, y2 = self.boxes_xyxy.T
        return replace(self, boxes_xyxy=np.stack([width_px - x2, y1, width_px - x1, y2], 1))

    def with_boxes(self, other: "Truth") -> "Truth":
        """Both, the other's after these; the other's targets must be of its own boxes."""
        moved = np.where(other.targets >= 0, other.targets + len(self), other.targets).astype(np.int16)
        pairs = zip(arrays(self), arrays(replace(other, targets=moved)), strict=True)
        return Truth(*(np.concatenate(pair) for pair in pairs))


def arrays(truth: Truth) -> tuple[NDArray[np.generic], ...]:
    return truth.boxes_xyxy, truth.labels, truth.confidence, truth.actions, truth.targets


def boxes_only(
    boxes: Boxes, labels: NDArray[np.int64], confidence: NDArray[np.float32] | None = None, *, slots: int = len(SLOTS)
) -> Truth:
    """Boxes of which nobody said what the people among them do."""
    count = len(labels)
    sure = np.ones(count, np.float32) if confidence is None else confidence
    unknown = np.full((count, slots), UNKNOWN)
    return Truth(
        boxes.reshape(-1, 4).astype(np.float32), labels, sure, unknown.astype(np.int8), unknown.astype(np.int16)
    )


def concatenated(truths: Sequence[Truth]) -> tuple[tuple[NDArray[np.generic], ...], NDArray[np.int64]]:
    """The arrays of all, one after the other, and where each begins and the last ends."""
    ends = np.cumsum([0, *(len(truth) for truth in truths)])
    columns = zip(*(arrays(truth) for truth in truths), strict=True)
    return tuple(np.concatenate(column) for column in columns), ends
