import numpy as np
import pytest

from sightline.imaging.colour_spaces.transfer_functions import decode_srgb, encode_srgb
from sightline.training.hdr_correct.cameras import SimulatedCamera, random_camera

RAMP = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16, 1).repeat(3, 2)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_right_exposure_gives_the_srgb_photo_back() -> None:
    photo = SimulatedCamera(ev=0).shoot(decode_srgb(RAMP), rng())

    assert np.array_equal(photo, np.rint(255 * RAMP))


@pytest.mark.parametrize("ev", [-3.0, -1.0, 1.0, 2.0])
def test_exposure_scales_the_light_until_it_clips(ev: float) -> None:
    photo = SimulatedCamera(ev).shoot(decode_srgb(RAMP), rng())

    light = np.minimum(decode_srgb(RAMP) * 2**ev, 1)
    assert np.abs(photo / 255 - encode_srgb(light)).max() <= 0.5 / 255 + 1e-6


def test_noise_is_in_the_shadows_too_and_differs_by_draw() -> None:
    camera = SimulatedCamera(ev=-3, shot_noise=1e-3, read_noise=4e-3)
    scene = np.full((64, 64, 3), 0.18, np.float32)

    first, second = camera.shoot(scene, rng()), camera.shoot(scene, np.random.default_rng(1))

    assert first.std() > 2
    assert not np.array_equal(first, second)


def test_random_cameras_err_more_often_to_the_dark_side_and_leave_some_photos_alone() -> None:
    chance = rng()
    evs = np.array([random_camera(chance).ev for _ in range(600)])

    assert (evs < -0.3).mean() > (evs > 0.3).mean() > (np.abs(evs) <= 0.3).mean() > 0.1
    assert evs.min() > -3.6
    assert evs.max() < 2.6
