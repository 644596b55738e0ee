"""What the frozen detector gives the branches to learn from: RoI features of boxes, and what these should come to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sightline.networks.boxes import iou
from sightline.networks.interactnet import InteractNet
from sightline.training.hoi.detections import Detections
from sightline.training.hoi.predictions import Boxes, plausible_slots
from sightline.training.hoi.truth import Truth
from sightline.training.hoi.verbs import PERSON

MATCH_IOU = 0.5
MOST_BOXES = 40


@dataclass(frozen=True, slots=True)
class Observation:
    """pooled: (n, c, 7, 7) half precision, of the boxes seen; seen.people (p,) are places among them."""

    pooled: Tensor
    seen: Boxes


@dataclass(frozen=True, slots=True)
class Lesson:
    """An observation with labels for its people: actions (p, 29) and pairs (p, n, 29) of 1, 0 or -1; target_boxes
    (p, 29, 4) where has_target (p, 29)."""

    observation: Observation
    actions: Tensor
    pairs: Tensor
    target_boxes: Tensor
    has_target: Tensor


def seen_boxes(found: Detections) -> Boxes:
    chosen = found.where(np.arange(min(len(found), MOST_BOXES)))
    boxes, scores, labels = (torch.from_numpy(each) for each in (chosen.boxes_xyxy, chosen.scores, chosen.labels))
    return Boxes(boxes, scores, labels, (labels == PERSON).nonzero().squeeze(1))


@torch.inference_mode()
def observe(network: InteractNet, levels: Sequence[Tensor], seen: Boxes) -> Observation:
    pooled = network.detector.pool(levels, seen.boxes, torch.zeros_like(seen.labels))
    return Observation(pooled.half(), seen)


def with_truth(truth: Truth, *found: Detections) -> Boxes:
    """What detectors saw, and the true people and objects besides: what they missed is still to be learned."""
    sure = truth.confidence > 0.5
    seen = [seen_boxes(each) for each in found]
    boxes = torch.cat([*(each.boxes for each in seen), torch.from_numpy(truth.boxes_xyxy[sure])])
    labels = torch.cat([*(each.labels for each in seen), torch.from_numpy(truth.labels[sure])])
    scores = torch.cat([*(each.scores for each in seen), torch.from_numpy(truth.confidence[sure])])
    return Boxes(boxes, scores, labels, (labels == PERSON).nonzero().squeeze(1))


def lesson(observation: Observation, truth: Truth) -> Lesson | None:
    """Of the people seen that overlap one whose actions are known; None without any."""
    seen = observation.seen
    true_boxes = torch.from_numpy(truth.boxes_xyxy)
    known = torch.from_numpy((truth.labels == PERSON) & (truth.actions >= 0).any(1))
    overlaps = iou(seen.boxes, true_boxes)
    on_person, person = (overlaps[seen.people] * known).max(1) if len(truth) else (seen.scores[:0], seen.people[:0])
    kept = on_person >= MATCH_IOU
    if not kept.any():
        return None
    person = person[kept]
    actions = torch.from_numpy(truth.actions)[person].long()
    targets = torch.from_numpy(truth.targets)[person].long()
    has_target = (actions == 1) & (targets >= 0)
    hits = (overlaps >= MATCH_IOU)[:, targets.clamp_min(0)].permute(1, 0, 2)
    placed = torch.where((targets >= 0)[:, None], hits.long(), -1)
    pairs = torch.where((actions == 1)[:, None], placed, actions[:, None])
    # What cannot be is left out when scores are composed, and would drown the few pairs that are.
    pairs = pairs.masked_fill(plausible_slots()[seen.labels] == 0, -1)
    pairs = pairs.masked_fill(_itself(seen, seen.people[kept]), -1)
    chosen = Observation(observation.pooled, Boxes(seen.boxes, seen.scores, seen.labels, seen.people[kept]))
    return Lesson(chosen, actions, pairs, true_boxes[targets.clamp_min(0)], has_target)


def _itself(seen: Boxes, people: Tensor) -> Tensor:
    """(p, n, 1) boxes that are the person, or another box around the same."""
    same = iou(seen.boxes[people], seen.boxes) > 0.6
    return (same & (seen.labels == PERSON))[:, :, None]
