"""From what was seen in a picture to V-COCO's form of a prediction."""

import numpy as np
import torch
from torch import Tensor

from sightline.networks.cascade import Boxes, Triplets
from sightline.training.hoi.role_scores import Prediction
from sightline.training.hoi.verbs import ACTIONS, ALLOWED, CLASS_INDEX, COCO_CLASSES, SLOTS, SLOTS_OF


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
