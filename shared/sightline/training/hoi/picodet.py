"""PicoDet as a second teacher, and as a detection stage to compare with: a public COCO detector exported to ONNX."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.training.hoi.detections import Detections, suppress
from sightline.training.hoi.sessions import cpu_session
from sightline.training.photos import Picture

SIDE_PX = 416
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
STRIDES = (8, 16, 32, 64)
BINS = 8
NMS_IOU = 0.6
MAX_CANDIDATES, MAX_BOXES = 400, 100


class PicoDet:
    """`detect(picture)`: boxes whose score is at least `min_score`, in the picture's pixels.

    The file is PaddleDetection's PicoDet-S at 416 px without post-processing: normalised RGB (1, 3, 416, 416) to four
    arrays of class scores (1, cells, 80) and four of box distributions (1, cells, 4 * 8), one for each stride.
    """

    def __init__(self, path: Path, *, min_score: float = 0.05, threads: int = 1) -> None:
        self.session = cpu_session(path, threads=threads)
        self.input = self.session.get_inputs()[0].name
        self.min_score = min_score

    def detect(self, picture: Picture) -> Detections:
        stretched = np.asarray(cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), np.float32)
        outputs = self.session.run(None, {self.input: ((stretched - MEAN) / STD).transpose(2, 0, 1)[None]})
        levels = len(STRIDES)
        scores = np.concatenate([each[0] for each in outputs[:levels]])
        bins = np.concatenate([each[0] for each in outputs[levels:]])
        found = suppress(decoded(scores, bins, self.min_score), NMS_IOU, at_most=MAX_BOXES)
        height, width = picture.shape[:2]
        return found.scaled(width / SIDE_PX, height / SIDE_PX)


def decoded(scores: NDArray[np.float32], bins: NDArray[np.float32], min_score: float) -> Detections:
    """The best boxes of scores (cells, 80) and distributions (cells, 32), in the pixels of the network's square."""
    cells, labels = np.nonzero(scores >= min_score)
    best = np.argsort(-scores[cells, labels], kind="stable")[:MAX_CANDIDATES]
    cells, labels = cells[best], labels[best]
    centres, strides = _cells()
    logits = bins[cells].reshape(-1, 4, BINS)
    weights = np.exp(logits - logits.max(2, keepdims=True))
    distances = (weights @ np.arange(BINS, dtype=np.float32)) / weights.sum(2) * strides[cells, None]
    x, y = centres[cells].T
    left, top, right, bottom = distances.T
    boxes = np.stack([x - left, y - top, x + right, y + bottom], 1).clip(0, SIDE_PX)
    return Detections(boxes.astype(np.float32), labels.astype(np.int64), scores[cells, labels].astype(np.float32))


@cache
def _cells() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The centre (n, 2) of each cell and its stride (n,)."""
    centres, strides = [], []
    for stride in STRIDES:
        along = (np.arange(-(-SIDE_PX // stride)) + 0.5) * stride
        x, y = np.meshgrid(along, along)
        centres.append(np.stack([x.ravel(), y.ravel()], 1))
        strides.append(np.full(x.size, stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(strides).astype(np.float32)
