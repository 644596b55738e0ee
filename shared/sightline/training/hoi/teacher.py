"""NanoDet-Plus as a teacher: an exported COCO detector whose boxes stand in where no one drew any."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.training.hoi.detections import Detections, suppress
from sightline.training.hoi.sessions import cpu_session
from sightline.training.photos import Picture

SIDE_PX = 416
MEAN = np.array([103.53, 116.28, 123.675], np.float32)
STD = np.array([57.375, 57.12, 58.395], np.float32)
STRIDES = (8, 16, 32, 64)
CLASSES, BINS = 80, 8
NMS_IOU = 0.6
MOST_CANDIDATES, MOST_BOXES = 400, 100


class NanoDetPlus:
    """`detect(picture)`: its boxes at or above `least_score`, in the picture's pixels.

    The file is RangiLyu's NanoDet-Plus-m at 416 px: `data` (b, 3, 416, 416) normalised BGR to `output` (b, 3598, 112),
    80 class scores and four distributions over 8 bins of the distance to each side, in strides.
    """

    def __init__(self, path: Path, *, least_score: float = 0.05, threads: int = 1) -> None:
        self.session = cpu_session(path, threads=threads)
        self.least_score = least_score

    def detect(self, picture: Picture) -> Detections:
        stretched = np.asarray(cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), np.uint8)
        (output,) = self.session.run(["output"], {"data": normalized(stretched[None])})
        found = decoded(np.asarray(output[0], np.float32), self.least_score)
        height, width = picture.shape[:2]
        return suppress(found, NMS_IOU, at_most=MOST_BOXES).scaled(width / SIDE_PX, height / SIDE_PX)


def normalized(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(b, h, w, 3) RGB to (b, 3, h, w) as the network wants it."""
    return np.ascontiguousarray(((pictures[..., ::-1].astype(np.float32) - MEAN) / STD).transpose(0, 3, 1, 2))


def decoded(output: NDArray[np.float32], least_score: float) -> Detections:
    """The likeliest boxes of one picture's output (3598, 112), in the pixels of the network's square."""
    scores = output[:, :CLASSES]
    cells, labels = np.nonzero(scores >= least_score)
    best = np.argsort(-scores[cells, labels], kind="stable")[:MOST_CANDIDATES]
    cells, labels = cells[best], labels[best]
    corners, strides = _cells()
    bins = output[cells, CLASSES:].reshape(-1, 4, BINS)
    weights = np.exp(bins - bins.max(2, keepdims=True))
    distances = (weights @ np.arange(BINS, dtype=np.float32)) / weights.sum(2) * strides[cells, None]
    x, y = corners[cells].T
    left, top, right, bottom = distances.T
    boxes = np.stack([x - left, y - top, x + right, y + bottom], 1).clip(0, SIDE_PX)
    return Detections(boxes.astype(np.float32), labels.astype(np.int64), scores[cells, labels])


@cache
def _cells() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The corner (n, 2) that each row of the output measures from, and its stride (n,)."""
    corners, strides = [], []
    for stride in STRIDES:
        along = np.arange(-(-SIDE_PX // stride)) * stride
        x, y = np.meshgrid(along, along)
        corners.append(np.stack([x.ravel(), y.ravel()], 1))
        strides.append(np.full(x.size, stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)
