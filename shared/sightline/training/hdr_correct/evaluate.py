"""Fixed test sets of badly exposed photos, and quality by exposure error beside the classical methods."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.training.hdr_correct.baselines import Corrector
from sightline.training.hdr_correct.cameras import SimulatedCamera
from sightline.training.hdr_correct.data import is_well_exposed
from sightline.training.hdr_correct.pairs import list_pairs
from sightline.training.inpaint.evaluate import centre_square
from sightline.training.metrics import psnr_db, ssim
from sightline.training.photos import Picture, list_photos, read_rgb
from sightline.training.tables import Figures, Measure, Row, make_rows

EVS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0)
MEASURES: dict[str, Measure] = {"psnr_db": psnr_db, "ssim": ssim}


@dataclass(frozen=True, slots=True)
class Case:
    """A photo and its target; `group` names its exposure error."""

    photo: Picture
    target: Picture
    group: str


def make_cases(folder: Path, *, size_px: int, limit: int | None = None) -> list[Case]:
    """Well-exposed photos with each exposure error; equal for equal arguments."""
    squares = good_squares(folder, size_px=size_px, limit=limit)
    return [expose(square, ev, seed=at) for ev in EVS for at, square in enumerate(squares)]


def good_squares(folder: Path, *, size_px: int, limit: int | None = None) -> list[Picture]:
    """Centre squares of the well-exposed photos of a folder."""
    squares = (centre_square(read_rgb(path), size_px) for path in list_photos(folder))
    return [square for square in squares if is_well_exposed(square)][:limit]


def describe_change(correct: Corrector, squares: Sequence[Picture]) -> str:
    """Returns a sentence on the change of photos that need no correction."""
    pairs = [(correct(square).astype(np.int16), square) for square in squares]
    levels = np.array([np.abs(corrected - square).mean() for corrected, square in pairs])
    middle, most = np.quantile(levels, (0.5, 0.9))
    return (
        f"{len(levels)} well-exposed photos change by {levels.mean():.2f} levels of 255 on average, half of them by at "
        f"most {middle:.2f}, nine of ten by at most {most:.2f}; {(levels == 0).mean():.0%} are left as they are"
    )


def expose(target: Picture, ev: float, *, seed: int) -> Case:
    scene = decode_srgb(target.astype(np.float32) / 255)
    return Case(plain_camera(ev).shoot(scene, np.random.default_rng(seed)), target, ev_name(ev))


def plain_camera(ev: float) -> SimulatedCamera:
    return SimulatedCamera(ev, shot_noise=3e-4, read_noise=1e-3, jpeg_quality=92)


def ev_name(ev: float) -> str:
    """Returns the exposure error in stops, as in the tables."""
    return f"{ev:+.0f} EV"


def paired_cases(folder: Path, *, size_px: int) -> list[Case]:
    """Centre squares of real pairs, group by group."""
    pairs = sorted(list_pairs(folder), key=lambda pair: pair.group)
    squares = [tuple(centre_square(read_rgb(path), size_px) for path in (each.photo, each.target)) for each in pairs]
    return [Case(photo, target, pair.group) for (photo, target), pair in zip(squares, pairs, strict=True)]


def measure(correct: Corrector, cases: Iterable[Case], measures: dict[str, Measure]) -> list[Figures]:
    """One row of figures for each case."""
    return [
        {name: figure(corrected, case.target) for name, figure in measures.items()}
        for case in cases
        for corrected in (correct(case.photo),)
    ]


def compare(correctors: dict[str, Corrector], cases: Sequence[Case], measures: dict[str, Measure]) -> list[Row]:
    """Figures of every method on every case, in rows by exposure error, then by method."""
    figures = {name: measure(correct, cases, measures) for name, correct in correctors.items()}
    return make_rows(cases, lambda case: case.group, figures)
