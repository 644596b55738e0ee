"""Detections and branch outputs of a picture to triplets, and to V-COCO's form of a prediction."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sightline.networks.interactnet import Interactions
from sightline.postprocessing import interactions as postprocessing
from sightline.postprocessing.interactions import BranchOutputs, Composition, DetectedBoxes
from sightline.training.hoi.role_scores import Prediction
from sightline.training.hoi.verbs import ACTIONS, ALLOWED, CLASS_INDEX, COCO_CLASSES, SLOTS, SLOTS_OF


@dataclass(frozen=True, slots=True)
class Boxes:
    """boxes (n, 4), scores (n,) and labels (n,) of a picture; `people` (p,) are places among them."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    people: Tensor


@dataclass(frozen=True, slots=True)
class Triplets:
    """The best object of each person and slot: objects (p, slots), rows of the boxes or NO_OBJECT, and the scores
    (p, slots) of the roles. agents (p, slots): s_h * s^a of the person alone."""

    objects: Tensor
    scores: Tensor
    agents: Tensor


def compose(found: Interactions, seen: Boxes, plausible: Tensor, composition: Composition) -> Triplets:
    """As the service composes them. plausible: (n, slots), whether a box may have the slot's role at all."""
    branches = (found.actions, found.targets, found.person_logits, found.object_logits)
    triplets = postprocessing.compose(
        BranchOutputs(*(each.numpy() for each in branches)),
        DetectedBoxes(seen.boxes.numpy(), seen.scores.numpy(), seen.people.numpy()),
        plausible.numpy() > 0,
        composition,
    )
    objects, scores = (torch.from_numpy(each[..., 0]) for each in (triplets.objects, triplets.scores))
    return Triplets(objects, scores, seen.scores[seen.people][:, None] * found.actions)


def plausible_slots(*, any_class: bool = False) -> Tensor:
    """(80, 29) of 1 where an object of the class may have the slot's role, and 0."""
    table = torch.zeros(len(COCO_CLASSES), len(SLOTS))
    for at, (action, role) in enumerate(SLOTS):
        if role is not None:
            names = COCO_CLASSES if any_class else ALLOWED.get((action, role), COCO_CLASSES)
            table[[CLASS_INDEX[name] for name in names], at] = 1
    return table


def as_prediction(seen: Boxes, triplets: Triplets, scale: tuple[float, float]) -> Prediction:
    """In the pixels of a picture that is larger by `scale` along x and y."""
    boxes = (seen.boxes * torch.tensor([*scale, *scale])).numpy()
    agents = [triplets.agents[:, list(SLOTS_OF[action])].mean(1) for action in ACTIONS]
    targets = np.full((*triplets.objects.shape, 4), np.nan, np.float32)
    given = triplets.objects.numpy() >= 0
    targets[given] = boxes[triplets.objects.numpy()[given]]
    return Prediction(boxes[seen.people.numpy()], torch.stack(agents, 1).numpy(), targets, triplets.scores.numpy())
