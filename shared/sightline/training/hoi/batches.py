"""Training batches of scenes: pictures, or the features that a frozen stem has made of them, with ground truth."""

import warnings
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from sightline.networks.feature_pyramid import TrunkLevels
from sightline.networks.interactnet import is_image_batch
from sightline.training.data import Arrays
from sightline.training.export import OPSET
from sightline.training.hoi.annotations import GroundTruth
from sightline.training.hoi.augmentation import augment, canvas_shape
from sightline.training.hoi.scene_store import SceneStore
from sightline.training.hoi.teachers import OnnxTeacherFeatures, cpu_session

MAX_BOXES = 60
PADDING_LABEL = -1
"""The label of a row that only pads a batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes of one canvas.

    inputs: pictures (b, 3, h, w) of 0..255, or features (b, c, h / 8, w / 8) of a frozen stem. boxes (b, n, 4) in
    pixels, labels (b, n), confidence (b, n), actions (b, n, 29) and targets (b, n, 29) are those of `GroundTruth`,
    padded with rows of the label -1. teacher_features (b, cells, c) and teacher_scores (b, cells) have no cells without
    a teacher.
    """

    inputs: Tensor
    boxes: Tensor
    labels: Tensor
    confidence: Tensor
    actions: Tensor
    targets: Tensor
    teacher_features: Tensor
    teacher_scores: Tensor

    @classmethod
    def of(cls, *arrays: Tensor) -> "Batch":
        """The batch in a loader's arrays, which have one sample."""
        return cls(*(array[0] for array in arrays))

    def to(self, device: torch.device) -> "Batch":
        moved = {each.name: getattr(self, each.name).to(device, non_blocking=True) for each in fields(self)}
        inputs = moved.pop("inputs").float().contiguous(memory_format=torch.channels_last)
        return Batch(inputs, **moved)

    @property
    def has_pictures(self) -> bool:
        return is_image_batch(self.inputs)

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        scale = 1 if self.has_pictures else 8
        return scale * self.inputs.shape[2], scale * self.inputs.shape[3]


class Stem(nn.Module):
    """(b, 3, h, w) sRGB in 0..1 to the trunk's level of stride 8."""

    def __init__(self, trunk: TrunkLevels) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, image: Tensor) -> Tensor:
        return self.trunk.shallow(image)


def export_stem(trunk: TrunkLevels, path: Path) -> None:
    """Writes the trunk's stem as ONNX, for `FrozenStem`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {0: Dim("batch"), 2: 32 * Dim("high"), 3: 32 * Dim("wide")}
    with warnings.catch_warnings():
        # The exporter's warnings concern its internals.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Stem(trunk).eval(), (torch.zeros(2, 3, 96, 64),), dynamo=True, opset_version=OPSET, optimize=True,
            input_names=["image"], output_names=["shallow"], dynamic_shapes=[shape], verbose=False,
        )  # fmt: skip
    assert program is not None
    partial = path.with_suffix(".part")
    program.save(str(partial))
    partial.replace(path)


class FrozenStem:
    """(b, h, w, 3) uint8 to the trunk's level of stride 8, by ONNX Runtime: four times faster on CPU than PyTorch."""

    def __init__(self, path: Path) -> None:
        self.session = cpu_session(path)

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        image = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) / 255
        return np.asarray(self.session.run(None, {"image": image})[0], np.float32)


class SceneBatches:
    """Makes one sample of a whole batch: scenes of one canvas, drawn by their sampling weights and augmented.

    Stem and teacher, if given, are applied here, on the CPU and in parallel to the training.
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
        # Opened on first use, in the loader's process: sessions cannot be pickled.
        self.store: SceneStore | None = None
        self.stem: FrozenStem | None = None
        self.teacher: OnnxTeacherFeatures | None = None

    def __call__(self, rng: np.random.Generator) -> Arrays:
        if self.store is None:
            self.store = SceneStore(self.store_folder)
            self.stem = FrozenStem(self.stem_path) if self.stem_path else None
            self.teacher = OnnxTeacherFeatures(self.teacher_path) if self.teacher_path else None
            self.shapes = np.array([canvas_shape(size, self.longest_px) for size in self.store.sizes.tolist()])
        store = self.store
        first = int(rng.choice(len(store), p=store.weights / store.weights.sum()))
        height, width = self.shapes[first].tolist()
        weights = store.weights * (self.shapes == (height, width)).all(1)
        others = rng.choice(len(store), self.batch_size - 1, p=weights / weights.sum())
        scenes = [augment(*store[at], (height, width), rng) for at in (first, *others.tolist())]
        pictures = np.stack([picture for picture, _ in scenes])
        columns = zip(*(pad_rows(truth) for _, truth in scenes), strict=True)
        no_teacher = np.zeros((1, 0, 0), np.float32), np.zeros((1, 0), np.float32)
        teacher_outputs = self.teacher(pictures) if self.teacher else no_teacher
        inputs = self.stem(pictures) if self.stem else np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
        return inputs, *(np.stack(column) for column in columns), *teacher_outputs


def pad_rows(truth: GroundTruth) -> list[NDArray[np.generic]]:
    """The arrays padded or cut to `MAX_BOXES` rows."""
    missing = max(MAX_BOXES - len(truth), 0)
    boxes, labels, confidence, actions, targets = truth.arrays()
    targets = np.where(np.asarray(targets) >= MAX_BOXES, -1, targets)
    padded = [_pad(boxes, missing, 0), _pad(labels, missing, PADDING_LABEL)]
    return padded + [_pad(array, missing, -1) for array in (confidence, actions, targets)]


def _pad(array: NDArray[np.generic], missing: int, value: int) -> NDArray[np.generic]:
    width = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
    return np.pad(array[:MAX_BOXES], width, constant_values=value)
