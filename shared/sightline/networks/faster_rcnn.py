"""Faster R-CNN on a feature pyramid: region proposals, and the head that classifies and refines boxes.

Ren et al., "Faster R-CNN", NeurIPS 2015; Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017.
torchvision's anchors are centred on the corners of the cells and rounded to whole pixels, so the shipped weights would
not fit them; hence the proposals here are not torchvision's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks import boxes
from sightline.networks.backbones import build_trunk
from sightline.networks.feature_pyramid import STRIDES, FeaturePyramid, TrunkLevels
from sightline.networks.roi_align import roi_align

ASPECT_RATIOS = (0.5, 1.0, 2.0)
ANCHOR_CELLS = 3.0
"""The side of a square anchor, in cells of its level."""
OBJECT_PRIOR = 0.01
"""Initial objectness of every anchor, as most are background."""
ROI_SIZE = 7
BOX_SCALE = (0.1, 0.1, 0.2, 0.2)
"""Factors of the head's deltas: their standard deviations, so that training targets are about 1."""


@dataclass(frozen=True, slots=True)
class ProposalConfig:
    """Selection of proposals in inference: `candidates` anchors of the highest objectness enter non-maximum
    suppression at `iou_threshold`, and at most `kept` boxes leave it."""

    candidates: int = 400
    kept: int = 100
    iou_threshold: float = 0.7


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Configuration of the detector.

    `backbone` is a name of `sightline.networks.backbones`, `image_px` the longest side in training. With
    `per_class_boxes` the head predicts four deltas for each class, as in the paper; without, four for all classes,
    which needs less data. The head is applied `passes` times, each time to the boxes of the pass before (Gidaris and
    Komodakis, ICCV 2015).
    """

    backbone: str = "resnet50"
    width: int = 256
    hidden: int = 1024
    classes: int = 80
    per_class_boxes: bool = True
    image_px: int = 1333
    passes: int = 1
    proposals: ProposalConfig = field(default_factory=ProposalConfig)


@dataclass(frozen=True, slots=True)
class DetectionConfig:
    """Selection of detections. `score_threshold` is low, because the score of an interaction weighs its object too."""

    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    max_detections: int = 100


@dataclass(frozen=True, slots=True)
class DenseProposals:
    """Predictions for all anchors (n, 4): objectness logits (b, n) and box deltas (b, n, 4)."""

    logits: Tensor
    deltas: Tensor
    anchors: Tensor


@dataclass(frozen=True, slots=True)
class DetectionTensors:
    """Detections in one picture: boxes (n, 4) in pixels, scores (n,) in falling order, labels (n,)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class ProposalHead(nn.Module):
    """Objectness and box deltas of three anchors of equal area at every cell; all levels share the convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(width, width, 3, padding=1)
        self.objectness = nn.Conv2d(width, len(ASPECT_RATIOS), 1)
        self.deltas = nn.Conv2d(width, 4 * len(ASPECT_RATIOS), 1)
        for layer, bias in ((self.objectness, math.log(OBJECT_PRIOR / (1 - OBJECT_PRIOR))), (self.deltas, 0.0)):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.constant_(layer.bias, bias)

    def forward(self, levels: Sequence[Tensor], strides: Sequence[int]) -> DenseProposals:
        logits, deltas = [], []
        for level in levels:
            hidden = F.relu(self.hidden(level))
            logits.append(self.objectness(hidden).permute(0, 2, 3, 1).flatten(1))
            deltas.append(self.deltas(hidden).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4)))
        anchors = [grid_anchors(level, stride) for level, stride in zip(levels, strides, strict=True)]
        return DenseProposals(torch.cat(logits, 1), torch.cat(deltas, 1), torch.cat(anchors))


def grid_anchors(level: Tensor, stride: int) -> Tensor:
    """Anchors (h * w * 3, 4) around the centres of the cells, row by row."""
    height, width = level.shape[2:]
    y = (torch.arange(height, device=level.device, dtype=torch.float32) + 0.5) * stride
    x = (torch.arange(width, device=level.device, dtype=torch.float32) + 0.5) * stride
    centres = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
    side = ANCHOR_CELLS * stride
    halves = torch.tensor(
        [[side / math.sqrt(ratio) / 2, side * math.sqrt(ratio) / 2] for ratio in ASPECT_RATIOS], device=level.device
    )
    corners = torch.cat([centres[:, :, None] - halves, centres[:, :, None] + halves], dim=-1)
    return corners.flatten(0, 2)


def top_proposals(dense: DenseProposals, size_px: tuple[int, int], max_proposals: int) -> tuple[Tensor, Tensor]:
    """Boxes (b, k, 4) and falling logits (b, k) of the anchors of the highest objectness in each picture.

    The boxes are clipped to the picture's size (height, width).
    """
    logits, indices = dense.logits.topk(torch.sym_min(max_proposals, dense.logits.shape[1]))
    deltas = dense.deltas.gather(1, indices.unsqueeze(-1).expand(-1, -1, 4))
    return boxes.clip(boxes.decode(deltas, dense.anchors[indices]), *size_px), logits


class TwoMlpHead(nn.Module):
    """Two fully connected layers on RoI features: (r, c, 7, 7) to (r, hidden)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(width * ROI_SIZE**2, hidden)
        self.second = nn.Linear(hidden, hidden)

    def forward(self, pooled: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(pooled.flatten(1)))))


class DetectionHead(nn.Module):
    """Class logits (r, classes + 1), the background last, and box deltas (r, 4) or (r, 4 * classes)."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.hidden = TwoMlpHead(config.width, config.hidden)
        self.logits = nn.Linear(config.hidden, config.classes + 1)
        self.deltas = nn.Linear(config.hidden, 4 * (config.classes if config.per_class_boxes else 1))
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.hidden(pooled)
        return self.logits(hidden), self.deltas(hidden)


class FasterRcnn(nn.Module):
    """The detector's parts. There is no `forward`: training samples RoIs between the proposals and the head."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = TrunkLevels(build_trunk(config.backbone))
        self.pyramid = FeaturePyramid(self.trunk.channels, config.width)
        self.proposals = ProposalHead(config.width)
        self.box_head = DetectionHead(config)

    def levels(self, image: Tensor) -> list[Tensor]:
        """(b, 3, h, w) sRGB in 0..1, sides multiples of 32, to p3, p4, p5 of (b, width, h / stride, w / stride)."""
        return self.levels_from(self.trunk.shallow(image))

    def levels_from(self, shallow: Tensor) -> list[Tensor]:
        """p3, p4, p5 from the trunk's level of stride 8, which a frozen stem computes once per picture."""
        return cast(list[Tensor], self.pyramid(self.trunk(shallow)))

    def propose(self, levels: Sequence[Tensor]) -> DenseProposals:
        """Proposals on the pyramid's levels and on a coarser one, for objects that fill the picture."""
        coarsest = F.max_pool2d(levels[-1], 1, stride=2)
        return cast(DenseProposals, self.proposals([*levels, coarsest], (*STRIDES, 2 * STRIDES[-1])))

    def pool(self, levels: Sequence[Tensor], rois: Tensor, batch_indices: Tensor) -> Tensor:
        """RoI features (r, width, 7, 7) of boxes (r, 4) in the pictures `batch_indices` (r,)."""
        return roi_align(levels, STRIDES, rois, batch_indices, ROI_SIZE)

    def class_deltas(self, deltas: Tensor, labels: Tensor) -> Tensor:
        """The head's deltas (r, 4) for the classes `labels` (r,)."""
        if not self.config.per_class_boxes:
            return deltas
        by_class: Tensor = deltas.unflatten(1, (-1, 4))
        return by_class.gather(1, labels[:, None, None].expand(-1, 1, 4)).squeeze(1)


def detect(
    network: FasterRcnn, levels: Sequence[Tensor], size_px: tuple[int, int], config: DetectionConfig
) -> DetectionTensors:
    """Detections in one picture of `size_px` (height, width), from its pyramid levels."""
    rois = _select_proposals(network, levels, size_px)
    logits, deltas = _classify(network, levels, rois)
    for _ in range(network.config.passes - 1):
        rois = boxes.clip(_decode(network, rois, deltas, logits[:, :-1].argmax(1)), *size_px)
        logits, deltas = _classify(network, levels, rois)
    return _postprocess(network, rois, logits, deltas, size_px, config)


def _select_proposals(network: FasterRcnn, levels: Sequence[Tensor], size_px: tuple[int, int]) -> Tensor:
    """RoIs (r, 4) of one picture after non-maximum suppression."""
    config = network.config.proposals
    candidates, logits = top_proposals(network.propose(levels), size_px, config.candidates)
    return candidates[0][boxes.suppress(candidates[0], logits[0], config.iou_threshold, config.kept)]


def _classify(network: FasterRcnn, levels: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, Tensor]:
    """Class logits and box deltas of RoIs (r, 4) in one picture."""
    pooled = network.pool(levels, rois, torch.zeros_like(rois[:, 0], dtype=torch.long))
    return cast(tuple[Tensor, Tensor], network.box_head(pooled))


def _decode(network: FasterRcnn, rois: Tensor, deltas: Tensor, labels: Tensor) -> Tensor:
    """Refined boxes (r, 4) of RoIs (r, 4), by the deltas of the classes `labels` (r,)."""
    return boxes.decode(network.class_deltas(deltas, labels) * deltas.new_tensor(BOX_SCALE), rois)


def _postprocess(
    network: FasterRcnn, rois: Tensor, logits: Tensor, deltas: Tensor, size_px: tuple[int, int], config: DetectionConfig
) -> DetectionTensors:
    """Detections by threshold and suppression within each class; one RoI may yield detections of several classes."""
    classes = network.config.classes
    scores = logits.softmax(1)[:, :classes].flatten()
    rows = torch.arange(rois.shape[0], device=rois.device)[:, None].expand(-1, classes).flatten()
    labels = torch.arange(classes, device=rois.device)[None].expand(rois.shape[0], -1).flatten()
    refined = boxes.clip(_decode(network, rois[rows], deltas[rows], labels), *size_px)
    likely = (scores > config.score_threshold).nonzero().squeeze(1)
    separated = boxes.separate_classes(refined[likely], labels[likely])
    kept = likely[boxes.suppress(separated, scores[likely], config.iou_threshold, config.max_detections)]
    return DetectionTensors(refined[kept], scores[kept], labels[kept])
