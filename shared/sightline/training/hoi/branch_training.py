"""Trains the two branches on features of the frozen detector, and chooses the composition of their scores."""

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sightline.networks.interactnet import HumanBranch, Interactions, InteractNet, ObjectBranch
from sightline.postprocessing.interactions import Composition
from sightline.training.hoi.average_precision import Prediction, mean_ap, role_scores
from sightline.training.hoi.branch_examples import (
    BranchExample,
    FeatureExtractor,
    RoiFeatures,
    SceneFeatures,
    partially_labelled_examples,
)
from sightline.training.hoi.datasets import Scene
from sightline.training.hoi.losses import ACTION_WEIGHT, known_cross_entropy, target_loss
from sightline.training.hoi.model import Model, load_model
from sightline.training.hoi.predictions import compose, plausible_slots, to_prediction
from sightline.training.hoi.pseudo_labels import PseudoLabelCache
from sightline.training.hoi.scene_store import SceneStore

log = logging.getLogger(__name__)
LOG_EVERY_STEPS = 100
FOLDS = 2
MIN_TRUTHS = 5
SIGMAS = (0.3, 0.6, 1.0, 1.5, 2.5)
EMPTY_ROLES = (0.01, 0.03, 0.06)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyperparameters. `batch_size` is in pictures; V-COCO's are drawn with weight 1, others with `other_weight`.

    `target_weight` is 1 in the paper.
    """

    steps: int = 300
    batch_size: int = 16
    learning_rate: float = 3e-4
    weight_decay: float = 0.05
    target_weight: float = 0.5
    feature_dropout: float = 0.2
    other_weight: float = 0.3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class HeldOutScene:
    """A scene with the outputs of branches that were not trained on it."""

    scene: SceneFeatures
    interactions: Interactions

    def prediction(self, composition: Composition) -> Prediction:
        boxes = self.scene.features.boxes
        triplets = compose(self.interactions, boxes, plausible_slots()[boxes.labels], composition)
        return to_prediction(boxes, triplets, self.scene.scale)


def train_branches(
    checkpoint: Path,
    scenes: Sequence[Scene],
    store: Path,
    pseudo_labels: PseudoLabelCache,
    recipe: Recipe,
    *,
    max_others: int,
) -> Model:
    """Trains on scenes of V-COCO and up to `max_others` partially labelled scenes of the store.

    Cross-validation chooses the composition; then the branches are trained on all scenes.
    """
    network = load_model(checkpoint).network
    extractor = FeatureExtractor(network, checkpoint.with_name("stem.onnx"))
    detections = pseudo_labels.detections("vcoco", [scene.path for scene in scenes])
    rng = np.random.default_rng(recipe.seed)
    extracted = [extractor.extract(scene, detections[scene.path.name], rng) for scene in scenes]
    log.info("extracted features of %d scenes", len(extracted))
    store_scenes = SceneStore(store)
    others = list(partially_labelled_examples(extractor, store_scenes, max_scenes=max_others, seed=recipe.seed))
    composition = choose_composition(cross_validate(network, extracted, others, recipe))
    return Model(fit_on(network, extracted, others, recipe), composition)


def fit_on(
    network: InteractNet, scenes: Sequence[SceneFeatures], others: Sequence[BranchExample], recipe: Recipe
) -> InteractNet:
    examples = [each for scene in scenes for each in scene.examples]
    sampling_weights = torch.tensor([1.0] * len(examples) + [recipe.other_weight] * len(others))
    return fit_branches(network, [*examples, *others], sampling_weights, recipe)


def cross_validate(
    network: InteractNet, scenes: Sequence[SceneFeatures], others: Sequence[BranchExample], recipe: Recipe
) -> list[HeldOutScene]:
    """The outputs for each scene of branches that were trained without its fold."""
    held_out = []
    for fold in range(FOLDS):
        kept = [scene for at, scene in enumerate(scenes) if at % FOLDS != fold]
        fitted = fit_on(network, kept, others, recipe)
        held_out += [HeldOutScene(scene, predict_interactions(fitted, scene.features)) for scene in scenes[fold::FOLDS]]
    return held_out


def choose_composition(held_out: Sequence[HeldOutScene]) -> Composition:
    """The composition with the best mean AP_role of both scenarios: first by sigma, then by `empty_role`."""
    # The source of the action's score is not chosen here: the trunk was trained on these people, in every fold, so that
    # the human-centric branch alone looks better than it is.
    best = _best(held_out, [Composition(sigma=sigma) for sigma in SIGMAS])
    return _best(held_out, [replace(best, empty_role=value) for value in EMPTY_ROLES])


def _best(held_out: Sequence[HeldOutScene], candidates: Sequence[Composition]) -> Composition:
    ap_roles = {each: _ap_role(held_out, each) for each in candidates}
    best = max(ap_roles, key=lambda each: sum(ap_roles[each]))
    log.info("in cross-validation, %s gives AP_role %.3f and %.3f", best, *ap_roles[best])
    return best


def _ap_role(held_out: Sequence[HeldOutScene], composition: Composition) -> tuple[float, float]:
    """Means of scenario 1 and scenario 2."""
    scores = role_scores([each.prediction(composition) for each in held_out], [each.scene.truth for each in held_out])
    common = scores.common_roles(MIN_TRUTHS)
    return mean_ap(scores.scenario_1, common), mean_ap(scores.scenario_2, common)


def fit_branches(
    network: InteractNet, examples: Sequence[BranchExample], sampling_weights: Tensor, recipe: Recipe
) -> InteractNet:
    """A network with the same detector and newly trained branches. `sampling_weights`: (examples,).

    Branches that were trained along with the detector overfit its few pictures with actions, so these start anew.
    """
    torch.manual_seed(recipe.seed)
    network = with_untrained_branches(network)
    branches = nn.ModuleList([network.human, network.object]).train()
    optimizer = torch.optim.AdamW(branches.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    for step in range(recipe.steps):
        drawn = torch.multinomial(sampling_weights, recipe.batch_size, replacement=True).tolist()
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (1 + math.cos(math.pi * step / recipe.steps)) / 2
        losses = branch_losses(network, [examples[at] for at in drawn], recipe)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(branches.parameters(), 1.0)
        optimizer.step()
        if step % LOG_EVERY_STEPS == 0:
            terms = " ".join(f"{name} {float(loss.detach()):.3f}" for name, loss in losses.items())
            log.info("step %d: %s", step, terms)
    return network.eval()


def with_untrained_branches(network: InteractNet) -> InteractNet:
    """A network that shares the detector and has untrained branches."""
    copied = copy.copy(network)
    copied._modules = dict(network._modules)
    copied.human, copied.object = HumanBranch(network.config), ObjectBranch(network.config)
    return copied


def branch_losses(network: InteractNet, examples: Sequence[BranchExample], recipe: Recipe) -> dict[str, Tensor]:
    """Losses of all people and boxes of the pictures in one pass."""
    pooled = torch.cat([each.features.pooled for each in examples]).float()
    pooled = F.dropout(pooled, recipe.feature_dropout)
    starts = torch.tensor([0, *(len(each.features.pooled) for each in examples)]).cumsum(0)
    people = torch.cat([each.features.boxes.people + start for each, start in zip(examples, starts, strict=False)])
    scores = torch.cat([class_scores(each.features, network.config.detector.classes) for each in examples])
    actions, targets, person = network.human(pooled[people])
    object_logits = network.object(pooled, scores)
    first_people = torch.tensor([0, *(len(each.actions) for each in examples)]).cumsum(0)
    pairs, labels = [], []
    for at, each in enumerate(examples):
        mine, objects = person[first_people[at] : first_people[at + 1]], object_logits[starts[at] : starts[at + 1]]
        pairs.append((mine[:, None] + objects[None]).flatten(0, 1))
        labels.append(each.pairs.flatten(0, 1))
    boxes = torch.cat([each.features.boxes.boxes[each.features.boxes.people] for each in examples])
    target_boxes = torch.cat([each.target_boxes for each in examples])
    has_target = torch.cat([each.has_target for each in examples])
    return {
        "action": ACTION_WEIGHT * known_cross_entropy(actions, torch.cat([each.actions for each in examples])),
        "target": recipe.target_weight * target_loss(targets, boxes, target_boxes, has_target),
        "pair": known_cross_entropy(torch.cat(pairs), torch.cat(labels)),
    }


def class_scores(features: RoiFeatures, classes: int) -> Tensor:
    """(n, classes): each box's score at its class, as in the service."""
    return F.one_hot(features.boxes.labels, classes) * features.boxes.scores[:, None]


@torch.inference_mode()
def predict_interactions(network: InteractNet, features: RoiFeatures) -> Interactions:
    pooled = features.pooled.float()
    actions, targets, person = network.human(pooled[features.boxes.people])
    object_logits = network.object(pooled, class_scores(features, network.config.detector.classes))
    return Interactions(actions.sigmoid(), targets, person, object_logits)
