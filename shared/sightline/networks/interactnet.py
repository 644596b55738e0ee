"""InteractNet: Faster R-CNN with a human-centric and an interaction branch.

Gkioxari, Girshick, Dollár, He, "Detecting and Recognizing Human-Object Interactions", CVPR 2018, arXiv:1704.07333.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from sightline.networks.faster_rcnn import DenseProposals, DetectorConfig, FasterRcnn, TwoMlpHead


@dataclass(frozen=True, slots=True)
class InteractNetConfig:
    """Configuration of the network.

    `slots` is the number of pairs of an action and a role, 29 in V-COCO. `human_hidden` and `object_hidden` are the
    widths of the branches' layers, 1024 in the paper. `uses_classes` departs from the paper: the interaction branch
    also gets the class scores of an object, because a small dataset does not suffice to learn from appearance alone.
    """

    detector: DetectorConfig = field(default_factory=DetectorConfig)
    slots: int = 29
    human_hidden: int = 1024
    object_hidden: int = 1024
    uses_classes: bool = False
    dropout: float = 0.0


class HumanBranch(nn.Module):
    """The human-centric branch: RoI features of people (p, c, 7, 7) to action logits (p, slots), target means
    (p, slots, 4) encoded as b_{o|h}, and the person's part (p, slots) of the interaction logits."""

    def __init__(self, config: InteractNetConfig) -> None:
        super().__init__()
        self.slots = config.slots
        self.hidden = TwoMlpHead(config.detector.width, config.human_hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.actions = nn.Linear(config.human_hidden, config.slots)
        self.targets = nn.Linear(config.human_hidden, 4 * config.slots)
        self.person = nn.Linear(config.human_hidden, config.slots)
        nn.init.normal_(self.targets.weight, std=0.001)
        nn.init.zeros_(self.targets.bias)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = self.dropout(self.hidden(pooled))
        return self.actions(hidden), self.targets(hidden).unflatten(1, (self.slots, 4)), self.person(hidden)


class ObjectBranch(nn.Module):
    """The object's part (o, slots) of the interaction logits, from RoI features and class scores (o, classes)."""

    def __init__(self, config: InteractNetConfig) -> None:
        super().__init__()
        self.hidden = TwoMlpHead(config.detector.width, config.object_hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.logits = nn.Linear(config.object_hidden, config.slots)
        self.classes = nn.Linear(config.detector.classes, config.slots, bias=False) if config.uses_classes else None
        if self.classes is not None:
            nn.init.zeros_(self.classes.weight)

    def forward(self, pooled: Tensor, class_scores: Tensor) -> Tensor:
        logits = self.logits(self.dropout(self.hidden(pooled)))
        return cast(Tensor, logits if self.classes is None else logits + self.classes(class_scores))


@dataclass(frozen=True, slots=True)
class Regions:
    """Training samples of a batch for each head: boxes (n, 4) in pixels, and the indices (n,) of their pictures."""

    rois: Tensor
    rois_image: Tensor
    people: Tensor
    people_image: Tensor
    objects: Tensor
    objects_image: Tensor
    object_scores: Tensor


RegionsT = TypeVar("RegionsT", bound=Regions)


@dataclass(frozen=True, slots=True)
class Outputs(Generic[RegionsT]):
    """Outputs of all heads in training, with the levels, proposals and regions that the losses need."""

    levels: Sequence[Tensor]
    dense: DenseProposals
    regions: RegionsT
    class_logits: Tensor
    deltas: Tensor
    actions: Tensor
    targets: Tensor
    person_logits: Tensor
    object_logits: Tensor


class InteractNet(nn.Module):
    """The detector and the two branches on its pyramid."""

    def __init__(self, config: InteractNetConfig) -> None:
        super().__init__()
        self.config = config
        self.detector = FasterRcnn(config.detector)
        self.human = HumanBranch(config)
        self.object = ObjectBranch(config)

    def forward(self, inputs: Tensor, sample: Callable[[DenseProposals], RegionsT]) -> Outputs[RegionsT]:
        """Outputs of all heads, from pictures (b, 3, h, w) in 0..1 or from the trunk's level of stride 8.

        `sample` selects the regions that the heads are applied to.
        """
        detector = self.detector
        levels = detector.levels(inputs) if is_image_batch(inputs) else detector.levels_from(inputs)
        dense = detector.propose(levels)
        regions = sample(dense)
        class_logits, deltas = detector.box_head(detector.pool(levels, regions.rois, regions.rois_image))
        actions, targets, person = self.human(detector.pool(levels, regions.people, regions.people_image))
        pooled = detector.pool(levels, regions.objects, regions.objects_image)
        object_logits = self.object(pooled, regions.object_scores)
        return Outputs(levels, dense, regions, class_logits, deltas, actions, targets, person, object_logits)


def is_image_batch(inputs: Tensor) -> bool:
    """True for pictures, False for a level of the trunk, which has more than three channels."""
    return inputs.shape[1] == 3


@dataclass(frozen=True, slots=True)
class Interactions:
    """Outputs of both branches: actions (p, slots) in 0..1; targets (p, slots, 4); person_logits (p, slots);
    object_logits (o, slots)."""

    actions: Tensor
    targets: Tensor
    person_logits: Tensor
    object_logits: Tensor


def interact(
    network: InteractNet, levels: Sequence[Tensor], people: Tensor, objects: Tensor, object_scores: Tensor
) -> Interactions:
    """Interactions of people (p, 4) with objects (o, 4) in one picture, boxes in pixels.

    object_scores: (o, classes). RoIs are pooled once for each person and each object; a pair costs one addition.
    """
    rois = torch.cat([people, objects])
    pooled = network.detector.pool(levels, rois, torch.zeros_like(rois[:, 0], dtype=torch.long))
    actions, targets, person = network.human(pooled[: people.shape[0]])
    return Interactions(actions.sigmoid(), targets, person, network.object(pooled[people.shape[0] :], object_scores))
