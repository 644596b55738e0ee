"""The branches on a detector that is now frozen, and the composition of their scores."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sightline.networks.interactnet import Interactions, InteractNet
from sightline.postprocessing.interactions import Composition
from sightline.training.hoi.coco import Scene
from sightline.training.hoi.heads import Recipe, fit_branches, interactions_of
from sightline.training.hoi.lessons import Watched, Watcher, store_lessons
from sightline.training.hoi.model import Model, load_model
from sightline.training.hoi.observations import Lesson
from sightline.training.hoi.packing import TeacherBoxes
from sightline.training.hoi.predictions import as_prediction, compose, plausible_slots
from sightline.training.hoi.role_scores import Prediction, mean, score
from sightline.training.hoi.store import SceneStore

log = logging.getLogger(__name__)
FOLDS = 2
LEAST_TRUTHS = 5
SIGMAS = (0.3, 0.6, 1.0, 1.5, 2.5)
EMPTY_ROLES = (0.01, 0.03, 0.06)


@dataclass(frozen=True, slots=True)
class Left:
    """A scene with what a network says of it that was not fitted on it."""

    watched: Watched
    said: Interactions

    def prediction(self, composition: Composition) -> Prediction:
        seen = self.watched.observation.seen
        triplets = compose(self.said, seen, plausible_slots()[seen.labels], composition)
        return as_prediction(seen, triplets, self.watched.scale)


def fit(
    checkpoint: Path, scenes: Sequence[Scene], store: Path, boxes: TeacherBoxes, recipe: Recipe, *, most: int
) -> Model:
    """On scenes of V-COCO and at most so many others of the store.

    The composition is the best of all on scenes that were left out of a fit, the branches are then fitted on all.
    """
    network = load_model(checkpoint).network
    watcher = Watcher(network, checkpoint.with_name("stem.onnx"))
    taught = boxes.of("vcoco", [scene.path for scene in scenes])
    rng = np.random.default_rng(recipe.seed)
    watched = [watcher.watch(scene, taught[scene.path.name], rng) for scene in scenes]
    log.info("watched %d scenes", len(watched))
    others = list(store_lessons(watcher, SceneStore(store), most=most, seed=recipe.seed))
    composition = choose_composition(cross_fitted(network, watched, others, recipe))
    return Model(fit_on(network, watched, others, recipe), composition)


def fit_on(network: InteractNet, watched: Sequence[Watched], others: Sequence[Lesson], recipe: Recipe) -> InteractNet:
    lessons = [each for scene in watched for each in scene.lessons]
    odds = torch.tensor([1.0] * len(lessons) + [recipe.odds_of_others] * len(others))
    return fit_branches(network, [*lessons, *others], odds, recipe)


def cross_fitted(
    network: InteractNet, watched: Sequence[Watched], others: Sequence[Lesson], recipe: Recipe
) -> list[Left]:
    left = []
    for fold in range(FOLDS):
        kept = [scene for at, scene in enumerate(watched) if at % FOLDS != fold]
        fitted = fit_on(network, kept, others, recipe)
        left += [Left(scene, interactions_of(fitted, scene.observation)) for scene in watched[fold::FOLDS]]
    return left


def choose_composition(left: Sequence[Left]) -> Composition:
    """By the mean AP_role of both scenarios: first sigma, then what nothing is worth.

    The action's score is made of both branches and not chosen here: left out of a fit or not, the trunk has seen what
    these people do, so that the human-centric branch alone looks better than it is.
    """
    best = _best(left, [Composition(sigma=sigma) for sigma in SIGMAS])
    return _best(left, [replace(best, empty_role=worth) for worth in EMPTY_ROLES])


def _best(left: Sequence[Left], candidates: Sequence[Composition]) -> Composition:
    found = {each: _worth(left, each) for each in candidates}
    best = max(found, key=lambda each: sum(found[each]))
    log.info("left out of the fit, %s gives AP_role %.3f and %.3f", best, *found[best])
    return best


def _worth(left: Sequence[Left], composition: Composition) -> tuple[float, float]:
    scores = score([each.prediction(composition) for each in left], [each.watched.truth for each in left])
    common = scores.common_roles(LEAST_TRUTHS)
    return mean(scores.scenario_1, common), mean(scores.scenario_2, common)
