"""The branches, fitted on what the detector that is now frozen sees in scenes with actions."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sightline.networks.cascade import Composition
from sightline.networks.faster_rcnn import Detecting, detect
from sightline.networks.interactnet import InteractNet
from sightline.training.hoi.detections import Detections
from sightline.training.hoi.heads import Recipe, fit_branches
from sightline.training.hoi.model import Model, load_model
from sightline.training.hoi.observations import Lesson, lesson, levels_of, observe, with_truth
from sightline.training.hoi.store import SceneStore
from sightline.training.hoi.truth import Truth
from sightline.training.photos import Picture

log = logging.getLogger(__name__)
LOG_EVERY = 100


def fit_on_lessons(checkpoint: Path, store: Path, recipe: Recipe, composition: Composition, *, most: int) -> Model:
    """At most so many scenes, those that are drawn often first; they are seen as they are and mirrored."""
    network = load_model(checkpoint).network
    lessons, odds = [], []
    for each, weight in lessons_of(network, SceneStore(store), most=most, seed=recipe.seed):
        lessons.append(each)
        odds.append(weight)
    log.info("%d lessons", len(lessons))
    return Model(fit_branches(network, lessons, torch.tensor(odds), recipe), composition)


def lessons_of(network: InteractNet, store: SceneStore, *, most: int, seed: int) -> Iterator[tuple[Lesson, float]]:
    """With the weights of their scenes, of which only those with a known action teach anything."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(store)), -store.weights))
    teaching = [int(at) for at in order if (store[int(at)][1].actions >= 0).any()][:most]
    for count, at in enumerate(teaching):
        picture, truth = store[at]
        for view, known in ((picture, truth), (picture[:, ::-1], truth.flipped(picture.shape[1]))):
            if made := _lesson(network, np.ascontiguousarray(view), known):
                yield made, float(store.weights[at])
        if count % LOG_EVERY == 0:
            log.info("lessons of %d of %d scenes", count, len(teaching))


def _lesson(network: InteractNet, picture: Picture, truth: Truth) -> Lesson | None:
    with torch.inference_mode():
        levels = levels_of(network, picture)
        seen = with_truth(_detections(network, levels), truth)
        return lesson(observe(network, levels, seen), truth)


def _detections(network: InteractNet, levels: list[Tensor]) -> Detections:
    size = 8 * levels[0].shape[2], 8 * levels[0].shape[3]
    found = detect(network.detector, levels, size, Detecting())
    return Detections(found.boxes.numpy(), found.labels.numpy(), found.scores.numpy())
