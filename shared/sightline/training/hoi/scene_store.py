"""The training pictures of all data sets at training size with their ground truth, in files that loaders map."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.training.hoi.annotations import COCO_CLASSES, GroundTruth, boxes_without_actions, concatenate_arrays
from sightline.training.hoi.augmentation import resize_to_fit
from sightline.training.hoi.datasets import Scene, distinct_from, read_coco
from sightline.training.hoi.pseudo_labels import (
    VOC_CLASSES,
    PseudoLabelCache,
    add_pseudo_labels,
    add_stanford40_action,
)
from sightline.training.photos import PhotoStore, Picture, list_photos, pack_pictures, read_rgb

SOURCE_WEIGHTS = {"vcoco": 4.0, "coco": 3.0, "voc": 1.0, "stanford40": 1.0, "photos": 1.0}
"""Sampling weight of a picture by source. Data sets with complete boxes are few and drawn more often."""
MIN_PHOTO_SCORE = 0.4
"""Photos whose best teacher score is lower are left out."""
COMMON_SHARE, MAX_REPEAT_FACTOR = 0.04, 4.0
"""Pictures of classes below this share of the weight are drawn more often, up to the factor."""
COLUMNS = ("boxes", "labels", "confidence", "actions", "targets")


@dataclass(frozen=True, slots=True)
class Sources:
    """Folders in COCO's format, `annotations.json` beside `images/`, and folders of photos.

    Sources that are None or () are left out. One in `voc_validation_every` pictures of VOC is left for validation,
    unless it is 0.
    """

    coco: Path | None = None
    voc: Path | None = None
    stanford40: Path | None = None
    photos: tuple[Path, ...] = ()
    voc_validation_every: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PackedScene:
    """A picture to pack: `size` is the width and height that `truth` is in, `weight` its sampling weight."""

    picture: Picture
    size: tuple[int, int]
    truth: GroundTruth
    weight: float


class SceneStore:
    """Packed scenes: `store[i]` is a picture (h, w, 3), not copied, with ground truth in its pixels.

    `weights` are the sampling weights.
    """

    def __init__(self, folder: Path) -> None:
        self.photos = PhotoStore(folder)
        with np.load(folder / "truths.npz") as saved:
            self._columns: list[NDArray[Any]] = [saved[name] for name in COLUMNS]
            self._ends, self.weights, self.sizes = saved["ends"], saved["weights"], saved["sizes"]

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, at: int) -> tuple[Picture, GroundTruth]:
        rows = slice(self._ends[at], self._ends[at + 1])
        return self.photos[at], GroundTruth(*(column[rows] for column in self._columns))


def pack_scenes(scenes: Iterable[PackedScene], folder: Path, *, longest_px: int) -> int:
    """Writes the scenes, scaled to this longest side, and returns their number."""
    truths: list[GroundTruth] = []
    weights: list[float] = []
    sizes: list[tuple[int, int]] = []

    def pictures() -> Iterator[Picture]:
        for scene in scenes:
            picture = resize_to_fit(scene.picture, scene.size, longest_px)
            height, width = picture.shape[:2]
            truths.append(scene.truth.scaled(width / scene.size[0], height / scene.size[1]))
            weights.append(scene.weight)
            sizes.append((height, width))
            yield picture

    count = pack_pictures(pictures(), folder)
    repeated = np.array(weights) * repeat_factors(truths, np.array(weights))
    columns, ends = concatenate_arrays(truths)
    named = dict(zip(COLUMNS, columns, strict=True))
    np.savez(folder / "truths.npz", ends=ends, weights=repeated, sizes=np.array(sizes), **named)  # type: ignore[arg-type]
    return count


def repeat_factors(truths: Sequence[GroundTruth], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) factors of the sampling weights by each picture's rarest class (Gupta et al., "LVIS", CVPR 2019).

    The factor is the root of `COMMON_SHARE` over the class's share, up to a limit. Boxes count whose confidence is
    above 0.5.
    """
    classes = [np.unique(truth.labels[truth.confidence > 0.5]) for truth in truths]
    shares = np.zeros(len(COCO_CLASSES))
    for labels, weight in zip(classes, weights, strict=True):
        shares[labels] += weight / weights.sum()
    factors = np.sqrt(COMMON_SHARE / shares.clip(1e-6)).clip(1, MAX_REPEAT_FACTOR)
    return np.array([factors[labels].max(initial=1.0) for labels in classes])


def training_scenes(
    vcoco: Sequence[Scene],
    held_out: Sequence[Scene],
    barred: frozenset[int],
    sources: Sources,
    pseudo_labels: PseudoLabelCache,
) -> Iterator[PackedScene]:
    """Scenes of all sources without held-out pictures, their near-duplicates, and the barred COCO ids."""
    is_distinct = distinct_from(held_out)
    barred |= {each.coco_id for each in held_out if each.coco_id}
    vcoco_ids = {each.coco_id for each in vcoco}
    for packed, coco_id in _all_scenes(vcoco, sources, pseudo_labels, vcoco_ids):
        if coco_id not in barred and is_distinct(packed.picture):
            yield packed


def _all_scenes(
    vcoco: Sequence[Scene], sources: Sources, pseudo_labels: PseudoLabelCache, vcoco_ids: set[int | None]
) -> Iterator[tuple[PackedScene, int | None]]:
    for scene in vcoco:
        yield _packed(scene, "vcoco"), scene.coco_id
    for scene in read_folder(sources.coco):
        if scene.coco_id not in vcoco_ids:
            yield _packed(scene, "coco"), scene.coco_id
    for at, scene in enumerate(_with_pseudo_labels("voc", read_folder(sources.voc), pseudo_labels)):
        if sources.voc_validation_every and at % sources.voc_validation_every == 0:
            continue
        yield _packed(scene, "voc"), scene.coco_id
    shown = [scene for scene in read_folder(sources.stanford40) if scene.split == "train" and scene.action]
    for scene in _with_pseudo_labels("stanford40", shown, pseudo_labels):
        truth = add_stanford40_action(scene.truth, scene.action or "")
        yield _packed(replace(scene, truth=truth), "stanford40"), scene.coco_id
    for folder in sources.photos:
        yield from ((photo, None) for photo in _photos(folder, pseudo_labels))


def read_folder(folder: Path | None) -> list[Scene]:
    return list(read_coco(folder / "annotations.json", folder / "images")) if folder else []


def _packed(scene: Scene, source: str) -> PackedScene:
    size = scene.width, scene.height
    return PackedScene(read_rgb(scene.path), size, scene.truth, SOURCE_WEIGHTS[source])


def _with_pseudo_labels(name: str, scenes: Sequence[Scene], pseudo_labels: PseudoLabelCache) -> Iterator[Scene]:
    detections = pseudo_labels.detections(name, [scene.path for scene in scenes])
    annotated_classes = VOC_CLASSES if name == "voc" else ()
    for scene in scenes:
        scaled = detections[scene.path.name].scaled(scene.width, scene.height)
        yield replace(scene, truth=add_pseudo_labels(scene.truth, scaled, annotated_classes))


def _photos(folder: Path, pseudo_labels: PseudoLabelCache) -> Iterator[PackedScene]:
    paths = list_photos(folder)
    detections = pseudo_labels.detections(folder.name, paths)
    nothing = boxes_without_actions(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    for path in paths:
        if detections[path.name].scores.max(initial=0) >= MIN_PHOTO_SCORE:
            picture = read_rgb(path)
            height, width = picture.shape[:2]
            truth = add_pseudo_labels(nothing, detections[path.name].scaled(width, height))
            yield PackedScene(picture, (width, height), truth, SOURCE_WEIGHTS["photos"])
