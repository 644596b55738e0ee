import numpy as np
import pytest

from services.inpaint.blending import match_surroundings, window_weights


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
