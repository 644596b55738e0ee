"""From what the branches say of people and objects to triplets (sections 3.2 and 3.3 of the InteractNet paper).

S = s_h * s_o * s^a * g: the detector's scores of person and object, the action's, and how well the object's place fits
the target that is expected from the person's looks.
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from sightline.networks.interactnet import SIGMA, Interactions, pair_scores, target_density

NOTHING = -1


class ActionScore(StrEnum):
    """What s^a is: that of the human-centric branch, of the interaction branch, or the root of their product."""

    PERSON = "person"
    PAIR = "pair"
    GEOMETRIC_MEAN = "geometric_mean"


@dataclass(frozen=True, slots=True)
class Composition:
    """`empty_role`: what s_o * g is taken to be for no object at all: where none fits better than that, the role is
    empty. With `uses_targets` off, g is 1."""

    action_score: ActionScore = ActionScore.GEOMETRIC_MEAN
    sigma: float = SIGMA
    empty_role: float = 0.03
    uses_targets: bool = True


@dataclass(frozen=True, slots=True)
class Boxes:
    """boxes (n, 4), scores (n,) and labels (n,) of a picture; `people` (p,) are places among them."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    people: Tensor


@dataclass(frozen=True, slots=True)
class Triplets:
    """Of every person and slot: objects (p, slots), places among the boxes or -1 for an empty role, and the role's
    scores (p, slots), in which nothing counts as an object. agents (p, slots): s_h * s^a of the person alone."""

    objects: Tensor
    scores: Tensor
    agents: Tensor


def compose(found: Interactions, seen: Boxes, plausible: Tensor, composition: Composition) -> Triplets:
    """One object for each person and slot. plausible: (n, slots), whether a box may have the slot's role at all."""
    fits = fitness(found, seen, composition) * plausible
    fits[torch.arange(len(seen.people), device=fits.device), seen.people] = 0
    best, objects = fits.max(1) if fits.shape[1] else (found.actions * 0, found.actions.long() * 0)
    nothing = composition.empty_role * found.actions
    person = seen.scores[seen.people][:, None]
    objects = torch.where(best < nothing, NOTHING, objects)
    return Triplets(objects, person * torch.maximum(best, nothing), person * found.actions)


def fitness(found: Interactions, seen: Boxes, composition: Composition) -> Tensor:
    """s_o * s^a * g, (p, n, slots)."""
    pair, alone = pair_scores(found), found.actions[:, None]
    match composition.action_score:
        case ActionScore.PERSON:
            action = alone.expand_as(pair)
        case ActionScore.PAIR:
            action = pair
        case ActionScore.GEOMETRIC_MEAN:
            action = (pair * alone).sqrt()
    fits = seen.scores[None, :, None] * action
    if not composition.uses_targets:
        return fits
    return fits * target_density(found.targets, seen.boxes[seen.people], seen.boxes, composition.sigma)
