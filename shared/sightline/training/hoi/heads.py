"""Fitting the two branches on features of the frozen detector."""

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks.interactnet import HumanBranch, Interactions, InteractNet, ObjectBranch
from sightline.training.hoi.losses import ACTION_WEIGHT, known_cross_entropy, target_loss
from sightline.training.hoi.observations import Lesson, Observation

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """`lessons_per_step` are pictures; others than V-COCO's are drawn `odds_of_others` times as often.

    `target_weight` is 1 in the paper.
    """

    steps: int = 300
    lessons_per_step: int = 16
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    target_weight: float = 0.5
    feature_dropout: float = 0.2
    odds_of_others: float = 0.3
    seed: int = 0


def fit_branches(network: InteractNet, lessons: Sequence[Lesson], odds: Tensor, recipe: Recipe) -> InteractNet:
    """A network on the same detector with branches of its own; `odds` (lessons,) say how often each is drawn.

    The branches that were trained along with the detector know its few pictures with actions by heart, and are left.
    """
    torch.manual_seed(recipe.seed)
    network = with_fresh_branches(network)
    branches = nn.ModuleList([network.human, network.object]).train()
    optimizer = torch.optim.AdamW(branches.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    for step in range(recipe.steps):
        drawn = [lessons[at] for at in torch.multinomial(odds, recipe.lessons_per_step, replacement=True).tolist()]
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (1 + math.cos(math.pi * step / recipe.steps)) / 2
        losses = branch_losses(network, drawn, recipe)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(branches.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 0:
            log.info(
                "step %d: %s", step, " ".join(f"{name} {float(loss.detach()):.3f}" for name, loss in losses.items())
            )
    return network.eval()


def with_fresh_branches(network: InteractNet) -> InteractNet:
    """A network that shares the detector and has untrained branches."""
    copied = copy.copy(network)
    copied._modules = dict(network._modules)
    copied.human, copied.object = HumanBranch(network.config), ObjectBranch(network.config)
    return copied


def branch_losses(network: InteractNet, lessons: Sequence[Lesson], recipe: Recipe) -> dict[str, Tensor]:
    """All people and boxes of the pictures in one pass."""
    pooled = torch.cat([each.observation.pooled for each in lessons]).float()
    pooled = F.dropout(pooled, recipe.feature_dropout)
    starts = torch.tensor([0, *(len(each.observation.pooled) for each in lessons)]).cumsum(0)
    people = torch.cat([each.observation.seen.people + start for each, start in zip(lessons, starts, strict=False)])
    scores = torch.cat([class_scores(each.observation, network.config.detector.classes) for each in lessons])
    actions, targets, person = network.human(pooled[people])
    things = network.object(pooled, scores)
    firsts = torch.tensor([0, *(len(each.actions) for each in lessons)]).cumsum(0)
    pairs, labels = [], []
    for at, each in enumerate(lessons):
        mine = person[firsts[at] : firsts[at + 1], None] + things[None, starts[at] : starts[at + 1]]
        pairs.append(mine.flatten(0, 1))
        labels.append(each.pairs.flatten(0, 1))
    boxes = torch.cat([each.observation.seen.boxes[each.observation.seen.people] for each in lessons])
    wanted = torch.cat([each.target_boxes for each in lessons])
    has_target = torch.cat([each.has_target for each in lessons])
    return {
        "action": ACTION_WEIGHT * known_cross_entropy(actions, torch.cat([each.actions for each in lessons])),
        "target": recipe.target_weight * target_loss(targets, boxes, wanted, has_target),
        "pair": known_cross_entropy(torch.cat(pairs), torch.cat(labels)),
    }


def class_scores(observation: Observation, classes: int) -> Tensor:
    """(n, classes): each box's score at its class, as the service gives it."""
    return F.one_hot(observation.seen.labels, classes) * observation.seen.scores[:, None]


@torch.inference_mode()
def interactions_of(network: InteractNet, observation: Observation) -> Interactions:
    pooled = observation.pooled.float()
    actions, targets, person = network.human(pooled[observation.seen.people])
    things = network.object(pooled, class_scores(observation, network.config.detector.classes))
    return Interactions(actions.sigmoid(), targets, person, things)
