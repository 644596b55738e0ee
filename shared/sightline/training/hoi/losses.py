"""The terms of InteractNet's multi-task loss (section 3 of the paper) with soft labels, and feature distillation."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.networks.boxes import encode
from sightline.networks.faster_rcnn import BOX_SCALE
from sightline.networks.interactnet import Outputs
from sightline.training.hoi.sampling import Sample

ACTION_WEIGHT = 2.0
"""Weight of the human-centric actions, as in the paper."""
TARGET_WEIGHT = 0.25
"""1 in the paper. Targets deviate far more than boxes and would outweigh the other terms."""
PROPOSAL_BOX_WEIGHT, BOX_WEIGHT = 4.0, 2.0
"""1 in Faster R-CNN, which trains far longer: in short trainings boxes are learned more slowly than classes."""
SMOOTH_L1_BETA = 1 / 9
MAX_TARGET = 4.0
"""Targets are clamped to this many sizes of the person: most that are farther away belong to wrong pairs."""
BACKGROUND_WEIGHT = 0.1
"""Weight of a cell where the teacher detects nothing, besides its best score."""


def detection_losses(outputs: Outputs[Sample], deltas: Tensor) -> Mapping[str, Tensor]:
    """Losses of proposals and of the box head. `deltas` (r, 4) are those of each RoI's own class."""
    dense, sample = outputs.dense, outputs.regions
    logits = dense.logits.flatten()[sample.anchors]
    proposal_deltas = dense.deltas.flatten(0, 1)[sample.anchors]
    anchor_deltas = encode(sample.anchor_truth, sample.anchor_boxes)
    roi_deltas = encode(sample.roi_truth, sample.rois) / sample.rois.new_tensor(BOX_SCALE)
    return {
        "rpn_object": F.binary_cross_entropy_with_logits(logits, sample.objectness),
        "rpn_box": PROPOSAL_BOX_WEIGHT * box_loss(proposal_deltas, anchor_deltas, sample.objectness),
        "class": soft_cross_entropy(outputs.class_logits, sample.labels, sample.confidence),
        "box": BOX_WEIGHT * box_loss(deltas, roi_deltas, sample.confidence),
    }


def box_loss(deltas: Tensor, expected: Tensor, confidence: Tensor) -> Tensor:
    """Smooth L1 weighted by confidence, divided by the number of all sampled regions."""
    each = F.smooth_l1_loss(deltas, expected, reduction="none", beta=SMOOTH_L1_BETA).sum(1)
    return (each * confidence).sum() / max(len(confidence), 1)


def soft_cross_entropy(logits: Tensor, labels: Tensor, confidence: Tensor) -> Tensor:
    """Cross-entropy in which a box of confidence c has the probability 1 - c of being background, the last class."""
    log_shares = logits.log_softmax(1)
    of_class = log_shares.gather(1, labels.clamp_min(0)[:, None]).squeeze(1)
    each = confidence * of_class + (1 - confidence) * log_shares[:, -1]
    return -each.mean()


def interaction_losses(outputs: Outputs[Sample]) -> Mapping[str, Tensor]:
    """Losses of the human-centric branch and the interaction branch."""
    sample = outputs.regions
    rows, columns = sample.pairs
    pair_logits = outputs.person_logits[rows] + outputs.object_logits[columns]
    return {
        "action": ACTION_WEIGHT * known_cross_entropy(outputs.actions, sample.actions),
        "target": TARGET_WEIGHT * target_loss(outputs.targets, sample.people, sample.target_boxes, sample.has_target),
        "pair": known_cross_entropy(pair_logits, sample.pair_labels),
    }


def known_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy over the labels 1 and 0; unknown labels of -1 are left out."""
    known = labels >= 0
    each = F.binary_cross_entropy_with_logits(logits, labels.clamp_min(0).to(logits.dtype), reduction="none")
    return (each * known).sum() / known.sum().clamp_min(1)


def target_loss(targets: Tensor, people: Tensor, target_boxes: Tensor, has_target: Tensor) -> Tensor:
    """Smooth L1 of the target means (p, slots, 4) where an object was annotated."""
    expected = encode(target_boxes, people[:, None].expand_as(target_boxes)).clamp(-MAX_TARGET, MAX_TARGET)
    each = F.smooth_l1_loss(targets, expected, reduction="none", beta=SMOOTH_L1_BETA).sum(-1)
    return (each * has_target).sum() / has_target.sum().clamp_min(1)


def imitation_loss(levels: Sequence[Tensor], features: Tensor, scores: Tensor) -> Tensor:
    """1 minus the correlation of each channel of levels (b, c, h, w) with a teacher's features (b, cells, c).

    Cells are weighted by the teacher's best score (b, cells). Correlation ignores scale and offset, which the heads on
    the pyramid adapt to. Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson Correlation
    Coefficient", NeurIPS 2022.
    """
    sizes = [level.shape[2] * level.shape[3] for level in levels]
    parts = zip(levels, features.split(sizes, 1), scores.split(sizes, 1), strict=True)
    errors, weights = zip(*(_weighted_errors(level.flatten(2).mT, *theirs) for level, *theirs in parts), strict=True)
    return torch.stack(errors).sum() / torch.stack(weights).sum()


def _weighted_errors(cells: Tensor, teacher_cells: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The weighted sum of errors and the sum of weights."""
    each = (_standardize(cells) - _standardize(teacher_cells)).square().mean(2) / 2
    weights = BACKGROUND_WEIGHT + scores
    return (each * weights).sum(), weights.sum()


def _standardize(cells: Tensor) -> Tensor:
    """Zero mean and unit deviation over all cells of the batch."""
    centred = cells - cells.mean((0, 1))
    return centred / centred.square().mean((0, 1)).sqrt().clamp_min(1e-3)
