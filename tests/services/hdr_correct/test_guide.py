import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.hdr_correct.guide import brightness, level_weights, local_features, place_levels, used_levels


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 0.3))
def test_weights_add_up_to_one_and_give_back_the_brightness(seed: int, middle: float, spread: float) -> None:
    values = np.random.default_rng(seed).normal(middle, spread, (9, 11))
    guide = np.clip(values, 0, 1).astype(np.float32)
    levels = place_levels(guide)
    weights = level_weights(guide, levels)
    assert np.allclose(weights.sum(axis=0), 1, atol=1e-5)
    assert (weights >= 0).all()
    assert ((weights > 0).sum(axis=0) <= 2).all()
    assert np.allclose(np.tensordot(levels, weights, 1), guide, atol=1e-5)


def test_levels_gather_where_the_pixels_are() -> None:
    dark = np.random.default_rng(0).uniform(0.02, 0.1, 10_000).astype(np.float32)
    levels = place_levels(dark)
    assert (levels[0], levels[-1]) == (0, 1)
    assert (np.diff(levels) > 0.02).all()
    assert ((levels > 0.02) & (levels < 0.3)).sum() >= 6


def test_levels_of_a_single_tone_still_rise() -> None:
    for tone in (0, 0.5, 1):
        assert (np.diff(place_levels(np.full(50, tone, np.float32))) > 0).all()


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_unused_levels_can_be_left_out(low: float, high: float) -> None:
    levels = place_levels(np.linspace(0, 0.4, 99, dtype=np.float32))
    guide = np.linspace(low, high, 50, dtype=np.float32)
    used = used_levels(guide, levels)
    whole = level_weights(guide, levels)
    assert np.allclose(level_weights(guide, levels[used]), whole[used])
    assert np.allclose(whole[used].sum(axis=0), 1)


@pytest.mark.parametrize("tone", [0, 0.5, 1])
def test_one_tone_on_a_level_uses_one(tone: float) -> None:
    levels = np.linspace(0, 1, 5, dtype=np.float32)
    used = used_levels(np.full(3, tone, np.float32), levels)
    assert levels[used].tolist() == [tone]


def test_white_is_as_bright_as_can_be() -> None:
    assert brightness(np.ones((3, 2, 2), np.float32)).tolist() == [[1, 1], [1, 1]]


def test_features_are_colours_under_weights() -> None:
    planes = np.array([[0.1], [0.2], [0.3]], np.float32)
    features = local_features(planes, np.array([[0.25], [0.75]], np.float32))
    assert np.allclose(features[:, 0], [0.025, 0.05, 0.075, 0.25, 0.075, 0.15, 0.225, 0.75])
