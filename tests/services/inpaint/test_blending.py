import numpy as np
import pytest

from services.inpaint.blending import COLOUR_MARGIN, limit_colours, match_surroundings, window_weights


def test_right_prediction_is_left_alone() -> None:
    pixels = np.random.default_rng(0).random((64, 64, 3), np.float32)
    hole = np.zeros((64, 64), np.float32)
    hole[20:40, 20:40] = 1
    assert np.abs(match_surroundings(pixels, pixels, hole) - pixels).max() < 1e-6


def test_tone_error_is_taken_from_the_rim_of_a_hole() -> None:
    pixels = np.full((288, 288, 3), 0.5, np.float32)
    hole = np.zeros((288, 288), np.float32)
    hole[32:256, 32:256] = 1
    matched = match_surroundings(pixels + np.float32(0.1), pixels, hole)
    assert np.abs(matched[32, 144] - 0.5).max() < 0.005
    assert np.abs(matched[144, 144] - 0.6).max() < 0.001


def test_hole_pixels_of_the_picture_mean_nothing() -> None:
    predicted = np.full((32, 32, 3), 0.5, np.float32)
    hole = np.zeros((32, 32), np.float32)
    hole[8:24, 8:24] = 1
    pixels = np.where(hole[..., None] == 1, np.float32(1), predicted)
    assert np.abs(match_surroundings(predicted, pixels, hole) - 0.5).max() < 1e-6


@pytest.mark.parametrize("edge", range(4))
def test_weights_fall_towards_open_edges_only(edge: int) -> None:
    opened = [False] * 4
    opened[edge] = True
    weights = window_weights(32, 8, open_edges=(opened[0], opened[1], opened[2], opened[3]))
    edges = [weights[0], weights[-1], weights[:, 0], weights[:, -1]]
    assert (edges[edge] == 1).all()
    assert (edges[edge ^ 1] == 8).all()
    assert weights.dtype == np.uint16


def test_overlapping_weights_add_up_evenly() -> None:
    """Two windows whose overlap is twice the ramp: their shares cross without a step."""
    first = window_weights(32, 8, open_edges=(False, False, False, True))[0].astype(float)
    second = window_weights(32, 8, open_edges=(False, False, True, False))[0].astype(float)
    share = first[16:] / (first[16:] + second[:16])
    assert (np.diff(share) <= 0).all()
    assert np.abs(np.diff(share)).max() < 0.12


def test_colours_that_are_known_are_left_alone() -> None:
    pixels = np.random.default_rng(0).random((40, 50, 3), np.float32)
    hole = np.zeros((40, 50), np.float32)
    hole[10:20, 10:20] = 1
    within = 0.5 + 0.2 * (pixels - 0.5)
    assert np.abs(limit_colours(within, pixels, hole) - within).max() < 1e-6


def test_tints_on_a_grey_wall_become_grey() -> None:
    hole = np.zeros((40, 50), np.float32)
    hole[:20, :20] = 1
    pixels = np.repeat(np.linspace(0.2, 1, 2000, dtype=np.float32).reshape(40, 50, 1), 3, axis=2)
    blue = np.full((40, 50, 3), (0.3, 0.4, 0.9), np.float32)
    limited = limit_colours(blue, pixels, hole)
    assert np.ptp(limited, axis=2).max() <= 3 * COLOUR_MARGIN
    assert np.abs(limited.mean(2) - blue.mean(2)).max() < 0.01


def test_without_known_pixels_any_colour_may_be_right() -> None:
    predicted = np.full((8, 8, 3), (0.3, 0.4, 0.9), np.float32)
    assert np.array_equal(limit_colours(predicted, predicted, np.ones((8, 8), np.float32)), predicted)
