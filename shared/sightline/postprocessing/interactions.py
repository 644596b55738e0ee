"""Scores of human-object interactions (Gkioxari et al., "Detecting and Recognizing Human-Object Interactions", CVPR
2018, sections 3.2 and 3.3).

S = s_h * s_o * s^a * g: the detector's scores of person and object, the action's score, and the fit of the object's
place to the target that is predicted from the person's appearance.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

NO_OBJECT = -1
MAX_LOG_RATIO = 6.0
"""Largest logarithm of the ratio of two sides: e^6 is about 400."""
MIN_SIDE_PX = 1e-3
MIN_PROBABILITY = 1e-5
"""Of an action, so that its logit is finite."""


class ActionScore(StrEnum):
    """Source of s^a: the human-centric branch, the interaction branch, or the geometric mean of both."""

    PERSON = "person"
    PAIR = "pair"
    GEOMETRIC_MEAN = "geometric_mean"


@dataclass(frozen=True, slots=True)
class Composition:
    """Parameters of the score.

    `sigma` is the standard deviation of the target density; without `uses_targets`, g is 1. `empty_role` is the value
    of s_o * g for a role without object: where no object reaches it, the role is empty. `layout_weight` is the share of
    the layout network in the logits of actions and pairs, where there is one.
    """

    action_score: ActionScore = ActionScore.GEOMETRIC_MEAN
    sigma: float = 0.3
    empty_role: float = 0.03
    uses_targets: bool = True
    layout_weight: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class DetectedBoxes:
    """Detections in a picture: boxes_xyxy (n, 4) in pixels; scores (n,) in 0..1; people (p,), the rows of people."""

    boxes_xyxy: Floats
    scores: Floats
    people: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class BranchOutputs:
    """Outputs of the network's branches.

    For p people: actions (p, slots) in 0..1, encoded targets (p, slots, 4) and person_logits (p, slots). For all n
    boxes: object_logits (n, slots). pair_logits: (p, n, slots) of each person with each box, or None where they are the
    sums of the logits of both.
    """

    actions: Floats
    targets: Floats
    person_logits: Floats
    object_logits: Floats
    pair_logits: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LayoutOutputs:
    """Outputs of the layout network: action_logits (p, slots) of p people, pair_logits (p, n, slots) with n boxes."""

    action_logits: Floats
    pair_logits: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Triplets:
    """The best objects of each person and slot, best first; arrays are (p, slots, k).

    objects: rows of the boxes, or NO_OBJECT; scores: S, in which an empty role counts `empty_role` for its object and
    target; action and target: s^a and g of the object, 0 where there is none. An empty role is in the first place;
    later places without object have the score 0.
    """

    objects: NDArray[np.int64]
    scores: Floats
    action: Floats
    target: Floats


def with_layout(branches: BranchOutputs, layout: LayoutOutputs, weight: float) -> BranchOutputs:
    """The outputs with mean logits of branches and layout network; `weight` in 0..1 is that of the latter.

    A mean of logits is a product of experts: what one of the two excludes gets a low score.
    """
    alone = np.clip(branches.actions, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    actions = (1 - weight) * np.log(alone / (1 - alone)) + weight * layout.action_logits
    pairs = (1 - weight) * _pair_logits(branches) + weight * layout.pair_logits
    return replace(branches, actions=_sigmoid(actions), pair_logits=np.asarray(pairs, np.float32))


def compose(
    branches: BranchOutputs,
    boxes: DetectedBoxes,
    plausible: NDArray[np.bool_],
    composition: Composition,
    *,
    max_objects: int = 1,
) -> Triplets:
    """The best `max_objects` objects of each person and slot.

    plausible: (n, slots), True where the class of a box may have the slot's role.
    """
    action, target = _action_scores(branches, composition.action_score), _target_scores(branches, boxes, composition)
    fit = boxes.scores[None, :, None] * action * target * plausible
    fit[np.arange(len(boxes.people)), boxes.people] = 0
    order = np.argsort(-fit, axis=1, kind="stable")[:, :max_objects].transpose(0, 2, 1)
    best, action, target = (_take(values, order) for values in (fit, action, target))
    empty = composition.empty_role * branches.actions[..., None]
    found = (best >= empty) & (best > 0)
    first_is_empty = ~found & (np.arange(order.shape[2]) == 0)
    person = boxes.scores[boxes.people][:, None, None]
    scores = person * np.where(found, best, np.where(first_is_empty, empty, 0))
    if not len(boxes.scores):
        return _all_empty(branches, person, composition)
    return Triplets(np.where(found, order, NO_OBJECT), np.asarray(scores, np.float32), action * found, target * found)


def _all_empty(branches: BranchOutputs, person: Floats, composition: Composition) -> Triplets:
    shape = (*branches.actions.shape, 1)
    zeros = np.zeros(shape, np.float32)
    scores = np.asarray(person * composition.empty_role * branches.actions[..., None], np.float32)
    return Triplets(np.full(shape, NO_OBJECT), scores, zeros, zeros)


def _take(values: Floats, order: NDArray[np.int64]) -> Floats:
    """Values (p, n, slots) of the rows `order` (p, slots, k), as (p, slots, k)."""
    return np.asarray(np.take_along_axis(values.transpose(0, 2, 1), order, 2), np.float32)


def _action_scores(branches: BranchOutputs, source: ActionScore) -> Floats:
    """s^a (p, n, slots) of each person with each box."""
    pair = _sigmoid(_pair_logits(branches))
    alone = np.broadcast_to(branches.actions[:, None], pair.shape)
    match source:
        case ActionScore.PERSON:
            return alone
        case ActionScore.PAIR:
            return pair
        case ActionScore.GEOMETRIC_MEAN:
            return np.asarray(np.sqrt(alone * pair), np.float32)


def _pair_logits(branches: BranchOutputs) -> Floats:
    """(p, n, slots)."""
    if branches.pair_logits is not None:
        return branches.pair_logits
    return np.asarray(branches.person_logits[:, None] + branches.object_logits[None], np.float32)


def _target_scores(branches: BranchOutputs, boxes: DetectedBoxes, composition: Composition) -> Floats:
    """g (p, n, slots): the density of each box under the target predicted from the person's appearance, at most 1."""
    people_xyxy = boxes.boxes_xyxy[boxes.people]
    encoded = encode_boxes(boxes.boxes_xyxy[None], people_xyxy[:, None])
    if not composition.uses_targets:
        return np.ones((*encoded.shape[:2], branches.targets.shape[1]), np.float32)
    # One slot at a time: all at once would take four times the memory for 100 people and 500 boxes.
    squares = [np.square(encoded - targets[:, None]).sum(-1) for targets in branches.targets.transpose(1, 0, 2)]
    return np.asarray(np.exp(-np.stack(squares, -1) / (2 * composition.sigma**2)), np.float32)


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)), np.float32)


def encode_boxes(boxes_xyxy: Floats, reference_xyxy: Floats) -> Floats:
    """Boxes (..., 4) relative to reference boxes (..., 4), which are broadcast (equation 3).

    They are the offset of the centres in sizes of the reference, and the logarithms of the ratios of the sides.
    """
    centres, sides = _centres(boxes_xyxy), _sides(boxes_xyxy)
    reference_centres, reference_sides = _centres(reference_xyxy), _sides(reference_xyxy)
    parts = [(centres - reference_centres) / reference_sides, np.log(sides / reference_sides)]
    return np.asarray(np.concatenate(np.broadcast_arrays(*parts), -1), np.float32)


def decode_boxes(encoded: Floats, reference_xyxy: Floats) -> Floats:
    """Corners (..., 4) of encoded boxes, in pixels like the reference; they may reach beyond the picture."""
    reference_sides = _sides(reference_xyxy)
    centres = _centres(reference_xyxy) + encoded[..., :2] * reference_sides
    half = reference_sides * np.exp(np.clip(encoded[..., 2:], -MAX_LOG_RATIO, MAX_LOG_RATIO)) / 2
    return np.asarray(np.concatenate([centres - half, centres + half], -1), np.float32)


def _centres(boxes_xyxy: Floats) -> NDArray[Any]:
    return np.asarray((boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2)


def _sides(boxes_xyxy: Floats) -> NDArray[Any]:
    return np.asarray(np.maximum(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], MIN_SIDE_PX))
