"""Training examples for the two branches: RoI features that the frozen detector computes, with their labels."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sightline.networks.boxes import iou
from sightline.networks.faster_rcnn import DetectionConfig, detect
from sightline.networks.interactnet import InteractNet
from sightline.training.hoi.annotations import PERSON, Detections, GroundTruth
from sightline.training.hoi.augmentation import (
    Augmentation,
    canvas_shape,
    place_on_canvas,
    random_augmentation,
    resize_to_fit,
)
from sightline.training.hoi.batches import FrozenStem, export_stem
from sightline.training.hoi.datasets import Scene
from sightline.training.hoi.predictions import BoxTensors, plausible_slots, top_boxes
from sightline.training.hoi.scene_store import SceneStore
from sightline.training.photos import Picture, read_rgb

log = logging.getLogger(__name__)
LOG_EVERY = 100
MATCH_IOU, SAME_PERSON_IOU = 0.5, 0.6
RANDOM_AUGMENTATIONS = 2
"""Augmented copies of a scene with actions, besides the scene itself and its mirror image."""


@dataclass(frozen=True, slots=True)
class RoiFeatures:
    """Features pooled (n, c, 7, 7), in half precision, of boxes."""

    pooled: Tensor
    boxes: BoxTensors


@dataclass(frozen=True, slots=True)
class BranchExample:
    """RoI features of a picture with labels for its p people.

    actions (p, 29) and pairs (p, n, 29) are 1, 0 or -1; target_boxes (p, 29, 4) hold where has_target (p, 29).
    """

    features: RoiFeatures
    actions: Tensor
    pairs: Tensor
    target_boxes: Tensor
    has_target: Tensor


@dataclass(frozen=True, slots=True)
class SceneFeatures:
    """A scene's features of its detections alone, and its examples: as it is, mirrored and augmented.

    `scale` converts to the scene's pixels along x and y.
    """

    features: RoiFeatures
    truth: GroundTruth
    scale: tuple[float, float]
    examples: tuple[BranchExample, ...]


class FeatureExtractor:
    """Applies a frozen detector to pictures, its stem by ONNX Runtime."""

    def __init__(self, network: InteractNet, stem_path: Path) -> None:
        self.network = network
        if not stem_path.exists():
            export_stem(network.detector.trunk, stem_path)
        self.stem = FrozenStem(stem_path)

    def levels(self, picture: Picture) -> list[Tensor]:
        placed = place_on_canvas(picture, canvas_shape(picture.shape[:2], max(picture.shape[:2])))
        return self.network.detector.levels_from(torch.from_numpy(self.stem(placed[None])))

    def detections(self, levels: Sequence[Tensor]) -> Detections:
        size = 8 * levels[0].shape[2], 8 * levels[0].shape[3]
        detections = detect(self.network.detector, levels, size, DetectionConfig())
        return Detections(detections.boxes.numpy(), detections.labels.numpy(), detections.scores.numpy())

    @torch.inference_mode()
    def extract(self, scene: Scene, pseudo_labels: Detections, rng: np.random.Generator) -> SceneFeatures:
        """Features and examples of a scene.

        The examples also have the boxes of a teacher, given in shares of the picture's sides: those that a better
        detector would confuse people with.
        """
        picture = resize_to_fit(
            read_rgb(scene.path), (scene.width, scene.height), self.network.config.detector.image_px
        )
        height, width = picture.shape[:2]
        truth = scene.truth.scaled(width / scene.width, height / scene.height)
        levels = self.levels(picture)
        detections, others = self.detections(levels), pseudo_labels.scaled(width, height)
        augmentations = (
            Augmentation(mirrored=True),
            *(random_augmentation(rng) for _ in range(RANDOM_AUGMENTATIONS)),
        )
        made = [
            self._example(levels, truth, detections, others),
            *(self.example(each, picture, truth, others) for each in augmentations),
        ]
        examples = tuple(each for each in made if each is not None)
        scale = scene.width / width, scene.height / height
        features = extract_roi_features(self.network, levels, top_boxes(detections))
        return SceneFeatures(features, scene.truth, scale, examples)

    @torch.inference_mode()
    def example(
        self, augmentation: Augmentation, picture: Picture, truth: GroundTruth, *others: Detections
    ) -> BranchExample | None:
        levels = self.levels(augmentation.apply(picture))
        moved = [augmentation.apply_to_boxes(each, picture) for each in others]
        truth = augmentation.apply_to_boxes(truth, picture)
        return self._example(levels, truth, self.detections(levels), *moved)

    def _example(self, levels: Sequence[Tensor], truth: GroundTruth, *detections: Detections) -> BranchExample | None:
        return make_example(extract_roi_features(self.network, levels, with_ground_truth(truth, *detections)), truth)


@torch.inference_mode()
def extract_roi_features(network: InteractNet, levels: Sequence[Tensor], boxes: BoxTensors) -> RoiFeatures:
    pooled = network.detector.pool(levels, boxes.boxes, torch.zeros_like(boxes.labels))
    return RoiFeatures(pooled.half(), boxes)


def with_ground_truth(truth: GroundTruth, *detections: Detections) -> BoxTensors:
    """The top detections and the annotated boxes: the branches also learn from those that a detector missed."""
    annotated = truth.confidence > 0.5
    top = [top_boxes(each) for each in detections]
    boxes = torch.cat([*(each.boxes for each in top), torch.from_numpy(truth.boxes_xyxy[annotated])])
    labels = torch.cat([*(each.labels for each in top), torch.from_numpy(truth.labels[annotated])])
    scores = torch.cat([*(each.scores for each in top), torch.from_numpy(truth.confidence[annotated])])
    return BoxTensors(boxes, scores, labels, (labels == PERSON).nonzero().squeeze(1))


def make_example(features: RoiFeatures, truth: GroundTruth) -> BranchExample | None:
    """The people among the boxes that overlap one with known actions; None without any."""
    boxes = features.boxes
    true_boxes = torch.from_numpy(truth.boxes_xyxy)
    known = torch.from_numpy((truth.labels == PERSON) & (truth.actions >= 0).any(1))
    overlaps = iou(boxes.boxes, true_boxes)
    best, person = (overlaps[boxes.people] * known).max(1) if len(truth) else (boxes.scores[:0], boxes.people[:0])
    kept = best >= MATCH_IOU
    if not kept.any():
        return None
    person = person[kept]
    actions = torch.from_numpy(truth.actions)[person].long()
    targets = torch.from_numpy(truth.targets)[person].long()
    has_target = (actions == 1) & (targets >= 0)
    hits = (overlaps >= MATCH_IOU)[:, targets.clamp_min(0)].permute(1, 0, 2)
    target_hits = torch.where((targets >= 0)[:, None], hits.long(), -1)
    pairs = torch.where((actions == 1)[:, None], target_hits, actions[:, None])
    # Implausible pairs get no score when triplets are composed, and would outnumber the few plausible ones here.
    pairs = pairs.masked_fill(plausible_slots()[boxes.labels] == 0, -1)
    pairs = pairs.masked_fill(_is_same_person(boxes, boxes.people[kept]), -1)
    chosen = BoxTensors(boxes.boxes, boxes.scores, boxes.labels, boxes.people[kept])
    true_targets = true_boxes[targets.clamp_min(0)]
    return BranchExample(RoiFeatures(features.pooled, chosen), actions, pairs, true_targets, has_target)


def _is_same_person(boxes: BoxTensors, people: Tensor) -> Tensor:
    """(p, n, 1) True for boxes that are the person, or another box around the same person."""
    same = iou(boxes.boxes[people], boxes.boxes) > SAME_PERSON_IOU
    return (same & (boxes.labels == PERSON))[:, :, None]


def partially_labelled_examples(
    extractor: FeatureExtractor, store: SceneStore, *, max_scenes: int, seed: int
) -> Iterator[BranchExample]:
    """Examples of random scenes in which some actions of a person are known and some are not, as in Stanford 40.

    Half of them are mirrored.
    """
    rng = np.random.default_rng(seed)
    partial = [at for at in rng.permutation(len(store)).tolist() if _is_partially_labelled(store[at][1])]
    for count, at in enumerate(partial[:max_scenes]):
        augmentation = Augmentation(mirrored=bool(rng.integers(2)))
        if (example := extractor.example(augmentation, *store[at])) is not None:
            yield example
        if count % LOG_EVERY == 0:
            log.info("examples of %d of %d scenes of the store", count, min(max_scenes, len(partial)))


def _is_partially_labelled(truth: GroundTruth) -> bool:
    known = truth.actions >= 0
    return bool((known.any(1) & ~known.all(1)).any())
