import numpy as np
import pytest

from services.hdr_correct.floats import Floats
from services.hdr_correct.restraint import grant, meant_white
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb


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
    shares = [grant(photo(), brightened(photo(), stops)) for stops in (0.5, 0.6, 0.7, 0.8)]
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


def test_less_darkening_is_asked_for_where_much_is_clipped() -> None:
    clipped = photo()
    clipped[:24] = 1
    assert grant(clipped, brightened(clipped, -0.5)) > 2 * grant(photo(), brightened(photo(), -0.5)) > 0
    assert grant(clipped, brightened(clipped, -0.08)) == 0


def test_a_clipped_photo_is_not_brightened_the_sooner() -> None:
    clipped = photo()
    clipped[:24] = 1
    wanted = clipped.copy()
    wanted[24:] = brightened(photo(), 0.3)[24:]
    assert grant(clipped, wanted) == 0


def test_a_page_is_meant_to_be_white_and_an_overexposed_sky_is_not() -> None:
    page = np.full((300, 200, 3), 255, np.uint8)
    page[20:280:10, 20:180] = 30
    sky = np.clip(np.linspace(400, 60, 300)[:, None, None] * np.ones((1, 200, 3)), 0, 255).astype(np.uint8)

    assert meant_white(page) == 1
    assert meant_white(page.astype(np.uint16) * 257) == 1
    assert meant_white(sky) == 0
    assert meant_white(np.full((20, 20, 3), 120, np.uint8)) == 0


def test_what_is_meant_to_be_white_is_not_darkened_but_may_be_brightened() -> None:
    assert grant(photo(), brightened(photo(), -1), meant=1) == 0
    assert grant(photo(), brightened(photo(), 1), meant=1) == 1
