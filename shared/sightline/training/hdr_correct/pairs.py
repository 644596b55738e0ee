"""Badly and well exposed pictures of one scene, in the folder layouts of public data sets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sightline.training.photos import SUFFIXES, PhotoStore, Picture, pack_pictures, read_rgb, shrink_to

TARGET_FOLDERS = ("gt_images", "expert_c_testing_set", "high", "normal", "target", "gt", "label", "expert_c", "expert")
PHOTO_FOLDERS = ("input_images", "low", "input")
EVS = {"P1": "+1 EV", "P1.5": "+1.5 EV", "0": "+0 EV", "N1": "-1 EV", "N1.5": "-1.5 EV"}
"""Exposure of a FiveK raw file's rendering, by the ending of its name in MSEC."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A badly exposed photo and its target; `group` names its exposure or its folder."""

    photo: Path
    target: Path
    group: str


class PairStore:
    """Random access to pairs written by `pack_pairs`: `store[i]` is a photo and its target, of one size."""

    def __init__(self, folder: Path) -> None:
        self._pictures = PhotoStore(folder)

    def __len__(self) -> int:
        return len(self._pictures) // 2

    def __getitem__(self, at: int) -> tuple[Picture, Picture]:
        return self._pictures[2 * at], self._pictures[2 * at + 1]


def pack_pairs(pairs: Iterable[Pair], folder: Path, *, short_side_px: int) -> int:
    """Writes the pairs, scaled to a short side of at most `short_side_px`, and returns their number."""
    read = (read_pair(pair, short_side_px) for pair in pairs)
    return pack_pictures((picture for both in read for picture in both), folder) // 2


def read_pair(pair: Pair, short_side_px: int) -> tuple[Picture, Picture]:
    photo = shrink_to(read_rgb(pair.photo), short_side_px)
    size = (photo.shape[1], photo.shape[0])
    target = cv2.resize(read_rgb(pair.target), size, interpolation=cv2.INTER_AREA)
    return photo, np.asarray(target, np.uint8)


def list_pairs(folder: Path) -> list[Pair]:
    """Pairs in MSEC, LOL, SICE or any folder that contains `input` and `target` (or `expert_c`, `gt`, ...).

    ValueError if there are none.
    """
    pairs = [pair for each in sorted([folder, *_folders(folder)]) for pair in _pairs_in(each)]
    if not pairs:
        raise ValueError(f"no pairs of photos under {folder}: no {PHOTO_FOLDERS} beside {TARGET_FOLDERS}")
    return pairs


def _pairs_in(folder: Path) -> Iterator[Pair]:
    inside = {path.name.lower(): path for path in folder.iterdir() if path.is_dir()}
    targets = next((inside[name] for name in TARGET_FOLDERS if name in inside), None)
    if targets is None:
        return
    by_stem = {path.stem.lower(): path for path in _pictures(targets)}
    photos = next((inside[name] for name in PHOTO_FOLDERS if name in inside), None)
    yield from _flat(photos, by_stem) if photos else _sequences(folder, by_stem)


def _flat(photos: Path, targets: dict[str, Path]) -> Iterator[Pair]:
    """Yields pairs of LOL and FiveK (equal names) and of MSEC (the photo's name ends in its exposure)."""
    for photo in _pictures(photos):
        stem = photo.stem.lower()
        scene, _, exposure = photo.stem.rpartition("_")
        if stem in targets:
            yield Pair(photo, targets[stem], photos.parent.name)
        elif exposure in EVS and scene.lower() in targets:
            yield Pair(photo, targets[scene.lower()], EVS[exposure])


def _sequences(folder: Path, targets: dict[str, Path]) -> Iterator[Pair]:
    """Yields pairs of SICE: a folder of exposures for each picture in Label."""
    for scene in sorted(folder.iterdir()):
        if scene.name.lower() in targets and scene.is_dir():
            for photo in _pictures(scene):
                yield Pair(photo, targets[scene.name.lower()], folder.name)


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_dir()]


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
