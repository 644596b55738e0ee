"""Batches of scenes: pictures of one shape together, or what a frozen stem sees in them, with their truths."""

from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.networks.interactnet import are_pictures
from sightline.training.data import Arrays
from sightline.training.hoi.imitation import TeacherMaps
from sightline.training.hoi.sessions import cpu_session
from sightline.training.hoi.store import SceneStore
from sightline.training.hoi.truth import Truth, arrays
from sightline.training.photos import Picture

GREY = 127
SHORT_SIDES = (0.7, 0.8, 1.0)
"""Of a canvas, in longest sides: few shapes, so that pictures of one shape make a batch without much padding."""
MOST_BOXES = 60
NOTHING = -1
"""The label of a row that only fills a batch up."""
SMALLEST_SCALE = 0.55


@dataclass(frozen=True, slots=True)
class Batch:
    """seen: pictures (b, 3, h, w) of 0..255, or (b, c, h / 8, w / 8) of a frozen stem; boxes (b, n, 4) in pixels,
    labels (b, n), confidence (b, n), actions (b, n, 29), targets (b, n, 29) as in `Truth`, filled up with rows of no
    label. features (b, cells, c) and likely (b, cells) are a teacher's, without cells where there is none."""

    seen: Tensor
    boxes: Tensor
    labels: Tensor
    confidence: Tensor
    actions: Tensor
    targets: Tensor
    features: Tensor
    likely: Tensor

    @classmethod
    def of(cls, *arrays: Tensor) -> "Batch":
        """Of a loader's arrays, which have one sample: the batch."""
        return cls(*(array[0] for array in arrays))

    def to(self, device: torch.device) -> "Batch":
        moved = {each.name: getattr(self, each.name).to(device, non_blocking=True) for each in fields(self)}
        seen = moved.pop("seen").float().contiguous(memory_format=torch.channels_last)
        return Batch(seen, **moved)

    @property
    def holds_pictures(self) -> bool:
        return are_pictures(self.seen)

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        scale = 1 if self.holds_pictures else 8
        return scale * self.seen.shape[2], scale * self.seen.shape[3]


class FrozenStem:
    """(b, h, w, 3) uint8 to the trunk's level of stride 8, by ONNX Runtime: four times faster on CPU than torch."""

    def __init__(self, path: Path) -> None:
        self.session = cpu_session(path)

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        image = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) / 255
        return np.asarray(self.session.run(None, {"image": image})[0], np.float32)


class SceneBatches:
    """One sample is a whole batch of scenes of one canvas, drawn by their weights; mirrored and shrunk by chance.

    Stem and teacher, where they are given, look at the pictures here: on CPU, and beside the training.
    """

    def __init__(
        self,
        store_folder: Path,
        stem_path: Path | None,
        batch_size: int,
        longest_px: int,
        teacher_path: Path | None = None,
    ) -> None:
        self.store_folder, self.stem_path, self.teacher_path = store_folder, stem_path, teacher_path
        self.batch_size, self.longest_px = batch_size, longest_px
        # Opened where they are used: in the loader's process.
        self.store: SceneStore | None = None
        self.stem: FrozenStem | None = None
        self.teacher: TeacherMaps | None = None

    def __call__(self, rng: np.random.Generator) -> Arrays:
        if self.store is None:
            self.store = SceneStore(self.store_folder)
            self.stem = FrozenStem(self.stem_path) if self.stem_path else None
            self.teacher = TeacherMaps(self.teacher_path) if self.teacher_path else None
            self.shapes = np.array([canvas(size, self.longest_px) for size in self.store.sizes.tolist()])
        store = self.store
        first = int(rng.choice(len(store), p=store.weights / store.weights.sum()))
        height, width = self.shapes[first].tolist()
        odds = store.weights * (self.shapes == (height, width)).all(1)
        others = rng.choice(len(store), self.batch_size - 1, p=odds / odds.sum())
        scenes = [augmented(*store[at], (height, width), rng) for at in (first, *others.tolist())]
        pictures = np.stack([picture for picture, _ in scenes])
        columns = zip(*(filled_up(truth) for _, truth in scenes), strict=True)
        taught = (
            self.teacher(pictures) if self.teacher else (np.zeros((1, 0, 0), np.float32), np.zeros((1, 0), np.float32))
        )
        seen = self.stem(pictures) if self.stem else np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
        return seen, *(np.stack(column) for column in columns), *taught


def canvas(size: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """Height and width, multiples of 32, that a picture of this height and width is laid on."""
    short = min(size) / max(size)
    side = 32 * round(min(each for each in SHORT_SIDES if each >= short - 1e-6) * longest_px / 32)
    side = max(side, -(-min(size) // 32) * 32)
    return (side, longest_px) if size[0] <= size[1] else (longest_px, side)


def augmented(
    picture: Picture, truth: Truth, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Picture, Truth]:
    """Laid on a grey canvas, its boxes with it."""
    if rng.random() < 0.5:
        picture, truth = picture[:, ::-1], truth.flipped(picture.shape[1])
    if rng.random() < 0.4:
        scale = rng.uniform(SMALLEST_SCALE, 1)
        height, width = (max(16, round(side * scale)) for side in picture.shape[:2])
        truth = truth.scaled(width / picture.shape[1], height / picture.shape[0])
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return laid_on_canvas(picture, shape), truth


def laid_on_canvas(picture: Picture, shape: tuple[int, int]) -> Picture:
    """In the top left corner, as the service does it."""
    laid = np.full((*shape, 3), GREY, np.uint8)
    laid[: picture.shape[0], : picture.shape[1]] = picture[: shape[0], : shape[1]]
    return laid


def filled_up(truth: Truth) -> list[NDArray[np.generic]]:
    """The truth's arrays with exactly as many rows as a batch has; boxes beyond are left out."""
    missing = max(MOST_BOXES - len(truth), 0)
    rows = []
    for name, array in zip(("boxes", "labels"), arrays(truth)[:2], strict=True):
        value = NOTHING if name == "labels" else 0
        rows.append(_padded(array[:MOST_BOXES], missing, value))
    confidence, actions, targets = arrays(truth)[2:]
    targets = np.where(np.asarray(targets) >= MOST_BOXES, -1, targets)
    return [*rows, *(_padded(array[:MOST_BOXES], missing, -1) for array in (confidence, actions, targets))]


def _padded(array: NDArray[np.generic], missing: int, value: int) -> NDArray[np.generic]:
    width = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
    return np.pad(array, width, constant_values=value)
