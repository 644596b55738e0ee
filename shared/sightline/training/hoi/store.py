"""Pictures at training size with their truths, packed into files that loader processes map."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.training.hoi.truth import Truth, concatenated
from sightline.training.hoi.verbs import COCO_CLASSES
from sightline.training.photos import PhotoStore, Picture, pack_pictures

COMMON_SHARE, MOST_REPEATED = 0.04, 4.0
"""Classes in fewer pictures than this share are drawn more often, but never more than so many times."""
COLUMNS = ("boxes", "labels", "confidence", "actions", "targets")


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A picture to pack: `size` is the width and height that its truth is in, `weight` how often it is drawn."""

    picture: Picture
    size: tuple[int, int]
    truth: Truth
    weight: float


class SceneStore:
    """`store[i]`: a picture (h, w, 3), not a copy, and its truth in its pixels; `weights` say how often to draw it."""

    def __init__(self, folder: Path) -> None:
        self.photos = PhotoStore(folder)
        with np.load(folder / "truths.npz") as saved:
            self._columns: list[NDArray[Any]] = [saved[name] for name in COLUMNS]
            self._ends, self.weights, self.sizes = saved["ends"], saved["weights"], saved["sizes"]

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, at: int) -> tuple[Picture, Truth]:
        rows = slice(self._ends[at], self._ends[at + 1])
        return self.photos[at], Truth(*(column[rows] for column in self._columns))


def pack_scenes(scenes: Iterable[Packed], folder: Path, *, longest_px: int) -> int:
    """Write them, every longest side brought to `longest_px`, and return how many there are."""
    truths: list[Truth] = []
    weights: list[float] = []
    sizes: list[tuple[int, int]] = []

    def pictures() -> Iterator[Picture]:
        for scene in scenes:
            picture = resized(scene.picture, scene.size, longest_px)
            height, width = picture.shape[:2]
            truths.append(scene.truth.scaled(width / scene.size[0], height / scene.size[1]))
            weights.append(scene.weight)
            sizes.append((height, width))
            yield picture

    count = pack_pictures(pictures(), folder)
    drawn = np.array(weights) * repeat_factors(truths, np.array(weights))
    columns, ends = concatenated(truths)
    named = dict(zip(COLUMNS, columns, strict=True))
    np.savez(folder / "truths.npz", ends=ends, weights=drawn, sizes=np.array(sizes), **named)  # type: ignore[arg-type]
    return count


def fitted(size: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """Width and height with the longest side as given."""
    scale = longest_px / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resized(picture: Picture, size: tuple[int, int], longest_px: int) -> Picture:
    """The picture as it is fitted; its own size does not matter, as it may have been squashed."""
    width, height = fitted(size, longest_px)
    how = cv2.INTER_AREA if picture.shape[1] > width else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


def repeat_factors(truths: Sequence[Truth], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much more often to draw each picture for its rarest class (Gupta et al., "LVIS", CVPR 2019).

    The root of the common share over the class's own, up to a limit. A class counts where a box is more likely than
    not.
    """
    sure = [np.unique(truth.labels[truth.confidence > 0.5]) for truth in truths]
    shares = np.zeros(len(COCO_CLASSES))
    for labels, weight in zip(sure, weights, strict=True):
        shares[labels] += weight / weights.sum()
    factors = np.sqrt(COMMON_SHARE / shares.clip(1e-6)).clip(1, MOST_REPEATED)
    return np.array([factors[labels].max(initial=1.0) for labels in sure])
