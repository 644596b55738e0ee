from collections.abc import Generator
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from services.inpaint.patch_completion.em import Completion, complete_holes
from services.inpaint.patch_completion.texture_features import extract_features

ResultT = TypeVar("ResultT")


def finish(work: Generator[float, None, ResultT]) -> tuple[ResultT, list[float]]:
    shares = []
    while True:
        try:
            shares.append(next(work))
        except StopIteration as stop:
            return stop.value, shares


def completed(pixels: NDArray[np.uint8], hole: NDArray[np.bool_], *, guess: int | None = None) -> Completion:
    """Completes with a guess of one grey, the mean unless given."""
    grey = np.uint8(pixels.mean() if guess is None else guess)
    result, _ = finish(complete_holes(np.where(hole[..., None], grey, pixels), hole))
    assert result is not None
    return result


def boxed(height: int, width: int) -> NDArray[np.bool_]:
    hole = np.zeros((height, width), bool)
    hole[height // 3 : height * 2 // 3, width // 3 : width * 2 // 3] = True
    return hole


def test_completion_continues_tiles() -> None:
    rows, columns = np.mgrid[:120, :180]
    pixels = np.repeat((120 + 60 * ((rows // 8 + columns // 8) % 2))[..., None], 3, 2).astype(np.uint8)
    hole = boxed(120, 180)
    errors = np.abs(completed(pixels, hole).values[hole] - pixels[hole])
    assert np.median(errors) < 2
    assert errors.mean() < 6


def test_completion_is_as_textured_as_its_surroundings() -> None:
    pixels = np.random.default_rng(0).integers(60, 180, (150, 200, 1), np.uint8).repeat(3, 2)
    hole = boxed(150, 200)
    result = completed(pixels, hole)
    rows, columns = np.nonzero(hole)
    shifts = result.shifts[hole]
    copied = pixels[rows + shifts[:, 0], columns + shifts[:, 1], 0]
    assert copied.std() == pytest.approx(pixels.std(), rel=0.15)


def test_completion_keeps_gradients_smooth() -> None:
    columns = np.arange(200) * 0.5 + 50
    pixels = np.broadcast_to(columns[None, :, None], (130, 200, 3)).astype(np.uint8)
    hole = boxed(130, 200)
    values = completed(pixels, hole).values
    assert np.abs(values[hole] - pixels[hole]).max() < 12
    assert np.abs(np.diff(values, axis=1)).max() < 8


def test_completion_follows_the_guess_between_two_textures() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(30, 70, (160, 240, 1), np.uint8).repeat(3, 2)
    pixels[:, 120:] += 140
    hole = np.zeros((160, 240), bool)
    hole[:, 80:160] = True
    dark, bright = (np.median(completed(pixels, hole, guess=grey).values[:, 120]) for grey in (50, 190))
    assert dark < bright


def test_shifts_lead_to_source_patches() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (90, 110, 3), np.uint8)
    hole = np.kron(rng.random((9, 11)) < 0.3, np.ones((10, 10))) > 0
    result, scene = completed(pixels, hole), extract_features(pixels, hole)
    rows, columns = np.nonzero(scene.target_mask())
    shifts = result.shifts[rows, columns]
    assert scene.source_mask()[rows + shifts[:, 0], columns + shifts[:, 1]].all()
    assert np.array_equal(result.values[~hole], pixels[~hole])


def test_completion_is_deterministic_and_reports_progress() -> None:
    pixels, hole = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8), boxed(150, 150)
    first, shares = finish(complete_holes(pixels, hole))
    second, _ = finish(complete_holes(pixels, hole))
    assert first is not None
    assert second is not None
    assert np.array_equal(first.shifts, second.shifts)
    assert np.array_equal(first.values, second.values)
    assert shares == sorted(shares)
    assert len(shares) > 8
    assert shares[0] == 0
    assert 0.5 < shares[-1] < 1


@pytest.mark.parametrize("size", [(8, 300), (200, 200)])
def test_completion_needs_enough_source_patches(size: tuple[int, int]) -> None:
    hole = np.ones(size, bool)
    hole[:8, :12] = False
    assert finish(complete_holes(np.zeros((*size, 3), np.uint8), hole))[0] is None
