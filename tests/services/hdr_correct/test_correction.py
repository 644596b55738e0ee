import numpy as np
import pytest

from services.hdr_correct.correction import merge_scene
from sightline.imaging.bit_depth import Floats
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb


def photo() -> Floats:
    return np.random.default_rng(0).uniform(0.1, 0.8, (16, 16, 3)).astype(np.float32)


def test_scene_of_usable_pixels_is_the_photo_at_another_exposure() -> None:
    guess = np.full((16, 16, 3), 3, np.float32)

    np.testing.assert_allclose(merge_scene(photo(), guess, -2.0), 4 * decode_srgb(photo()), rtol=1e-5)


def test_scene_of_clipped_pixels_is_the_guess() -> None:
    clipped = photo()
    clipped[:4] = 1
    bright, dark = (np.full((16, 16, 3), light, np.float32) for light in (3, 0.03))

    assert merge_scene(clipped, bright, 1.0)[:4] == pytest.approx(3)
    assert merge_scene(clipped, dark, 1.0)[:4] == pytest.approx(0.5), "at least as bright as it looks"


def test_scene_of_a_well_exposed_photo_is_the_photo() -> None:
    clipped = photo()
    clipped[:4] = 1
    guess = np.full((16, 16, 3), 3, np.float32)

    scene = merge_scene(clipped, guess, 0.5, withheld=1)

    np.testing.assert_allclose(scene[4:], decode_srgb(clipped[4:]), rtol=1e-5)
    assert scene[:4] == pytest.approx(3 * 2**0.5)


def test_scene_without_usable_pixels_is_the_guess() -> None:
    guess = np.full((4, 4, 3), 0.2, np.float32)

    assert merge_scene(np.ones((4, 4, 3), np.float32), guess, None) is guess
