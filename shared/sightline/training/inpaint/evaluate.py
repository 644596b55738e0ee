"""Fixed test sets of photos with holes, and quality by hole-size bucket beside the classical methods."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.training.inpaint.fillers import Filler
from sightline.training.inpaint.masks import BUCKETS, irregular_mask
from sightline.training.metrics import psnr_db, ssim
from sightline.training.photos import Picture
from sightline.training.tables import Measure, Row, make_rows

BORDER_PX = 25
MEASURES: dict[str, Measure] = {"psnr_db": psnr_db, "ssim": ssim}


@dataclass(frozen=True, slots=True)
class Case:
    """A photo with a hole.

    photo: (h, w, 3) uint8; hole: (h, w) uint8, 1 = hole; bucket: range (low, high) of its share of hole pixels.
    """

    photo: Picture
    hole: Picture
    bucket: tuple[float, float]
    touches_border: bool


def centre_square(photo: Picture, size_px: int) -> Picture:
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = photo[top : top + side, left : left + side]
    return np.asarray(cv2.resize(square, (size_px, size_px), interpolation=cv2.INTER_AREA), np.uint8)


def make_cases(photos: Iterable[Picture], *, size_px: int = 256, seed: int = 0, per_photo: int = 1) -> list[Case]:
    """Centre squares with holes, cycling through the buckets and the two border rules; equal for equal seeds."""
    cases: list[Case] = []
    for photo in photos:
        square = centre_square(photo, size_px)
        for _ in range(per_photo):
            at = len(cases)
            bucket, touches = BUCKETS[at % len(BUCKETS)], at // len(BUCKETS) % 2 == 0
            rng = np.random.default_rng((seed, at))
            hole = irregular_mask(rng, size_px, bucket, border_px=0 if touches else BORDER_PX * size_px // 256)
            cases.append(Case(square, hole, bucket, touches))
    return cases


def measure(fill: Filler, cases: Iterable[Case], measures: dict[str, Measure]) -> list[dict[str, float]]:
    """One row of figures for each case. Known pixels are restored, as in the use of every method."""
    rows = []
    for case in cases:
        filled = paste(fill(case.photo * (1 - case.hole)[..., None], case.hole), case)
        rows.append({name: figure(filled, case.photo) for name, figure in measures.items()})
    return rows


def paste(filled: Picture, case: Case) -> Picture:
    return np.where(case.hole[..., None] == 1, filled, case.photo)


def bucket_means(cases: list[Case], figures: list[float]) -> NDArray[np.float64]:
    """Mean figure of each bucket, in the order of BUCKETS."""
    at = [BUCKETS.index(case.bucket) for case in cases]
    return np.bincount(at, figures, len(BUCKETS)) / np.bincount(at, minlength=len(BUCKETS))


def compare(fillers: dict[str, Filler], cases: list[Case], measures: dict[str, Measure]) -> list[Row]:
    """Figures of every method on every case, in rows by bucket, then by method."""
    ordered = sorted(cases, key=lambda case: case.bucket)
    figures = {name: measure(fill, ordered, measures) for name, fill in fillers.items()}
    return make_rows(ordered, bucket_name, figures)


def bucket_name(case: Case) -> str:
    low, high = case.bucket
    return f"{low:.0%} to {high:.0%}"
