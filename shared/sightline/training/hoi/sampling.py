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
SURE = 0.5
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
class Truths:
    """Of a batch, as in `Batch`, with which rows (b, n) are `known` boxes and which are `ignored` regions, to be left
    alone. The target of nobody known is -1."""

    boxes: Tensor
    labels: Tensor
    confidence: Tensor
    actions: Tensor
    targets: Tensor
    known: Tensor
    ignored: Tensor


@dataclass(frozen=True, slots=True)
class Picks:
    """Up to k places of each picture, (b, k), of which those count that are `there`."""

    places: Tensor
    there: Tensor

    def of(self, rows: Tensor) -> Tensor:
        """What (b, n, ...) has at the picks, of one picture after the other."""
        return taken(rows, self.places)[self.there]

    def matched(self, rows: Tensor) -> "Picks":
        """The places that the picks have in rows (b, n)."""
        return Picks(taken(rows, self.places), self.there)

    @property
    def pictures(self) -> Tensor:
        return self.there.nonzero()[:, 0]


class Sampler:
    """`sampler(dense)` chooses regions of the batch that it was made for; all pictures at once, as GPUs like it."""

    def __init__(self, batch: Batch) -> None:
        self.truths, self.size_px = truths_of(batch), batch.size_px

    @torch.no_grad()
    def __call__(self, dense: DenseProposals) -> Sample:
        truths = self.truths
        proposals, real = self._proposals(dense)
        anchors = sample_anchors(dense.anchors, truths)
        return Sample(**anchors, **sample_rois(proposals, real, truths), **sample_interactions(proposals, real, truths))

    def _proposals(self, dense: DenseProposals) -> tuple[Tensor, Tensor]:
        """Boxes (b, m, 4) and which of them are (b, m): the network's best, the true ones, and those moved a bit."""
        truths = self.truths
        candidates, _ = best_candidates(dense, self.size_px, CANDIDATES)
        kept = boxes.unrivalled(candidates, PROPOSAL_IOU)
        kept &= kept.cumsum(1) <= PROPOSALS
        near = boxes.clip(jittered(truths.boxes), *self.size_px)
        real = torch.cat([kept, truths.known.repeat(1, 1 + COPIES)], 1)
        return torch.cat([candidates, truths.boxes, near], 1), real


def truths_of(batch: Batch) -> Truths:
    """Without the rows that only fill up every picture."""
    most = max(1, int((batch.labels >= 0).sum(1).max()))
    labels, confidence = batch.labels[:, :most], batch.confidence[:, :most]
    known, ignored = (labels >= 0) & (confidence > 0), (labels >= 0) & (confidence == 0)
    targets = batch.targets[:, :most].long()
    someone = taken(known, targets.clamp_min(0).flatten(1)).view_as(targets)
    targets = torch.where((targets >= 0) & someone, targets, -1)
    return Truths(batch.boxes[:, :most], labels, confidence, batch.actions[:, :most], targets, known, ignored)


def sample_anchors(anchors: Tensor, truths: Truths) -> dict[str, Tensor]:
    """Up to half of the anchors are positive: those of enough overlap, and the best one of each box."""
    every = anchors.expand(len(truths.boxes), -1, -1)
    overlaps = known_overlaps(every, truths.boxes, truths.known)
    best, row = overlaps.max(2)
    positive = best >= ANCHOR_IOU
    picture, mine = truths.known.nonzero().unbind(1)
    closest = overlaps.argmax(1)[picture, mine]
    positive[picture, closest], row[picture, closest] = True, mine
    negative = (best < BACKGROUND_ANCHOR_IOU) & ~positive & ~_inside(every, truths)
    objects, background = positives_and_negatives(positive, negative, ANCHORS_PER_IMAGE // 2, ANCHORS_PER_IMAGE)
    chosen, wanted, sure = examples(every, row, objects, background, truths)
    return {
        "anchors": torch.cat(
            [each.pictures * len(anchors) + each.places[each.there] for each in (objects, background)]
        ),
        "objectness": sure,
        "anchor_boxes": chosen,
        "anchor_truth": wanted,
    }


def sample_rois(proposals: Tensor, real: Tensor, truths: Truths) -> dict[str, Tensor]:
    best, row = known_overlaps(proposals, truths.boxes, truths.known).max(2)
    positive = (best >= ROI_IOU) & real
    negative = (best < ROI_IOU) & real & ~_inside(proposals, truths)
    objects, background = positives_and_negatives(positive, negative, POSITIVES_PER_IMAGE, ROIS_PER_IMAGE)
    chosen, wanted, sure = examples(proposals, row, objects, background, truths)
    labels = objects.matched(row).of(truths.labels)
    return {
        "rois": chosen,
        "rois_image": torch.cat([objects.pictures, background.pictures]),
        "roi_truth": wanted,
        "labels": F.pad(labels, (0, len(chosen) - len(labels)), value=-1),
        "confidence": sure,
    }


def examples(
    found: Tensor, row: Tensor, objects: Picks, background: Picks, truths: Truths
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (k, 4) out of found (b, m, 4), objects first; the true ones that they match by row (b, m), which for the
    background are themselves; and confidence (k,), which for the background is 0."""
    matched, empty = objects.matched(row), background.of(found)
    return (
        torch.cat([objects.of(found), empty]),
        torch.cat([matched.of(truths.boxes), empty]),
        F.pad(matched.of(truths.confidence), (0, len(empty))),
    )


def sample_interactions(proposals: Tensor, real: Tensor, truths: Truths) -> dict[str, Tensor]:
    """Proposals on people of whom an action is known, and boxes of their pictures, each person with every one of them;
    with what these people do and where their objects are."""
    acting = truths.known & (truths.labels == PERSON) & (truths.actions >= 0).any(2)
    best, row = known_overlaps(proposals, truths.boxes, acting).max(2)
    people = random_picks((best >= ROI_IOU) & real, PEOPLE_PER_IMAGE)
    someone = people.matched(row)
    objects = _things(someone, truths)
    actions, targets, pictures = someone.of(truths.actions), someone.of(truths.targets), people.pictures
    return {
        "people": people.of(proposals),
        "people_image": pictures,
        "actions": actions,
        "has_target": (targets >= 0) & (actions == 1),
        "target_boxes": truths.boxes[pictures[:, None], targets.clamp_min(0)],
        "objects": objects.of(truths.boxes),
        "objects_image": objects.pictures,
        "object_scores": F.one_hot(objects.of(truths.labels), 80).float(),
        **_pairs(someone, objects, truths),
    }


def _pairs(people: Picks, objects: Picks, truths: Truths) -> dict[str, Tensor]:
    """A pair's label is 1 if the box is the action's object, and unknown if that was not annotated or the class cannot
    be."""
    there = people.there[:, :, None] & objects.there[:, None]
    picture, rows, columns = (there & (people.places[:, :, None] != objects.places[:, None])).nonzero().unbind(1)
    who, what = people.places[picture, rows], objects.places[picture, columns]
    action, target = truths.actions[picture, who].long(), truths.targets[picture, who]
    labels = torch.where(action == 1, torch.where(target >= 0, (target == what[:, None]).long(), -1), action)
    possible = plausible_slots().to(labels.device)[truths.labels[picture, what]] > 0
    return {
        "pairs": torch.stack([_numbered(people)[picture, rows], _numbered(objects)[picture, columns]]),
        "pair_labels": torch.where(possible, labels, -1),
    }


def _things(people: Picks, truths: Truths) -> Picks:
    """Boxes of the pictures that have people: what these aim at first, and others by chance."""
    aimed = torch.where(people.there[:, :, None], taken(truths.targets, people.places), -1)
    wanted = (aimed[..., None] == torch.arange(truths.known.shape[1], device=aimed.device)).any(2).any(1)
    sure = truths.known & (truths.confidence > SURE)
    return random_picks((wanted | sure) & people.there.any(1, keepdim=True), OBJECTS_PER_IMAGE, first=wanted)


def positives_and_negatives(positive: Tensor, negative: Tensor, most: int, together: int) -> tuple[Picks, Picks]:
    """At most so many positives of each picture, and as many negatives as are missing to all that are wanted."""
    chosen = random_picks(positive, most)
    others = random_picks(negative, together)
    room = together - chosen.there.sum(1, keepdim=True)
    fits = torch.arange(others.there.shape[1], device=room.device) < room
    return chosen, Picks(others.places, others.there & fits)


def jittered(truth: Tensor) -> Tensor:
    """(b, copies * n, 4) boxes near the true ones."""
    copies = truth.repeat(1, COPIES, 1)
    return boxes.decode(torch.randn_like(copies) * copies.new_tensor(JITTER), copies)


def random_picks(chosen: Tensor, most: int, *, first: Tensor | None = None) -> Picks:
    """At most so many places of each picture where `chosen` (b, n) is true, first of all those that are `first`."""
    order = torch.rand(chosen.shape, device=chosen.device)
    if first is not None:
        order = order + first
    values, places = order.masked_fill(~chosen, -1).topk(min(most, chosen.shape[1]))
    return Picks(places, values >= 0)


def _numbered(picks: Picks) -> Tensor:
    """(b, k) the place of each pick among all that are there."""
    return picks.there.flatten().cumsum(0).view_as(picks.there) - 1


def taken(rows: Tensor, places: Tensor) -> Tensor:
    """(b, k, ...) of rows (b, n, ...) at places (b, k)."""
    return rows[torch.arange(len(rows), device=rows.device)[:, None], places]


def known_overlaps(found: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """(b, m, n) IoU of (b, m, 4) with (b, n, 4), 0 for those that are not known (b, n)."""
    return boxes.iou(found, truth * known[..., None])


def _inside(found: Tensor, truths: Truths) -> Tensor:
    """(b, m) whether half of a box lies in a region to leave alone."""
    if not truths.ignored.any():
        return torch.zeros(found.shape[:2], dtype=torch.bool, device=found.device)
    share = boxes.intersections(found, truths.boxes) / boxes.areas(found).clamp_min(1).unsqueeze(-1)
    return ((share >= IGNORED_SHARE) & truths.ignored[:, None]).any(2)
