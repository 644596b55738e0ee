"""The terms of InteractNet's multi-task loss (section 3 of the paper), with soft labels for what a teacher said."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from sightline.networks.boxes import encode
from sightline.networks.faster_rcnn import BOX_SCALE
from sightline.networks.interactnet import Outputs
from sightline.training.hoi.sampling import Sample

ACTION_WEIGHT = 2.0
"""Of the human-centric actions, as in the paper."""
TARGET_WEIGHT = 0.25
"""1 in the paper; the deviations of targets are larger than those of boxes by far, and would drown the other terms."""
PROPOSAL_BOX_WEIGHT, BOX_WEIGHT = 4.0, 2.0
"""1 in Faster R-CNN, which trains far longer: here places were learned more slowly than names."""
SMOOTH = 1 / 9
FARTHEST_TARGET = 4.0
"""Targets beyond so many sizes of the person, which are mostly wrong pairs, count no more than this."""


def detection_losses(outputs: Outputs[Sample], deltas: Tensor) -> Mapping[str, Tensor]:
    """`deltas` (r, 4) are those of each RoI's own class."""
    dense, sample = outputs.dense, outputs.regions
    logits = dense.logits.flatten()[sample.anchors]
    found = dense.deltas.flatten(0, 1)[sample.anchors]
    anchor_deltas = encode(sample.anchor_truth, sample.anchor_boxes)
    roi_deltas = encode(sample.roi_truth, sample.rois) / sample.rois.new_tensor(BOX_SCALE)
    return {
        "rpn_object": F.binary_cross_entropy_with_logits(logits, sample.objectness),
        "rpn_box": PROPOSAL_BOX_WEIGHT * box_loss(found, anchor_deltas, sample.objectness),
        "class": soft_cross_entropy(outputs.class_logits, sample.labels, sample.confidence),
        "box": BOX_WEIGHT * box_loss(deltas, roi_deltas, sample.confidence),
    }


def box_loss(found: Tensor, wanted: Tensor, confidence: Tensor) -> Tensor:
    """Smooth L1, each box as much as it is sure; per region looked at, so that positives weigh by their number."""
    each = F.smooth_l1_loss(found, wanted, reduction="none", beta=SMOOTH).sum(1)
    return (each * confidence).sum() / max(len(confidence), 1)


def soft_cross_entropy(logits: Tensor, labels: Tensor, confidence: Tensor) -> Tensor:
    """A box that the teacher is half sure of is half background, which is the last class."""
    log_shares = logits.log_softmax(1)
    of_class = log_shares.gather(1, labels.clamp_min(0)[:, None]).squeeze(1)
    each = confidence * of_class + (1 - confidence) * log_shares[:, -1]
    return -each.mean()


def interaction_losses(outputs: Outputs[Sample]) -> Mapping[str, Tensor]:
    sample = outputs.regions
    rows, columns = sample.pairs
    pair_logits = outputs.person_logits[rows] + outputs.object_logits[columns]
    return {
        "action": ACTION_WEIGHT * known_cross_entropy(outputs.actions, sample.actions),
        "target": TARGET_WEIGHT * target_loss(outputs.targets, sample.people, sample.target_boxes, sample.has_target),
        "pair": known_cross_entropy(pair_logits, sample.pair_labels),
    }


def known_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy over the labels of 1 and 0; those of -1, which nobody gave, count nothing."""
    known = labels >= 0
    each = F.binary_cross_entropy_with_logits(logits, labels.clamp_min(0).to(logits.dtype), reduction="none")
    return (each * known).sum() / known.sum().clamp_min(1)


def target_loss(targets: Tensor, people: Tensor, target_boxes: Tensor, has_target: Tensor) -> Tensor:
    """Smooth L1 of the target means (p, slots, 4) where an object was annotated."""
    wanted = encode(target_boxes, people[:, None].expand_as(target_boxes)).clamp(-FARTHEST_TARGET, FARTHEST_TARGET)
    each = F.smooth_l1_loss(targets, wanted, reduction="none", beta=SMOOTH).sum(-1)
    return (each * has_target).sum() / has_target.sum().clamp_min(1)
