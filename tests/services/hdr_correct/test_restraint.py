import numpy as np
import pytest

from services.hdr_correct.floats import Floats
from services.hdr_correct.restraint import grant
from services.hdr_correct.scene import decode_srgb


def photo() -> Floats:
    return np.random.default_rng(0).uniform(0.3, 0.6, (160, 224, 3)).astype(np.float32)


def brightened(srgb: Floats, stops: float) -> Floats:
    return np.asarray(1.055 * (decode_srgb(srgb) * 2**stops) ** (1 / 2.4) - 0.055, np.float32)


@pytest.mark.parametrize("stops", [-0.25, 0, 0.25])
def test_what_is_within_a_photographers_taste_is_left_alone(stops: float) -> None:
    assert grant(photo(), brightened(photo(), stops)) == 0


@pytest.mark.parametrize("stops", [-2, -1, 1, 1.5])
def test_what_is_badly_exposed_is_corrected_in_full(stops: float) -> None:
    assert grant(photo(), brightened(photo(), stops)) == 1


def test_in_between_it_rises() -> None:
    shares = [grant(photo(), brightened(photo(), stops)) for stops in (0.4, 0.5, 0.6, 0.7)]
    assert (np.diff([0, *shares, 1]) > 0.02).all()


def test_a_dark_half_counts_though_the_mean_does_not_change() -> None:
    backlit = photo()
    backlit[:, :112] *= 0.3
    wanted = backlit.copy()
    wanted[:, :112] = photo()[:, :112]
    assert grant(backlit, wanted) == 1


def test_noise_is_no_exposure() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, (160, 224, 3)).astype(np.float32)
    assert grant(photo(), photo() + noise) == 0
