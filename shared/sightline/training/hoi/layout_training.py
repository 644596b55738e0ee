"""Trains the layout network on the boxes of several detectors in pictures with annotated actions."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sightline.networks.boxes import iou
from sightline.networks.interactnet import InteractNet
from sightline.networks.layout import Layout, LayoutConfig, LayoutNetwork, encode_layout
from sightline.training.checkpoints import load_checkpoint, save_checkpoint
from sightline.training.hoi.annotations import PERSON, UNKNOWN, Detections, GroundTruth
from sightline.training.hoi.augmentation import resize_to_fit
from sightline.training.hoi.branch_examples import MATCH_IOU, RoiFeatures, make_example
from sightline.training.hoi.datasets import Scene
from sightline.training.hoi.losses import ACTION_WEIGHT, known_cross_entropy
from sightline.training.hoi.predictions import BoxTensors, top_boxes
from sightline.training.hoi.pseudo_labels import PseudoLabelCache, add_pseudo_labels, add_stanford40_action
from sightline.training.hoi.teachers import fuse
from sightline.training.hoi.train import detect_in_picture
from sightline.training.photos import read_rgb

log = logging.getLogger(__name__)
LOG_EVERY_STEPS = 200
PEOPLE, BOXES = 8, 32
"""Rows that an example is padded or cut to."""
ANNOTATED_SCORE = 0.7
"""Score of an annotated box that no detector found."""
WARM_UP_STEPS = 50
LAYOUT_CHECKPOINT = "layout.pt"
"""Name of the checkpoint, beside that of the other networks."""


@dataclass(frozen=True, slots=True)
class LayoutRecipe:
    """Hyperparameters. `batch_size` is in examples; V-COCO's are drawn with weight 1, others with `other_weight`.

    `noise` is the deviation of what is added to the relations, and of half of that to the places.
    """

    steps: int = 1200
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    noise: float = 0.05
    other_weight: float = 0.08
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LayoutExamples:
    """Layouts of m pictures and of their mirror images, padded, with labels of 1, 0 and -1 (unknown).

    relations (m, 2, p, n, RELATIONS), places (m, 2, p, PLACES), labels (m, n), scores (m, n), is_same (m, p, n),
    actions (m, p, slots), pairs (m, p, n, slots).
    """

    relations: Tensor
    places: Tensor
    labels: Tensor
    scores: Tensor
    is_same: Tensor
    actions: Tensor
    pairs: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def layout(self, chosen: Tensor, mirrored: Tensor) -> Layout:
        relations, places = self.relations[chosen, mirrored].float(), self.places[chosen, mirrored]
        return Layout(relations, places, self.labels[chosen], self.scores[chosen], self.is_same[chosen])


def train_layout(
    network: InteractNet,
    teachers: Sequence[PseudoLabelCache],
    vcoco: Sequence[Scene],
    stanford40: Sequence[Scene],
    recipe: LayoutRecipe,
) -> LayoutNetwork:
    """Trains on the boxes of each teacher, of the teachers fused, and of the network's own detector."""
    sources = [each.detections("vcoco", [scene.path for scene in vcoco]) for each in teachers]
    own = {scene.path.name: _detect(network, scene) for scene in vcoco}
    parts = [layout_examples(vcoco, [*sources, _fused(sources), own])]
    if stanford40:
        sources = [each.detections("stanford40", [scene.path for scene in stanford40]) for each in teachers]
        parts.append(layout_examples([*_with_actions(stanford40, _fused(sources))], sources))
    log.info("layouts of pictures: %s", ", ".join(str(len(each)) for each in parts))
    weights = [
        torch.full((len(each),), weight) for each, weight in zip(parts, (1.0, recipe.other_weight), strict=False)
    ]
    return fit_layout(join(parts), torch.cat(weights), recipe)


def _detect(network: InteractNet, scene: Scene) -> Detections:
    """The detector's own boxes, in shares of the sides."""
    px = network.config.detector.image_px
    picture = resize_to_fit(read_rgb(scene.path), (scene.width, scene.height), px)
    detections = detect_in_picture(network, picture, px, torch.device("cpu"))
    return detections.scaled(1 / picture.shape[1], 1 / picture.shape[0])


def _fused(sources: Sequence[Mapping[str, Detections]]) -> Mapping[str, Detections]:
    return {name: fuse([each[name] for each in sources]) for name in sources[0]}


def _with_actions(scenes: Sequence[Scene], fused: Mapping[str, Detections]) -> Iterator[Scene]:
    """Scenes of Stanford 40 with the fused boxes, among them the objects of the verbs."""
    for scene in scenes:
        truth = add_pseudo_labels(scene.truth, fused[scene.path.name].scaled(scene.width, scene.height))
        yield replace(scene, truth=add_stanford40_action(truth, scene.action or ""))


def layout_examples(scenes: Sequence[Scene], sources: Sequence[Mapping[str, Detections]]) -> LayoutExamples:
    """One example for each scene and source of boxes, which has detections in shares of the sides by file name."""
    rows = [
        row
        for scene in scenes
        for source in sources
        for row in _example_rows(scene, source[scene.path.name].scaled(scene.width, scene.height))
    ]
    return LayoutExamples(*(torch.stack(column) for column in zip(*rows, strict=True)))


def _example_rows(scene: Scene, detections: Detections) -> Iterator[list[Tensor]]:
    """The example's columns; nothing where no box lies on a person with known actions."""
    boxes = with_missed_boxes(scene.truth, detections)
    example = make_example(RoiFeatures(torch.zeros(len(boxes.labels), 1), boxes), scene.truth)
    if example is None:
        return
    people, kept = example.features.boxes.people[:PEOPLE], boxes.scores.argsort(descending=True)[:BOXES]
    labels, scores, size = boxes.labels[kept], boxes.scores[kept], torch.tensor([scene.width, scene.height]).float()
    as_is, mirrored = (
        encode_layout(corners[people], corners[kept], labels, scores, size)
        for corners in (boxes.boxes, mirror(boxes.boxes, scene.width))
    )
    yield [
        torch.stack([_pad(each.relations, PEOPLE, BOXES) for each in (as_is, mirrored)]).half(),
        torch.stack([_pad(each.places, PEOPLE) for each in (as_is, mirrored)]),
        _pad(labels, BOXES),
        _pad(scores, BOXES),
        _pad(as_is.is_same, PEOPLE, BOXES),
        _pad(example.actions[:PEOPLE].to(torch.int8), PEOPLE, value=UNKNOWN),
        _pad(example.pairs[:PEOPLE, kept].to(torch.int8), PEOPLE, BOXES, value=UNKNOWN),
    ]


def with_missed_boxes(truth: GroundTruth, detections: Detections) -> BoxTensors:
    """The top detections, and the annotated boxes that none of their class overlaps."""
    found = top_boxes(detections)
    annotated = torch.from_numpy(np.flatnonzero(truth.confidence > 0.5))
    boxes, labels = torch.from_numpy(truth.boxes_xyxy)[annotated], torch.from_numpy(truth.labels)[annotated]
    hits = (iou(boxes, found.boxes) >= MATCH_IOU) & (labels[:, None] == found.labels[None])
    missed = ~hits.any(1)
    scores = torch.cat([found.scores, torch.full((int(missed.sum()),), ANNOTATED_SCORE)])
    labels = torch.cat([found.labels, labels[missed]])
    people = (labels == PERSON).nonzero().squeeze(1)
    return BoxTensors(torch.cat([found.boxes, boxes[missed]]), scores, labels, people)


def mirror(boxes: Tensor, width: float) -> Tensor:
    """Boxes (n, 4) in the mirrored picture."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], 1)


def _pad(values: Tensor, *lengths: int, value: int = 0) -> Tensor:
    """The values with their first dimensions padded to these lengths."""
    padded = torch.full((*lengths, *values.shape[len(lengths) :]), value, dtype=values.dtype)
    padded[tuple(slice(length) for length in values.shape[: len(lengths)])] = values
    return padded


def join(parts: Sequence[LayoutExamples]) -> LayoutExamples:
    return LayoutExamples(*(torch.cat([getattr(part, each.name) for part in parts]) for each in fields(LayoutExamples)))


def fit_layout(examples: LayoutExamples, sampling_weights: Tensor, recipe: LayoutRecipe) -> LayoutNetwork:
    """A network trained on the examples, drawn with sampling_weights (m,)."""
    torch.manual_seed(recipe.seed)
    network = LayoutNetwork(LayoutConfig()).train()
    optimizer = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    for step in range(recipe.steps):
        warm = min(1.0, (step + 1) / WARM_UP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * warm * (1 + math.cos(math.pi * step / recipe.steps)) / 2
        drawn = torch.multinomial(sampling_weights, recipe.batch_size, replacement=True)
        loss = _loss(network, examples, drawn, recipe.noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % LOG_EVERY_STEPS == 0:
            log.info("step %d of the layout network: loss %.3f", step, float(loss.detach()))
    return network.eval()


def _loss(network: LayoutNetwork, examples: LayoutExamples, drawn: Tensor, noise: float) -> Tensor:
    """The loss of a batch, half of whose pictures are mirrored."""
    layout = examples.layout(drawn, torch.randint(2, drawn.shape))
    shaken = replace(
        layout,
        relations=layout.relations + noise * torch.randn_like(layout.relations),
        places=layout.places + noise / 2 * torch.randn_like(layout.places),
    )
    actions, pairs = network(shaken)
    action_loss = known_cross_entropy(actions, examples.actions[drawn].long())
    return ACTION_WEIGHT * action_loss + known_cross_entropy(pairs, examples.pairs[drawn].long())


def save_layout(network: LayoutNetwork, path: Path) -> None:
    save_checkpoint(path, {"config": {"layout": asdict(network.config)}, "average": network.state_dict()})


def load_layout(path: Path) -> LayoutNetwork:
    saved = load_checkpoint(path)
    network = LayoutNetwork(LayoutConfig(**saved["config"]["layout"]))
    network.load_state_dict(saved["average"])
    return network.eval()
