"""Samples anchors, RoIs, people and pairs of a batch for the losses, with their labels."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_area

from sightline.networks import boxes
from sightline.networks.faster_rcnn import DenseProposals, top_proposals
from sightline.networks.interactnet import Regions
from sightline.training.hoi.annotations import PERSON
from sightline.training.hoi.batches import Batch
from sightline.training.hoi.predictions import plausible_slots

ANCHOR_IOU, BACKGROUND_ANCHOR_IOU = 0.5, 0.35
ANCHORS_PER_IMAGE = 128
ROI_IOU = 0.5
ROIS_PER_IMAGE, POSITIVES_PER_IMAGE = 64, 20
PEOPLE_PER_IMAGE, OBJECTS_PER_IMAGE = 8, 12
CANDIDATES, PROPOSALS, PROPOSAL_IOU = 300, 80, 0.7
IGNORED_SHARE = 0.5
MIN_OBJECT_CONFIDENCE = 0.5
COPIES, JITTER = 4, (0.12, 0.12, 0.2, 0.2)
"""Copies of each annotated box among the RoIs, and the deviation of their deltas: in a short training the network's own
proposals fit well only near the end."""


@dataclass(frozen=True, slots=True)
class Sample(Regions):
    """Sampled regions with their labels.

    anchors: (k,) indices of the batch's anchors, picture after picture, with anchor_boxes and anchor_truth (k, 4) and
    objectness (k,) in 0..1. roi_truth: (r, 4), labels (r,) with -1 for the background, and confidence (r,). actions:
    (p, 29) of 1, 0 or -1; target_boxes (p, 29, 4) where has_target (p, 29). pairs: (2, q) rows of people and of
    objects, with pair_labels (q, 29).
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
class BatchTruth:
    """Ground truth of a batch, as in `Batch`, with masks (b, n) of the `known` boxes and the `ignored` regions. Targets
    that are not known boxes are -1."""

    boxes: Tensor
    labels: Tensor
    confidence: Tensor
    actions: Tensor
    targets: Tensor
    known: Tensor
    ignored: Tensor


@dataclass(frozen=True, slots=True)
class Selection:
    """Up to k indices of each picture, (b, k), of which only the `valid` ones count."""

    indices: Tensor
    valid: Tensor

    def of(self, rows: Tensor) -> Tensor:
        """The selected rows of (b, n, ...), picture after picture."""
        return gather_rows(rows, self.indices)[self.valid]

    def matched(self, rows: Tensor) -> "Selection":
        """The selection of the values that rows (b, n) have at these indices."""
        return Selection(gather_rows(rows, self.indices), self.valid)

    @property
    def pictures(self) -> Tensor:
        return self.valid.nonzero()[:, 0]


class Sampler:
    """Samples regions of one batch from dense proposals. All pictures are handled at once, which is faster on GPUs."""

    def __init__(self, batch: Batch) -> None:
        self.truth, self.size_px = batch_truth(batch), batch.size_px

    @torch.no_grad()
    def __call__(self, dense: DenseProposals) -> Sample:
        truth = self.truth
        proposals, real = self._proposals(dense)
        anchors = sample_anchors(dense.anchors, truth)
        return Sample(**anchors, **sample_rois(proposals, real, truth), **sample_interactions(proposals, real, truth))

    def _proposals(self, dense: DenseProposals) -> tuple[Tensor, Tensor]:
        """Boxes (b, m, 4) and a mask of the real ones (b, m): proposals, annotated boxes and jittered ones."""
        truth = self.truth
        candidates, logits = top_proposals(dense, self.size_px, CANDIDATES)
        kept = boxes.suppression_mask(candidates, logits, PROPOSAL_IOU)
        kept &= kept.cumsum(1) <= PROPOSALS
        near = boxes.clip(jitter(truth.boxes), *self.size_px)
        real = torch.cat([kept, truth.known.repeat(1, 1 + COPIES)], 1)
        return torch.cat([candidates, truth.boxes, near], 1), real


def batch_truth(batch: Batch) -> BatchTruth:
    """The ground truth without the rows that pad every picture."""
    rows = max(1, int((batch.labels >= 0).sum(1).max()))
    labels, confidence = batch.labels[:, :rows], batch.confidence[:, :rows]
    known, ignored = (labels >= 0) & (confidence > 0), (labels >= 0) & (confidence == 0)
    targets = batch.targets[:, :rows].long()
    target_is_known = gather_rows(known, targets.clamp_min(0).flatten(1)).view_as(targets)
    targets = torch.where((targets >= 0) & target_is_known, targets, -1)
    return BatchTruth(batch.boxes[:, :rows], labels, confidence, batch.actions[:, :rows], targets, known, ignored)


def sample_anchors(anchors: Tensor, truth: BatchTruth) -> dict[str, Tensor]:
    """Samples anchors. Up to half are positive: those of enough overlap, and the best one of each box."""
    all_anchors = anchors.expand(len(truth.boxes), -1, -1)
    overlaps = known_overlaps(all_anchors, truth.boxes, truth.known)
    best, row = overlaps.max(2)
    positive = best >= ANCHOR_IOU
    picture, box = truth.known.nonzero().unbind(1)
    closest = overlaps.argmax(1)[picture, box]
    positive[picture, closest], row[picture, closest] = True, box
    negative = (best < BACKGROUND_ANCHOR_IOU) & ~positive & ~_inside(all_anchors, truth)
    objects, background = balance(positive, negative, ANCHORS_PER_IMAGE // 2, ANCHORS_PER_IMAGE)
    chosen, matched, confidence = match_boxes(all_anchors, row, objects, background, truth)
    return {
        "anchors": torch.cat(
            [each.pictures * len(anchors) + each.indices[each.valid] for each in (objects, background)]
        ),
        "objectness": confidence,
        "anchor_boxes": chosen,
        "anchor_truth": matched,
    }


def sample_rois(proposals: Tensor, real: Tensor, truth: BatchTruth) -> dict[str, Tensor]:
    best, row = known_overlaps(proposals, truth.boxes, truth.known).max(2)
    positive = (best >= ROI_IOU) & real
    negative = (best < ROI_IOU) & real & ~_inside(proposals, truth)
    objects, background = balance(positive, negative, POSITIVES_PER_IMAGE, ROIS_PER_IMAGE)
    chosen, matched, confidence = match_boxes(proposals, row, objects, background, truth)
    labels = objects.matched(row).of(truth.labels)
    return {
        "rois": chosen,
        "rois_image": torch.cat([objects.pictures, background.pictures]),
        "roi_truth": matched,
        "labels": F.pad(labels, (0, len(chosen) - len(labels)), value=-1),
        "confidence": confidence,
    }


def match_boxes(
    candidates: Tensor, row: Tensor, objects: Selection, background: Selection, truth: BatchTruth
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (k, 4) of candidates (b, m, 4), objects first; the annotated boxes that they match by row (b, m), which for
    the background are the boxes themselves; and confidence (k,), 0 for the background."""
    matched, empty = objects.matched(row), background.of(candidates)
    return (
        torch.cat([objects.of(candidates), empty]),
        torch.cat([matched.of(truth.boxes), empty]),
        F.pad(matched.of(truth.confidence), (0, len(empty))),
    )


def sample_interactions(proposals: Tensor, real: Tensor, truth: BatchTruth) -> dict[str, Tensor]:
    """Samples proposals on people with known actions, and pairs them with boxes of their pictures."""
    acting = truth.known & (truth.labels == PERSON) & (truth.actions >= 0).any(2)
    best, row = known_overlaps(proposals, truth.boxes, acting).max(2)
    people = select_randomly((best >= ROI_IOU) & real, PEOPLE_PER_IMAGE)
    matched_people = people.matched(row)
    objects = _select_objects(matched_people, truth)
    actions, targets, pictures = matched_people.of(truth.actions), matched_people.of(truth.targets), people.pictures
    return {
        "people": people.of(proposals),
        "people_image": pictures,
        "actions": actions,
        "has_target": (targets >= 0) & (actions == 1),
        "target_boxes": truth.boxes[pictures[:, None], targets.clamp_min(0)],
        "objects": objects.of(truth.boxes),
        "objects_image": objects.pictures,
        "object_scores": F.one_hot(objects.of(truth.labels), 80).float(),
        **_pairs(matched_people, objects, truth),
    }


def _pairs(people: Selection, objects: Selection, truth: BatchTruth) -> dict[str, Tensor]:
    """Pairs with labels: 1 if the box is the action's object, unknown if no object is annotated or the class is not
    allowed."""
    valid = people.valid[:, :, None] & objects.valid[:, None]
    picture, rows, columns = (valid & (people.indices[:, :, None] != objects.indices[:, None])).nonzero().unbind(1)
    person_row, object_row = people.indices[picture, rows], objects.indices[picture, columns]
    action, target = truth.actions[picture, person_row].long(), truth.targets[picture, person_row]
    labels = torch.where(action == 1, torch.where(target >= 0, (target == object_row[:, None]).long(), -1), action)
    allowed = plausible_slots().to(labels.device)[truth.labels[picture, object_row]] > 0
    return {
        "pairs": torch.stack([_positions(people)[picture, rows], _positions(objects)[picture, columns]]),
        "pair_labels": torch.where(allowed, labels, -1),
    }


def _select_objects(people: Selection, truth: BatchTruth) -> Selection:
    """Boxes of the pictures that have people: their target objects first, then random ones."""
    target_rows = torch.where(people.valid[:, :, None], gather_rows(truth.targets, people.indices), -1)
    is_target = (target_rows[..., None] == torch.arange(truth.known.shape[1], device=target_rows.device)).any(2).any(1)
    confident = truth.known & (truth.confidence > MIN_OBJECT_CONFIDENCE)
    return select_randomly(
        (is_target | confident) & people.valid.any(1, keepdim=True), OBJECTS_PER_IMAGE, first=is_target
    )


def balance(positive: Tensor, negative: Tensor, max_positives: int, total: int) -> tuple[Selection, Selection]:
    """Up to `max_positives` of each picture, filled up with negatives to `total`."""
    positives = select_randomly(positive, max_positives)
    negatives = select_randomly(negative, total)
    room = total - positives.valid.sum(1, keepdim=True)
    has_room = torch.arange(negatives.valid.shape[1], device=room.device) < room
    return positives, Selection(negatives.indices, negatives.valid & has_room)


def jitter(truth: Tensor) -> Tensor:
    """(b, copies * n, 4) boxes near the annotated ones."""
    copies = truth.repeat(1, COPIES, 1)
    return boxes.decode(torch.randn_like(copies) * copies.new_tensor(JITTER), copies)


def select_randomly(mask: Tensor, count: int, *, first: Tensor | None = None) -> Selection:
    """Up to `count` random indices of each picture where `mask` (b, n) is true; those of `first` have priority."""
    order = torch.rand(mask.shape, device=mask.device)
    if first is not None:
        order = order + first
    values, indices = order.masked_fill(~mask, -1).topk(min(count, mask.shape[1]))
    return Selection(indices, values >= 0)


def _positions(selection: Selection) -> Tensor:
    """(b, k) position of each index among all valid ones of the batch."""
    return selection.valid.flatten().cumsum(0).view_as(selection.valid) - 1


def gather_rows(rows: Tensor, indices: Tensor) -> Tensor:
    """(b, k, ...) of rows (b, n, ...) at indices (b, k)."""
    return rows[torch.arange(len(rows), device=rows.device)[:, None], indices]


def known_overlaps(candidates: Tensor, annotated: Tensor, known: Tensor) -> Tensor:
    """(b, m, n) IoU of boxes (b, m, 4) with annotated ones (b, n, 4), 0 for those that are not known (b, n)."""
    return boxes.iou(candidates, annotated * known[..., None])


def _inside(candidates: Tensor, truth: BatchTruth) -> Tensor:
    """(b, m) True for boxes of which half lies in an ignored region."""
    if not truth.ignored.any():
        return torch.zeros(candidates.shape[:2], dtype=torch.bool, device=candidates.device)
    share: Tensor = boxes.intersections(candidates, truth.boxes) / box_area(candidates).clamp_min(1).unsqueeze(-1)
    inside: Tensor = (share >= IGNORED_SHARE) & truth.ignored[:, None]
    return inside.any(2)
