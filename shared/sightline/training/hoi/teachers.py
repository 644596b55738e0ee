"""Exported COCO detectors that label pictures for the training, and their features for distillation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from torch import Tensor, nn

from sightline.inference.detector import DetectorSession, DetectorWeights, catalogued_contract
from sightline.inference.settings import InferenceSettings, Provider
from sightline.training.hoi.annotations import COCO_CLASSES, Detections, iou_matrix
from sightline.training.onnx_module import OnnxModule
from sightline.training.photos import Picture

LOG_ERRORS = 3
"""ONNX Runtime's level. Exporters of other frameworks cause hundreds of warnings for one file."""
MAX_BOXES = 100
CLASSES = len(COCO_CLASSES)

BGR_MEAN = np.array([103.53, 116.28, 123.675], np.float32)
BGR_STD = np.array([57.375, 57.12, 58.395], np.float32)

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


class _CataloguedDetector:
    """A public detector with its contract: `detect(picture)` returns boxes whose score is at least `min_score`."""

    contract: ClassVar[str]

    def __init__(self, path: Path, *, min_score: float = 0.05, threads: int = 1) -> None:
        contract = catalogued_contract(self.contract)
        output = contract.output.model_copy(update={"min_score": min_score})
        weights = DetectorWeights(path, "", contract.model_copy(update={"output": output}))
        settings = InferenceSettings(providers=(Provider.CPU,), intra_op_threads=threads)
        self._session = DetectorSession(weights, settings)

    def detect(self, picture: Picture) -> Detections:
        found = self._session.detect(picture)
        return Detections(found.boxes_xyxy, found.labels, found.scores)


class NanoDetPlus(_CataloguedDetector):
    """RangiLyu's NanoDet-Plus-m at 416 px."""

    contract = "nanodet-plus-m-416"


class PicoDet(_CataloguedDetector):
    """PaddleDetection's PicoDet-S at 416 px."""

    contract = "picodet-s-416"


def normalize_bgr(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(b, h, w, 3) RGB to NanoDet-Plus's input (b, 3, h, w)."""
    return np.ascontiguousarray(((pictures[..., ::-1].astype(np.float32) - BGR_MEAN) / BGR_STD).transpose(0, 3, 1, 2))


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
