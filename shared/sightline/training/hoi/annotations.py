"""Boxes and labels of pictures: COCO's classes, V-COCO's actions (Gupta and Malik, arXiv:1505.04474), detections and
ground truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from sightline.postprocessing.detection import COCO_CLASSES as COCO_CLASSES

CLASS_INDEX = {name: at for at, name in enumerate(COCO_CLASSES)}
COCO_ID_GAPS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
COCO_IDS = tuple(number for number in range(1, 91) if number not in COCO_ID_GAPS)
"""COCO's category ids, in the order of `COCO_CLASSES`."""
INDEX_OF_COCO_ID = {number: at for at, number in enumerate(COCO_IDS)}
PERSON = CLASS_INDEX["person"]

ROLES: dict[str, tuple[str, ...]] = {
    "hold": ("obj",), "stand": (), "sit": ("instr",), "ride": ("instr",), "walk": (), "look": ("obj",),
    "hit": ("instr", "obj"), "eat": ("obj", "instr"), "jump": ("instr",), "lay": ("instr",),
    "talk_on_phone": ("instr",), "carry": ("obj",), "throw": ("obj",), "catch": ("obj",), "cut": ("instr", "obj"),
    "run": (), "work_on_computer": ("instr",), "ski": ("instr",), "surf": ("instr",), "skateboard": ("instr",),
    "smile": (), "drink": ("instr",), "kick": ("obj",), "point": ("instr",), "read": ("obj",),
    "snowboard": ("instr",),
}  # fmt: skip
"""The 26 actions in the official order with their roles besides the agent."""
ACTIONS = tuple(ROLES)

SLOTS: tuple[tuple[str, str | None], ...] = tuple(
    (action, role) for action, roles in ROLES.items() for role in (roles or (None,))
)
"""The 29 pairs of action and role. The role is None for an action without roles."""
SLOT_INDEX = {slot: at for at, slot in enumerate(SLOTS)}
SLOTS_OF = {action: tuple(at for at, (name, _) in enumerate(SLOTS) if name == action) for action in ACTIONS}

_SEATS = ("bench", "chair", "couch", "bed", "toilet", "dining table")
_CUTLERY = ("fork", "knife", "spoon")
_FOOD = ("banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake")
ALLOWED_CLASSES: dict[tuple[str, str], tuple[str, ...]] = {
    ("sit", "instr"): ("bicycle", "motorcycle", "horse", "elephant", *_SEATS, "suitcase", "handbag", "backpack"),
    ("ride", "instr"): (
        "bicycle", "motorcycle", "bus", "truck", "boat", "train", "airplane", "car", "horse", "elephant",
    ),
    ("hit", "instr"): ("tennis racket", "baseball bat"),
    ("hit", "obj"): ("sports ball",),
    ("eat", "obj"): _FOOD,
    ("eat", "instr"): _CUTLERY,
    ("jump", "instr"): ("snowboard", "skis", "skateboard", "surfboard"),
    ("lay", "instr"): _SEATS,
    ("talk_on_phone", "instr"): ("cell phone",),
    ("throw", "obj"): ("sports ball", "frisbee"),
    ("catch", "obj"): ("sports ball", "frisbee"),
    ("cut", "instr"): ("scissors", "fork", "knife"),
    ("work_on_computer", "instr"): ("laptop",),
    ("ski", "instr"): ("skis",),
    ("surf", "instr"): ("surfboard",),
    ("skateboard", "instr"): ("skateboard",),
    ("drink", "instr"): ("wine glass", "bottle", "cup", "bowl"),
    ("kick", "obj"): ("sports ball",),
    ("read", "obj"): ("book",),
    ("snowboard", "instr"): ("snowboard",),
}  # fmt: skip
"""Object classes that V-COCO's annotators could choose from for a role. Roles that are not listed take any class."""

UNKNOWN = -1
"""An action that was not annotated, or a target without an annotated object."""

Boxes = NDArray[np.float32]
"""(n, 4) corners x1, y1, x2, y2 in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Detected boxes_xyxy (n, 4), their labels (n,) int64 in the order of `COCO_CLASSES`, and scores (n,) in 0..1."""

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
        return Detections(_flip(self.boxes_xyxy, width), self.labels, self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """Annotations of a picture with n boxes.

    boxes_xyxy: (n, 4) in the picture's pixels; labels: (n,); confidence: (n,) from 1 for annotated boxes down to 0 for
    regions to ignore; actions: (n, 29) of 1, 0 or UNKNOWN; targets: (n, 29) row of each action's object or UNKNOWN.
    """

    boxes_xyxy: Boxes
    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    actions: NDArray[np.int8]
    targets: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.labels)

    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        return self.boxes_xyxy, self.labels, self.confidence, self.actions, self.targets

    def scaled(self, by_x: float, by_y: float) -> "GroundTruth":
        return replace(self, boxes_xyxy=self.boxes_xyxy * np.array([by_x, by_y, by_x, by_y], np.float32))

    def flipped(self, width_px: int) -> "GroundTruth":
        return replace(self, boxes_xyxy=_flip(self.boxes_xyxy, width_px))

    def with_boxes(self, other: "GroundTruth") -> "GroundTruth":
        """Appends the boxes of `other`, whose targets must be its own rows."""
        moved = np.where(other.targets >= 0, other.targets + len(self), other.targets).astype(np.int16)
        pairs = zip(self.arrays(), replace(other, targets=moved).arrays(), strict=True)
        return GroundTruth(*(np.concatenate(pair) for pair in pairs))


def boxes_without_actions(
    boxes: Boxes, labels: NDArray[np.int64], confidence: NDArray[np.float32] | None = None, *, slots: int = len(SLOTS)
) -> GroundTruth:
    """Ground truth whose actions and targets are all unknown."""
    count = len(labels)
    confidence = np.ones(count, np.float32) if confidence is None else confidence
    unknown = np.full((count, slots), UNKNOWN)
    return GroundTruth(
        boxes.reshape(-1, 4).astype(np.float32), labels, confidence, unknown.astype(np.int8), unknown.astype(np.int16)
    )


def concatenate_arrays(
    truths: Sequence[GroundTruth],
) -> tuple[tuple[NDArray[np.generic], ...], NDArray[np.int64]]:
    """The concatenated arrays of all pictures, and the row where each picture begins and the last one ends."""
    ends = np.cumsum([0, *(len(truth) for truth in truths)])
    columns = zip(*(truth.arrays() for truth in truths), strict=True)
    return tuple(np.concatenate(column) for column in columns), ends


def _flip(boxes: Boxes, width: float) -> Boxes:
    x1, y1, x2, y2 = boxes.T
    return np.stack([width - x2, y1, width - x1, y2], 1)


def iou_matrix(first: Boxes, second: Boxes) -> NDArray[np.float32]:
    """(n, m) intersections over unions of (n, 4) and (m, 4), 0 for boxes without area."""
    overlaps: Tensor = box_iou(torch.from_numpy(first), torch.from_numpy(second))
    return np.asarray(overlaps.nan_to_num(0), np.float32)
