"""Which anchors, RoIs, people and pairs of a batch the losses look at, and what they should have been."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.networks import boxes
from sightline.networks.interactnet import Regions
from sightline.networks.proposals import DenseProposals, best_candidates
from sightline.training.hoi.data import Batch
from sightline.training.hoi.predictions import plausible_slots
from sightline.training.hoi.verbs import PERSON

ANCHOR_IOU, BACKGROUND_ANCHOR_IOU = 0.5, 0.35
ANCHORS_PER_IMAGE = 128
ROI_IOU = 0.5
ROIS_PER_IMAGE, POSITIVES_PER_IMAGE = 64, 20
PEOPLE_PER_IMAGE, OBJECTS_PER_IMAGE = 8, 12
CANDIDATES, PROPOSALS, PROPOSAL_IOU = 300, 80, 0.7
IGNORED_SHARE = 0.5
COPIES, JITTER = 4, (0.12, 0.12, 0.2, 0.2)
"""Of each true box among the RoIs, and how far they are off as deltas: good proposals come late in a short training."""


@dataclass(frozen=True, slots=True)
class Sample(Regions):
    """The regions with what they should come to.

    anchors: (k,) places among the anchors of the batch, of one picture after the other, with anchor_boxes and
    anchor_truth (k, 4) and objectness (k,) in 0..1. roi_truth: (r, 4), labels (r,) with -1 for the background, and
    confidence (r,). actions: (p, 29) of 1, 0 or -1; target_boxes (p, 29, 4) where has_target (p, 29). pairs: (2, q)
    places among people and objects, with pair_labels (q, 29).
    """

    anchors: Tensor
    objectness: Tensor
    anchor_boxes: Tensor
    anchor_truth: Tensor
    labels: Tensor
    confidence: Tensor
    roi_truth: Tensor
    actions: Tensor
    target_boxes: Tensor
    has_target: Tensor
    pairs: Tensor
    pair_labels: Tensor


@dataclass(frozen=True, slots=True)
class PictureTruth:
    """Of one picture: the boxes that count, with their arrays, and the regions to leave alone."""

    boxes: Tensor
    labels: Tensor
    confidence: Tensor
    actions: Tensor
    targets: Tensor
    ignored: Tensor


class Sampler:
    """`sampler(dense)` chooses regions of the batch that it was made for."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    @torch.no_grad()
    def __call__(self, dense: DenseProposals) -> Sample:
        parts = [self._picture(dense, at) for at in range(len(self.batch.boxes))]
        joined: dict[str, Tensor] = {}
        people = objects = 0
        for part in parts:
            part["pairs"] = part["pairs"] + torch.tensor([[people], [objects]], device=part["pairs"].device)
            people, objects = people + len(part["people"]), objects + len(part["objects"])
        for name in parts[0]:
            joined[name] = torch.cat([part[name] for part in parts], dim=1 if name == "pairs" else 0)
        return Sample(**joined)

    def _picture(self, dense: DenseProposals, at: int) -> dict[str, Tensor]:
        truth = picture_truth(self.batch, at)
        part = sample_anchors(dense.anchors, truth)
        part["anchors"] = part["anchors"] + at * len(dense.anchors)
        candidates, logits = best_candidates(dense, at, self.batch.size_px, CANDIDATES)
        found = candidates[boxes.nms(candidates, logits, PROPOSAL_IOU)[:PROPOSALS]]
        proposals = torch.cat([found, truth.boxes, boxes.clip(jittered(truth.boxes), *self.batch.size_px)])
        part |= sample_rois(proposals, truth)
        part |= sample_people(proposals, truth)
        part |= sample_pairs(part["people"], part.pop("people_truth"), truth, self.batch.size_px)
        for name in ("rois", "people", "objects"):
            part[f"{name}_image"] = torch.full((len(part[name]),), at, device=truth.boxes.device)
        return part


def picture_truth(batch: Batch, at: int) -> PictureTruth:
    real = batch.labels[at] >= 0
    known = (real & (batch.confidence[at] > 0)).nonzero().squeeze(1)
    ignored = real & (batch.confidence[at] == 0)
    # The targets are places among all rows, of which ignored ones drop out here.
    moved = torch.full((len(real) + 1,), -1, device=real.device)
    moved[known] = torch.arange(len(known), device=real.device)
    targets = moved[batch.targets[at][known].long()]
    every = batch.boxes[at]
    sure, actions = batch.confidence[at][known], batch.actions[at][known]
    return PictureTruth(every[known], batch.labels[at][known], sure, actions, targets, every[ignored])


def sample_anchors(anchors: Tensor, truth: PictureTruth) -> dict[str, Tensor]:
    """Up to half of the anchors are positive: those of enough overlap, and the best one of each box."""
    overlaps = boxes.iou(anchors, truth.boxes)
    best, match = overlaps.max(1) if len(truth.boxes) else _nothing(anchors)
    positive = best >= ANCHOR_IOU
    if len(truth.boxes):
        closest = overlaps.argmax(0)
        positive[closest] = True
        match[closest] = torch.arange(len(truth.boxes), device=anchors.device)
    negative = (best < BACKGROUND_ANCHOR_IOU) & ~positive & ~_inside(anchors, truth.ignored)
    chosen = random_places(positive, ANCHORS_PER_IMAGE // 2)
    others = random_places(negative, ANCHORS_PER_IMAGE - len(chosen))
    sure = truth.confidence[match[chosen]] if len(truth.boxes) else truth.confidence
    return {
        "anchors": torch.cat([chosen, others]),
        "objectness": torch.cat([sure, sure.new_zeros(len(others))]),
        "anchor_boxes": torch.cat([anchors[chosen], anchors[others]]),
        "anchor_truth": torch.cat([truth.boxes[match[chosen]], anchors[others]]),
    }


def sample_rois(proposals: Tensor, truth: PictureTruth) -> dict[str, Tensor]:
    best, match = boxes.iou(proposals, truth.boxes).max(1) if len(truth.boxes) else _nothing(proposals)
    positive = best >= ROI_IOU
    chosen = random_places(positive, POSITIVES_PER_IMAGE)
    others = random_places(~positive & ~_inside(proposals, truth.ignored), ROIS_PER_IMAGE - len(chosen))
    background = truth.labels.new_full((len(others),), -1)
    matched = match[chosen]
    return {
        "rois": torch.cat([proposals[chosen], proposals[others]]),
        "roi_truth": torch.cat([truth.boxes[matched], proposals[others]]),
        "labels": torch.cat([truth.labels[matched], background]),
        "confidence": torch.cat([truth.confidence[matched], truth.confidence.new_zeros(len(others))]),
    }


def sample_people(proposals: Tensor, truth: PictureTruth) -> dict[str, Tensor]:
    """Proposals on people of whom an action is known, with what these do and where their objects are."""
    known = ((truth.labels == PERSON) & (truth.actions >= 0).any(1)).nonzero().squeeze(1)
    overlaps = boxes.iou(proposals, truth.boxes[known])
    best, match = overlaps.max(1) if len(known) else _nothing(proposals)
    chosen = random_places(best >= ROI_IOU, PEOPLE_PER_IMAGE)
    person = known[match[chosen]] if len(known) else known
    targets = truth.targets[person]
    has_target = (targets >= 0) & (truth.actions[person] == 1)
    target_boxes = (
        truth.boxes[targets.clamp_min(0)] if len(truth.boxes) else truth.boxes.new_zeros(0, targets.shape[1], 4)
    )
    return {
        "people": proposals[chosen],
        "people_truth": person,
        "actions": truth.actions[person],
        "has_target": has_target,
        "target_boxes": target_boxes,
    }


def sample_pairs(people: Tensor, person: Tensor, truth: PictureTruth, _size_px: tuple[int, int]) -> dict[str, Tensor]:
    """Every sampled person with every box, the targets of someone first.

    A pair's label is 1 if the box is the action's object, and unknown if that was not annotated or the class cannot be.
    """
    wanted = torch.zeros(len(truth.boxes), dtype=torch.bool, device=people.device)
    targets = truth.targets[person]
    wanted[targets[targets >= 0]] = True
    objects = torch.cat(
        [wanted.nonzero().squeeze(1), random_places(~wanted & (truth.confidence > 0.5), OBJECTS_PER_IMAGE)]
    )
    objects = objects[:OBJECTS_PER_IMAGE] if len(people) else objects[:0]
    rows, columns = torch.meshgrid(
        torch.arange(len(people), device=people.device), torch.arange(len(objects), device=people.device), indexing="ij"
    )
    rows, columns = rows.flatten(), columns.flatten()
    other = person[rows] != objects[columns]
    rows, columns = rows[other], columns[other]
    action, target = truth.actions[person[rows]].long(), targets[rows]
    hit = target == objects[columns][:, None]
    labels = torch.where(action == 1, torch.where(target >= 0, hit.long(), -1), action)
    possible = plausible_slots().to(labels.device)[truth.labels[objects[columns]]] > 0
    return {
        "objects": truth.boxes[objects],
        "object_scores": F.one_hot(truth.labels[objects], 80).float(),
        "pairs": torch.stack([rows, columns]),
        "pair_labels": torch.where(possible, labels, -1),
    }


def jittered(truth: Tensor) -> Tensor:
    """(copies * n, 4) boxes near the true ones."""
    copies = truth.repeat(COPIES, 1)
    return boxes.decode(torch.randn_like(copies) * copies.new_tensor(JITTER), copies)


def random_places(chosen: Tensor, most: int) -> Tensor:
    """At most so many of the places where `chosen` (n,) is true."""
    places = chosen.nonzero().squeeze(1)
    return places[torch.randperm(len(places), device=places.device)[:most]]


def _nothing(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows.new_zeros(len(rows)), rows.new_zeros(len(rows), dtype=torch.long)


def _inside(rows: Tensor, ignored: Tensor) -> Tensor:
    """(n,) whether half of a box lies in a region to leave alone."""
    if not len(ignored):
        return torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    share = boxes.intersections(rows, ignored) / boxes.areas(rows).clamp_min(1)[:, None]
    return share.amax(1) >= IGNORED_SHARE
