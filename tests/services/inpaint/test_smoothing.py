import numpy as np
import pytest
from numpy.typing import NDArray

from services.inpaint.smoothing import CALM_FROM_PX, calm_depths, prefer_smooth

Floats = NDArray[np.float32]


def gradient(side_px: int = 64) -> Floats:
    line = np.linspace(0.2, 0.8, side_px, dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(line[None, :, None], (side_px, side_px, 3)))


def scratch(side_px: int = 64) -> Floats:
    hole = np.zeros((side_px, side_px), np.float32)
    hole[30:35, 10:50] = 1
    return hole


def test_a_wrong_prediction_gives_way_where_the_surroundings_are_smooth() -> None:
    wrong = gradient() - np.float32(0.1)

    kept = prefer_smooth(wrong, gradient(), gradient(), scratch())

    assert np.abs(kept - gradient())[scratch() == 1].mean() < 0.03


def test_a_prediction_stands_where_the_surroundings_are_rough() -> None:
    noise = np.random.default_rng(0).random((64, 64, 3), np.float32)
    predicted = np.full_like(noise, 0.9)

    assert np.abs(prefer_smooth(predicted, noise, noise, scratch()) - 0.9).max() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (33, 64)])
def test_any_size_and_no_known_pixel_are_fine(size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 0.5, np.float32)

    assert np.isfinite(prefer_smooth(pixels, pixels, pixels, np.ones(size, np.float32))).all()


def test_noise_stays_near_known_pixels_only() -> None:
    noise = np.random.default_rng(0).random((96, 96, 3), np.float32)
    hole = np.zeros((96, 96), np.float32)
    hole[8:88, 8:88] = 1

    calm = calm_depths(noise, hole)

    near = slice(8, 8 + CALM_FROM_PX - 1)
    assert np.array_equal(calm[near, near], noise[near, near])
    assert calm[40:56, 40:56].std() < noise[40:56, 40:56].std() / 5
