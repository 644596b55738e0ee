import numpy as np
import pytest

from services.hdr_correct.anchoring import anchor
from services.hdr_correct.floats import Floats
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb


def photo() -> Floats:
    return np.random.default_rng(0).uniform(0.1, 0.8, (16, 16, 3)).astype(np.float32)


def test_what_the_camera_saw_is_kept_but_for_the_exposure() -> None:
    guess = np.full((16, 16, 3), 3, np.float32)

    np.testing.assert_allclose(anchor(photo(), guess, -2.0), 4 * decode_srgb(photo()), rtol=1e-5)


def test_where_it_was_clipped_the_guess_counts() -> None:
    clipped = photo()
    clipped[:4] = 1
    bright, dark = (np.full((16, 16, 3), light, np.float32) for light in (3, 0.03))

    assert anchor(clipped, bright, 1.0)[:4] == pytest.approx(3)
    assert anchor(clipped, dark, 1.0)[:4] == pytest.approx(0.5), "at least as bright as it looks"


def test_a_photo_that_is_well_exposed_is_its_scene() -> None:
    clipped = photo()
    clipped[:4] = 1
    guess = np.full((16, 16, 3), 3, np.float32)

    scene = anchor(clipped, guess, 0.5, withheld=1)

    np.testing.assert_allclose(scene[4:], decode_srgb(clipped[4:]), rtol=1e-5)
    assert scene[:4] == pytest.approx(3 * 2**0.5)


def test_a_photo_that_shows_nothing_is_all_guess() -> None:
    guess = np.full((4, 4, 3), 0.2, np.float32)

    assert anchor(np.ones((4, 4, 3), np.float32), guess, None) is guess
