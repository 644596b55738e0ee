"""What the frozen detector sees in scenes with actions, to fit the branches on and to choose the composition by."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sightline.networks.faster_rcnn import Detecting, detect
from sightline.networks.interactnet import InteractNet
from sightline.training.hoi.coco import Scene
from sightline.training.hoi.data import FrozenStem, canvas, laid_on_canvas
from sightline.training.hoi.detections import Detections
from sightline.training.hoi.observations import Lesson, Observation, lesson, observe, seen_boxes, with_truth
from sightline.training.hoi.stem import export_stem
from sightline.training.hoi.store import SceneStore, resized
from sightline.training.hoi.truth import Truth
from sightline.training.hoi.views import View, random_view
from sightline.training.photos import Picture, read_rgb

log = logging.getLogger(__name__)
LOG_EVERY = 100
RANDOM_VIEWS = 2
"""Of a scene with actions, beside the scene as it is and its mirror image."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A scene with what the detector alone sees in it, and its lessons: as it is, mirrored and as `RANDOM_VIEWS`.

    `scale` leads to the scene's pixels along x and y.
    """

    observation: Observation
    truth: Truth
    scale: tuple[float, float]
    lessons: tuple[Lesson, ...]


class Watcher:
    """`levels(picture)` of a network whose stem runs as ONNX; `detections(levels)` are its own."""

    def __init__(self, network: InteractNet, stem_path: Path) -> None:
        self.network = network
        if not stem_path.exists():
            export_stem(network.detector.trunk, stem_path)
        self.stem = FrozenStem(stem_path)

    def levels(self, picture: Picture) -> list[Tensor]:
        laid = laid_on_canvas(picture, canvas(picture.shape[:2], max(picture.shape[:2])))
        return self.network.detector.levels_from(torch.from_numpy(self.stem(laid[None])))

    def detections(self, levels: Sequence[Tensor]) -> Detections:
        size = 8 * levels[0].shape[2], 8 * levels[0].shape[3]
        found = detect(self.network.detector, levels, size, Detecting())
        return Detections(found.boxes.numpy(), found.labels.numpy(), found.scores.numpy())

    @torch.inference_mode()
    def watch(self, scene: Scene, taught: Detections, rng: np.random.Generator) -> Watched:
        """The lessons are of the boxes of a teacher as well, as shares of the picture's sides: what a better detector
        would confuse people with."""
        picture = resized(read_rgb(scene.path), (scene.width, scene.height), self.network.config.detector.image_px)
        height, width = picture.shape[:2]
        truth = scene.truth.scaled(width / scene.width, height / scene.height)
        levels = self.levels(picture)
        found, others = self.detections(levels), taught.scaled(width, height)
        views = (View(mirrored=True), *(random_view(rng) for _ in range(RANDOM_VIEWS)))
        made = [
            self._lesson(levels, truth, found, others),
            *(self.lesson(view, picture, truth, others) for view in views),
        ]
        lessons = tuple(each for each in made if each is not None)
        scale = scene.width / width, scene.height / height
        return Watched(observe(self.network, levels, seen_boxes(found)), scene.truth, scale, lessons)

    @torch.inference_mode()
    def lesson(self, view: View, picture: Picture, truth: Truth, *others: Detections) -> Lesson | None:
        levels = self.levels(view.picture(picture))
        placed = [view.boxes(each, picture) for each in others]
        return self._lesson(levels, view.boxes(truth, picture), self.detections(levels), *placed)

    def _lesson(self, levels: Sequence[Tensor], truth: Truth, *found: Detections) -> Lesson | None:
        return lesson(observe(self.network, levels, with_truth(truth, *found)), truth)


def store_lessons(watcher: Watcher, store: SceneStore, *, most: int, seed: int) -> Iterator[Lesson]:
    """Of at most so many scenes whose people's actions are known in part, as those of Stanford 40, in either view."""
    rng = np.random.default_rng(seed)
    partly = [at for at in rng.permutation(len(store)).tolist() if _known_in_part(store[at][1])]
    for count, at in enumerate(partly[:most]):
        if (made := watcher.lesson(View(mirrored=bool(rng.integers(2))), *store[at])) is not None:
            yield made
        if count % LOG_EVERY == 0:
            log.info("lessons of %d of %d scenes of the store", count, min(most, len(partly)))


def _known_in_part(truth: Truth) -> bool:
    known = truth.actions >= 0
    return bool((known.any(1) & ~known.all(1)).any())
