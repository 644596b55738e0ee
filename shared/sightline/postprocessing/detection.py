"""Outputs of object detectors to boxes, and non-maximum suppression, in NumPy for services and training."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
STRIDES = (8, 16, 32, 64)
"""Of the levels of NanoDet-Plus and PicoDet, in pixels of their input."""
BINS = 8
"""Of the distribution over the distance to a side."""
MAX_CANDIDATES = 400
"""Boxes before suppression, whose time grows with their square in the worst case."""


@dataclass(frozen=True, slots=True, eq=False)
class DetectedObjects:
    """n boxes by falling score: boxes_xyxy (n, 4) in pixels, scores (n,) in 0..1, labels (n,) index of the class."""

    boxes_xyxy: Floats
    scores: Floats
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> "DetectedObjects":
        return DetectedObjects(self.boxes_xyxy[chosen], self.scores[chosen], self.labels[chosen])

    def scaled(self, by_x: float, by_y: float) -> "DetectedObjects":
        boxes = self.boxes_xyxy * np.array([by_x, by_y, by_x, by_y], np.float32)
        return DetectedObjects(boxes, self.scores, self.labels)


def best_objects(boxes_xyxy: Floats, scores: Floats, labels: NDArray[np.int64], min_score: float) -> DetectedObjects:
    """The detections of at least `min_score`, by falling score and at most `MAX_CANDIDATES`."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= min_score][:MAX_CANDIDATES]
    return DetectedObjects(
        boxes_xyxy[order].astype(np.float32), scores[order].astype(np.float32), labels[order].astype(np.int64)
    )


def decode_nanodet_plus(output: Floats, classes: int, size: tuple[int, int], min_score: float) -> DetectedObjects:
    """The best boxes of RangiLyu's NanoDet-Plus, before suppression and in pixels of its input of `size` (h, w).

    `output` (cells, classes + 4 * BINS) has the class scores of every cell and four distributions over the distance to
    the left, top, right and bottom side, in strides. ValueError where it has another shape.
    """
    # Its distances start at the corner of a cell; an offset of half a cell moves small boxes by up to half their size.
    return _decode_cells(output[:, :classes], output[:, classes:], cells(size, 0.0), min_score)


def decode_picodet(outputs: Sequence[Floats], classes: int, size: tuple[int, int], min_score: float) -> DetectedObjects:
    """The best boxes of PaddleDetection's PicoDet without its post-processing, as `decode_nanodet_plus` returns them.

    `outputs` are four arrays of class scores (cells, classes) and four of distributions (cells, 4 * BINS), one for each
    stride. Distances start at the centre of a cell.
    """
    scores, bins = np.concatenate(outputs[: len(STRIDES)]), np.concatenate(outputs[len(STRIDES) :])
    if scores.shape[1] != classes:
        raise ValueError(f"{scores.shape[1]} columns of scores for {classes} classes")
    return _decode_cells(scores, bins, cells(size, 0.5), min_score)


Cells = tuple[Floats, Floats]


@cache
def cells(size: tuple[int, int], offset: float) -> Cells:
    """The points (n, 2) that distances of all cells are measured from, and their strides (n,).

    size: height and width of the input; offset: of the point in its cell, in cells.
    """
    points, strides = [], []
    for stride in STRIDES:
        y, x = ((np.arange(-(-side // stride)) + offset) * stride for side in size)
        across, down = np.meshgrid(x, y)
        points.append(np.stack([across.ravel(), down.ravel()], 1))
        strides.append(np.full(across.size, stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _decode_cells(scores: Floats, bins: Floats, every: Cells, min_score: float) -> DetectedObjects:
    """Boxes at the expected distances to the sides (Li et al., "Generalized Focal Loss", NeurIPS 2020).

    ValueError where the arrays have other numbers of cells than the input.
    """
    points, strides = every
    if not len(scores) == len(bins) == len(points):
        raise ValueError(f"{len(scores)} rows of scores and {len(bins)} of distributions for {len(points)} cells")
    if bins.shape[1] != 4 * BINS:
        raise ValueError(f"{bins.shape[1]} columns of distributions, not four times {BINS}")
    at, labels = np.nonzero(scores >= min_score)
    best = np.argsort(-scores[at, labels], kind="stable")[:MAX_CANDIDATES]
    at, labels = at[best], labels[best]
    logits = bins[at].reshape(len(at), 4, BINS)
    weights = np.exp(logits - logits.max(2, keepdims=True))
    distances = (weights @ np.arange(BINS, dtype=np.float32)) / weights.sum(2) * strides[at, None]
    boxes = np.concatenate([points[at] - distances[:, :2], points[at] + distances[:, 2:]], 1)
    return DetectedObjects(boxes.astype(np.float32), scores[at, labels].astype(np.float32), labels.astype(np.int64))


def suppress(boxes_xyxy: Floats, labels: NDArray[np.int64], max_iou: float) -> NDArray[np.intp]:
    """Rows that non-maximum suppression within each class keeps, of boxes by falling score."""
    kept: list[int] = []
    left = np.arange(len(boxes_xyxy))
    while left.size:
        first, left = left[0], left[1:]
        kept.append(int(first))
        same = labels[left] == labels[first]
        left = left[~(same & (iou(boxes_xyxy[left], boxes_xyxy[first]) > max_iou))]
    return np.array(kept, np.intp)


def iou(boxes_xyxy: Floats, box_xyxy: Floats) -> Floats:
    """(n,): intersection over union with one box; 0 where both are empty."""
    shared = _area(
        np.concatenate([np.maximum(boxes_xyxy[:, :2], box_xyxy[:2]), np.minimum(boxes_xyxy[:, 2:], box_xyxy[2:])], 1)
    )
    either = _area(boxes_xyxy) + _area(box_xyxy[None]) - shared
    return np.asarray(shared / np.maximum(either, np.finfo(np.float32).tiny), np.float32)


def _area(boxes_xyxy: Floats) -> Floats:
    return np.asarray(np.prod(np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0), axis=1), np.float32)
