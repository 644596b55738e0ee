"""Faster R-CNN with a feature pyramid: features, proposals and the head that names and refines boxes.

Ren et al., "Faster R-CNN", NeurIPS 2015; Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks import boxes
from sightline.networks.backbones import build_trunk
from sightline.networks.proposals import DenseProposals, ProposalNetwork, Proposing, best_candidates
from sightline.networks.pyramid import STRIDES, Pyramid, TrunkLevels
from sightline.networks.roi_align import roi_align

BINS = 7
BOX_SCALE = (0.1, 0.1, 0.2, 0.2)
"""What the head's deltas are multiplied by: their deviations, which make the targets about 1."""


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """Configuration of the detector.

    `backbone` is a name of `sightline.networks.backbones`, `image_px` the longest side in training. `per_class_boxes`
    are four deltas for each class as in the paper; without, four for all classes, which needs fewer data. The head is
    applied `passes` times, each time to the boxes of the pass before (Gidaris and Komodakis, ICCV 2015).
    """

    backbone: str = "resnet50"
    width: int = 256
    hidden: int = 1024
    classes: int = 80
    per_class_boxes: bool = True
    image_px: int = 1333
    passes: int = 1
    proposing: Proposing = field(default_factory=Proposing)


class RoiHead(nn.Module):
    """Two fully connected layers on 7x7 RoI features: (r, c, 7, 7) to (r, hidden)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(width * BINS**2, hidden)
        self.second = nn.Linear(hidden, hidden)

    def forward(self, pooled: Tensor) -> Tensor:
        return F.relu(self.second(F.relu(self.first(pooled.flatten(1)))))


class BoxHead(nn.Module):
    """Class logits (r, classes + 1), the background last, and box deltas (r, 4) or (r, 4 * classes)."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.hidden = RoiHead(config.width, config.hidden)
        self.logits = nn.Linear(config.hidden, config.classes + 1)
        self.deltas = nn.Linear(config.hidden, 4 * (config.classes if config.per_class_boxes else 1))
        nn.init.normal_(self.logits.weight, std=0.01)
        nn.init.normal_(self.deltas.weight, std=0.001)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.hidden(pooled)
        return self.logits(hidden), self.deltas(hidden)


class FasterRcnn(nn.Module):
    """What detection needs; the parts are called one by one, as training samples between them."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = TrunkLevels(build_trunk(config.backbone))
        self.pyramid = Pyramid(self.trunk.channels, config.width)
        self.proposals = ProposalNetwork(config.width)
        self.box_head = BoxHead(config)

    def levels(self, image: Tensor) -> list[Tensor]:
        """(b, 3, h, w) sRGB in 0..1, sides multiples of 32, to p3, p4, p5 of (b, width, h / stride, w / stride)."""
        return self.levels_from(self.trunk.shallow(image))

    def levels_from(self, shallow: Tensor) -> list[Tensor]:
        """The same from the trunk's level of stride 8, which a frozen stem gives once for all."""
        return cast(list[Tensor], self.pyramid(self.trunk(shallow)))

    def propose(self, levels: Sequence[Tensor]) -> DenseProposals:
        """On the pyramid's levels and one coarser, for what fills the picture."""
        coarsest = F.max_pool2d(levels[-1], 1, stride=2)
        return cast(DenseProposals, self.proposals([*levels, coarsest], (*STRIDES, 2 * STRIDES[-1])))

    def pool(self, levels: Sequence[Tensor], rois: Tensor, image: Tensor) -> Tensor:
        """(r, width, 7, 7) of boxes (r, 4) in the pictures (r,)."""
        return roi_align(levels, STRIDES, rois, image, BINS)

    def class_deltas(self, deltas: Tensor, labels: Tensor) -> Tensor:
        """(r, 4) out of the head's deltas, for these classes (r,)."""
        if not self.config.per_class_boxes:
            return deltas
        by_class: Tensor = deltas.unflatten(1, (-1, 4))
        return by_class.gather(1, labels[:, None, None].expand(-1, 1, 4)).squeeze(1)


@dataclass(frozen=True, slots=True)
class Detecting:
    """What becomes a detection. `score_threshold` is low, as the interactions have their say about objects."""

    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    most: int = 100


@dataclass(frozen=True, slots=True)
class Found:
    """boxes: (n, 4) in pixels, scores: (n,) falling, labels: (n,)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def detect(network: FasterRcnn, levels: Sequence[Tensor], size_px: tuple[int, int], detecting: Detecting) -> Found:
    """What is in one picture of this height and width, from its levels."""
    proposing = network.config.proposing
    every, logits = best_candidates(network.propose(levels), size_px, proposing.candidates)
    candidates = every[0]
    rois = candidates[boxes.suppress(candidates, logits[0], proposing.iou_threshold, proposing.kept)]
    class_logits, deltas = _look(network, levels, rois)
    for _ in range(network.config.passes - 1):
        rois = boxes.clip(_refined(network, rois, deltas, class_logits[:, :-1].argmax(1)), *size_px)
        class_logits, deltas = _look(network, levels, rois)
    return _best_boxes(network, rois, class_logits, deltas, size_px, detecting)


def _look(network: FasterRcnn, levels: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, Tensor]:
    """What the head says of boxes (r, 4) in one picture."""
    pooled = network.pool(levels, rois, torch.zeros_like(rois[:, 0], dtype=torch.long))
    return cast(tuple[Tensor, Tensor], network.box_head(pooled))


def _refined(network: FasterRcnn, rois: Tensor, deltas: Tensor, labels: Tensor) -> Tensor:
    """The boxes (r, 4) that the deltas of these classes (r,) make of them."""
    return boxes.decode(network.class_deltas(deltas, labels) * deltas.new_tensor(BOX_SCALE), rois)


def _best_boxes(
    network: FasterRcnn, rois: Tensor, logits: Tensor, deltas: Tensor, size_px: tuple[int, int], detecting: Detecting
) -> Found:
    """Every RoI may be several classes; suppression is per class."""
    classes = network.config.classes
    scores = logits.softmax(1)[:, :classes].flatten()
    rows = torch.arange(rois.shape[0], device=rois.device)[:, None].expand(-1, classes).flatten()
    labels = torch.arange(classes, device=rois.device)[None].expand(rois.shape[0], -1).flatten()
    found = boxes.clip(_refined(network, rois[rows], deltas[rows], labels), *size_px)
    likely = (scores > detecting.score_threshold).nonzero().squeeze(1)
    apart = boxes.class_offsets(found[likely], labels[likely])
    kept = likely[boxes.suppress(apart, scores[likely], detecting.iou_threshold, detecting.most)]
    return Found(found[kept], scores[kept], labels[kept])
