import numpy as np
import pytest
from numpy.typing import NDArray

from services.inpaint.compositing.seams import (
    COLOUR_MARGIN,
    INTERIOR_FROM_PX,
    blend_smooth_areas,
    clamp_colours,
    match_tone,
    smooth_interior,
    window_weights,
)

Floats = NDArray[np.float32]


def test_match_tone_keeps_a_correct_prediction() -> None:
    pixels = np.random.default_rng(0).random((64, 64, 3), np.float32)
    hole = np.zeros((64, 64), np.float32)
    hole[20:40, 20:40] = 1
    assert np.abs(match_tone(pixels, pixels, hole) - pixels).max() < 1e-6


def test_match_tone_corrects_the_rim_of_a_hole() -> None:
    pixels = np.full((288, 288, 3), 0.5, np.float32)
    hole = np.zeros((288, 288), np.float32)
    hole[32:256, 32:256] = 1
    matched = match_tone(pixels + np.float32(0.1), pixels, hole)
    assert np.abs(matched[32, 144] - 0.5).max() < 0.005
    assert np.abs(matched[144, 144] - 0.6).max() < 0.001


def test_match_tone_ignores_pixels_in_holes() -> None:
    predicted = np.full((32, 32, 3), 0.5, np.float32)
    hole = np.zeros((32, 32), np.float32)
    hole[8:24, 8:24] = 1
    pixels = np.where(hole[..., None] == 1, np.float32(1), predicted)
    assert np.abs(match_tone(predicted, pixels, hole) - 0.5).max() < 1e-6


@pytest.mark.parametrize("edge", range(4))
def test_window_weights_fall_towards_open_edges_only(edge: int) -> None:
    opened = [False] * 4
    opened[edge] = True
    weights = window_weights(32, 8, open_edges=(opened[0], opened[1], opened[2], opened[3]))
    edges = [weights[0], weights[-1], weights[:, 0], weights[:, -1]]
    assert (edges[edge] == 1).all()
    assert (edges[edge ^ 1] == 8).all()
    assert weights.dtype == np.uint16


def test_overlapping_window_weights_cross_without_a_step() -> None:
    """The overlap of the two windows is twice the ramp."""
    first = window_weights(32, 8, open_edges=(False, False, False, True))[0].astype(float)
    second = window_weights(32, 8, open_edges=(False, False, True, False))[0].astype(float)
    share = first[16:] / (first[16:] + second[:16])
    assert (np.diff(share) <= 0).all()
    assert np.abs(np.diff(share)).max() < 0.12


def test_clamp_colours_keeps_known_colours() -> None:
    pixels = np.random.default_rng(0).random((40, 50, 3), np.float32)
    hole = np.zeros((40, 50), np.float32)
    hole[10:20, 10:20] = 1
    within = 0.5 + 0.2 * (pixels - 0.5)
    assert np.abs(clamp_colours(within, pixels, hole) - within).max() < 1e-6


def test_clamp_colours_makes_tints_on_a_grey_wall_grey() -> None:
    hole = np.zeros((40, 50), np.float32)
    hole[:20, :20] = 1
    pixels = np.repeat(np.linspace(0.2, 1, 2000, dtype=np.float32).reshape(40, 50, 1), 3, axis=2)
    blue = np.full((40, 50, 3), (0.3, 0.4, 0.9), np.float32)
    limited = clamp_colours(blue, pixels, hole)
    assert np.ptp(limited, axis=2).max() <= 3 * COLOUR_MARGIN
    assert np.abs(limited.mean(2) - blue.mean(2)).max() < 0.01


def test_clamp_colours_without_known_pixels_keeps_all() -> None:
    predicted = np.full((8, 8, 3), (0.3, 0.4, 0.9), np.float32)
    assert np.array_equal(clamp_colours(predicted, predicted, np.ones((8, 8), np.float32)), predicted)


def gradient(side_px: int = 64) -> Floats:
    line = np.linspace(0.2, 0.8, side_px, dtype=np.float32)
    return np.ascontiguousarray(np.broadcast_to(line[None, :, None], (side_px, side_px, 3)))


def scratch(side_px: int = 64) -> Floats:
    hole = np.zeros((side_px, side_px), np.float32)
    hole[30:35, 10:50] = 1
    return hole


def test_smooth_surroundings_replace_a_wrong_prediction() -> None:
    wrong = gradient() - np.float32(0.1)

    kept = blend_smooth_areas(wrong, gradient(), gradient(), scratch())

    assert np.abs(kept - gradient())[scratch() == 1].mean() < 0.03


def test_rough_surroundings_keep_the_prediction() -> None:
    noise = np.random.default_rng(0).random((64, 64, 3), np.float32)
    predicted = np.full_like(noise, 0.9)

    assert np.abs(blend_smooth_areas(predicted, noise, noise, scratch()) - 0.9).max() < 0.01


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (33, 64)])
def test_blend_smooth_areas_takes_any_size_and_no_known_pixel(size: tuple[int, int]) -> None:
    pixels = np.full((*size, 3), 0.5, np.float32)

    assert np.isfinite(blend_smooth_areas(pixels, pixels, pixels, np.ones(size, np.float32))).all()


def test_smooth_interior_keeps_detail_near_known_pixels_only() -> None:
    noise = np.random.default_rng(0).random((96, 96, 3), np.float32)
    hole = np.zeros((96, 96), np.float32)
    hole[8:88, 8:88] = 1

    calm = smooth_interior(noise, hole)

    near = slice(8, 8 + INTERIOR_FROM_PX - 1)
    assert np.array_equal(calm[near, near], noise[near, near])
    assert calm[40:56, 40:56].std() < noise[40:56, 40:56].std() / 5
