"""Exported COCO detectors that label pictures for the training, and their features for distillation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor, nn
from torchvision.ops import batched_nms

from sightline.training.hoi.annotations import COCO_CLASSES, Detections, iou_matrix
from sightline.training.onnx_module import OnnxModule
from sightline.training.photos import Picture

LOG_ERRORS = 3
"""ONNX Runtime's level. Exporters of other frameworks cause hundreds of warnings for one file."""
SIDE_PX = 416
STRIDES = (8, 16, 32, 64)
BINS = 8
NMS_IOU = 0.6
MAX_CANDIDATES, MAX_BOXES = 400, 100
CLASSES = len(COCO_CLASSES)

BGR_MEAN = np.array([103.53, 116.28, 123.675], np.float32)
BGR_STD = np.array([57.375, 57.12, 58.395], np.float32)
RGB_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
RGB_STD = np.array([58.395, 57.12, 57.375], np.float32)

FEATURE_LEVELS, FEATURE_CHANNELS = 3, 96
"""NanoDet-Plus's pyramid of strides 8, 16 and 32. A pyramid that imitates it has the same width."""

FUSED_IOU = 0.55


class Detector(Protocol):
    def detect(self, picture: Picture) -> Detections:
        """Boxes in the picture's pixels."""
        ...


def cpu_session(model: Path | bytes, *, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session on few threads, which leaves the processor to the training."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = LOG_ERRORS
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class NanoDetPlus:
    """RangiLyu's NanoDet-Plus-m at 416 px: `detect(picture)` returns boxes whose score is at least `min_score`.

    The file maps `data` (b, 3, 416, 416), normalised BGR, to `output` (b, 3598, 112): 80 class scores and four
    distributions over 8 bins of the distance to each side, in strides.
    """

    def __init__(self, path: Path, *, min_score: float = 0.05, threads: int = 1) -> None:
        self.session = cpu_session(path, threads=threads)
        self.min_score = min_score

    def detect(self, picture: Picture) -> Detections:
        (output,) = self.session.run(["output"], {"data": normalize_bgr(_resize_to_square(picture)[None])})
        return _to_picture(decode_nanodet(np.asarray(output[0], np.float32), self.min_score), picture)


class PicoDet:
    """PaddleDetection's PicoDet-S at 416 px: `detect(picture)` returns boxes whose score is at least `min_score`.

    The file has no post-processing. It maps normalised RGB (1, 3, 416, 416) to four arrays of class scores
    (1, cells, 80) and four of box distributions (1, cells, 4 * 8), one for each stride.
    """

    def __init__(self, path: Path, *, min_score: float = 0.05, threads: int = 1) -> None:
        self.session = cpu_session(path, threads=threads)
        self.input = self.session.get_inputs()[0].name
        self.min_score = min_score

    def detect(self, picture: Picture) -> Detections:
        image = (_resize_to_square(picture).astype(np.float32) - RGB_MEAN) / RGB_STD
        outputs = self.session.run(None, {self.input: image.transpose(2, 0, 1)[None]})
        scores = np.concatenate([each[0] for each in outputs[: len(STRIDES)]])
        bins = np.concatenate([each[0] for each in outputs[len(STRIDES) :]])
        return _to_picture(decode_picodet(scores, bins, self.min_score), picture)


def normalize_bgr(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(b, h, w, 3) RGB to NanoDet-Plus's input (b, 3, h, w)."""
    return np.ascontiguousarray(((pictures[..., ::-1].astype(np.float32) - BGR_MEAN) / BGR_STD).transpose(0, 3, 1, 2))


def decode_nanodet(output: NDArray[np.float32], min_score: float) -> Detections:
    """The best boxes of one picture's output (3598, 112), in pixels of the network's square."""
    return _decode(output[:, :CLASSES], output[:, CLASSES:], _cells(0.0), min_score)


def decode_picodet(scores: NDArray[np.float32], bins: NDArray[np.float32], min_score: float) -> Detections:
    """The best boxes of scores (cells, 80) and distributions (cells, 32), in pixels of the network's square."""
    return _decode(scores, bins, _cells(0.5), min_score)


Cells = tuple[NDArray[np.float32], NDArray[np.float32]]


def _decode(scores: NDArray[np.float32], bins: NDArray[np.float32], every: Cells, min_score: float) -> Detections:
    """Expected distances to the sides, from the points and strides of all cells."""
    cells, labels = np.nonzero(scores >= min_score)
    best = np.argsort(-scores[cells, labels], kind="stable")[:MAX_CANDIDATES]
    cells, labels = cells[best], labels[best]
    points, strides = every
    logits = bins[cells].reshape(-1, 4, BINS)
    weights = np.exp(logits - logits.max(2, keepdims=True))
    distances = (weights @ np.arange(BINS, dtype=np.float32)) / weights.sum(2) * strides[cells, None]
    x, y = points[cells].T
    left, top, right, bottom = distances.T
    boxes = np.stack([x - left, y - top, x + right, y + bottom], 1).clip(0, SIDE_PX)
    return Detections(boxes.astype(np.float32), labels.astype(np.int64), scores[cells, labels].astype(np.float32))


@cache
def _cells(offset: float) -> Cells:
    """The point (n, 2) that each cell's distances are measured from, and its stride (n,). `offset` is in cells."""
    points, strides = [], []
    for stride in STRIDES:
        along = (np.arange(-(-SIDE_PX // stride)) + offset) * stride
        x, y = np.meshgrid(along, along)
        points.append(np.stack([x.ravel(), y.ravel()], 1))
        strides.append(np.full(x.size, stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _resize_to_square(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA), np.uint8)


def _to_picture(detections: Detections, picture: Picture) -> Detections:
    """The best boxes after suppression, in pixels of the picture."""
    height, width = picture.shape[:2]
    return suppress(detections, NMS_IOU, max_boxes=MAX_BOXES).scaled(width / SIDE_PX, height / SIDE_PX)


def suppress(detections: Detections, iou_threshold: float, *, max_boxes: int) -> Detections:
    """The boxes that non-maximum suppression per class keeps, by falling score."""
    boxes, scores, labels = map(torch.from_numpy, (detections.boxes_xyxy, detections.scores, detections.labels))
    return detections.where(batched_nms(boxes, scores, labels, iou_threshold)[:max_boxes].numpy())


@dataclass(frozen=True, slots=True)
class FusedDetector:
    """Weighted box fusion of several detectors, each applied to the picture and to its mirror image.

    Solovyev, Wang, Gabruseva, "Weighted boxes fusion: Ensembling boxes from different object detection models", Image
    and Vision Computing 2021.
    """

    detectors: Sequence[Detector]

    def detect(self, picture: Picture) -> Detections:
        mirrored = np.ascontiguousarray(picture[:, ::-1])
        sources = [each.detect(picture) for each in self.detectors]
        sources += [each.detect(mirrored).flipped(picture.shape[1]) for each in self.detectors]
        return fuse(sources)


def fuse(sources: Sequence[Detections]) -> Detections:
    """One box for each cluster of boxes of a class; a score falls by the share of sources that missed the box."""
    # The published package needs Numba for this loop over at most 400 boxes.
    joined = _join(sources)
    fused = [_fuse_class(joined.where(joined.labels == label), len(sources)) for label in np.unique(joined.labels)]
    if not fused:
        return joined
    joined = _join(fused)
    return joined.where(np.argsort(-joined.scores, kind="stable")[:MAX_BOXES])


def _join(parts: Sequence[Detections]) -> Detections:
    return Detections(
        np.concatenate([each.boxes_xyxy for each in parts]),
        np.concatenate([each.labels for each in parts]),
        np.concatenate([each.scores for each in parts]),
    )


def _fuse_class(boxes: Detections, sources: int) -> Detections:
    """Fuses boxes of one class."""
    boxes = boxes.where(np.argsort(-boxes.scores, kind="stable"))
    clusters: list[list[int]] = []
    centres: list[NDArray[np.float32]] = []
    for at in range(len(boxes)):
        nearest = _nearest(centres, boxes.boxes_xyxy[at])
        if nearest is None:
            clusters.append([at])
            centres.append(boxes.boxes_xyxy[at])
        else:
            clusters[nearest].append(at)
            members = boxes.where(np.array(clusters[nearest]))
            centres[nearest] = np.average(members.boxes_xyxy, axis=0, weights=members.scores).astype(np.float32)
    scores = [boxes.scores[members].mean() * min(len(members), sources) / sources for members in clusters]
    return Detections(np.stack(centres), boxes.labels[: len(clusters)], np.array(scores, np.float32))


def _nearest(centres: Sequence[NDArray[np.float32]], box: NDArray[np.float32]) -> int | None:
    if not centres:
        return None
    overlaps = iou_matrix(np.stack(centres), box[None])[:, 0]
    best = int(overlaps.argmax())
    return best if overlaps[best] > FUSED_IOU else None


class OnnxTeacherFeatures:
    """NanoDet-Plus's features of pictures (b, h, w, 3) uint8 with sides that are multiples of 32.

    Calling it returns the features (b, cells, channels) that classes and boxes are predicted from, and the best class
    score (b, cells) in 0..1, level after level, row by row.
    """

    def __init__(self, path: Path) -> None:
        self.session = cpu_session(_with_feature_outputs(onnx.load(path)).SerializeToString())

    def __call__(self, pictures: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        maps = self.session.run(None, {"data": normalize_bgr(pictures)})
        cells = [each.reshape(*each.shape[:2], -1).transpose(0, 2, 1) for each in maps]
        logits = np.concatenate(cells[1::2], 1)[..., :CLASSES]
        return np.concatenate(cells[::2], 1), 0.5 * (1 + np.tanh(logits.max(2) / 2))


class TorchTeacherFeatures(nn.Module):
    """The same features of pictures (b, 3, h, w) of 0..255 in PyTorch, which also runs on a GPU."""

    mean: Tensor
    std: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.network = OnnxModule(_with_feature_outputs(onnx.load(path)))
        self.register_buffer("mean", torch.from_numpy(BGR_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.from_numpy(BGR_STD).view(3, 1, 1))

    @torch.no_grad()
    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(pictures.device.type, enabled=False):
            maps = self.network((pictures.flip(1) - self.mean) / self.std)
        cells = [each.flatten(2).mT for each in maps]
        return torch.cat(cells[::2], 1), torch.cat(cells[1::2], 1)[..., :CLASSES].amax(2).sigmoid()


def _with_feature_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph for any picture size, with the input and output of each level's last convolution as its outputs."""
    graph = model.graph
    # The convolutions' names differ between exports, so they are found by the split into scores and boxes behind them.
    made_by = {output: node for node in graph.node for output in node.output}
    scored = {node.input[0] for node in graph.node if node.op_type == "Sigmoid"}
    splits = [node for node in graph.node if node.op_type == "Split" and scored & set(node.output)]
    last = [made_by[split.input[0]] for split in splits[:FEATURE_LEVELS]]
    names = [name for node in last for name in (node.input[0], node.output[0])]
    del graph.output[:], graph.value_info[:]
    graph.output.extend(onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    for side, name in zip(graph.input[0].type.tensor_type.shape.dim[2:], ("h", "w"), strict=True):
        side.dim_param = name
    return model
