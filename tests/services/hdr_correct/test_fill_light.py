import numpy as np
import pytest

from services.hdr_correct.fill_light import backlight, base_layer, fill_light
from sightline.imaging.bit_depth import Floats
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb

SKYLINE = 30
SHOWN_CODES = {"dark": 28, "sky": 200}


def backlit(dark: float = SHOWN_CODES["dark"], sky: float = SHOWN_CODES["sky"]) -> Floats:
    """A textured building (below the skyline) before a sky, (64, 64, 3) in 0..1."""
    texture = np.random.default_rng(0).uniform(0.8, 1.2, (64, 64, 1))
    photo = np.full((64, 64, 3), sky / 255) * np.linspace(0.95, 1.05, 64)[None, :, None]
    photo[SKYLINE:] = dark / 255 * texture[SKYLINE:]
    return photo.astype(np.float32)


def code(pixels: Floats) -> float:
    return float(255 * np.median(pixels))


def test_building_before_a_sky_is_lifted_to_an_acceptable_brightness() -> None:
    photo = backlit()

    lifted = fill_light(photo, photo).apply(photo)

    assert 60 < code(lifted[SKYLINE + 4 :]) < 120
    assert code(photo[SKYLINE + 4 :]) == pytest.approx(28, abs=2)


def test_sky_is_unchanged_up_to_the_skyline() -> None:
    photo = backlit()

    change = 255 * np.abs(fill_light(photo, photo).apply(photo) - photo)

    assert change[: SKYLINE - 1].max() < 6
    assert change[: SKYLINE - 10].max() < 1


def test_texture_of_the_building_keeps_its_contrast() -> None:
    photo = backlit()

    lifted = fill_light(photo, photo).apply(photo)

    before, after = (np.std(np.log(decode_srgb(pixels[SKYLINE + 8 :, :, 1]))) for pixels in (photo, lifted))
    assert after > 0.75 * before


def test_order_of_brightness_is_kept() -> None:
    ramp = np.repeat(np.linspace(0.02, 0.9, 64, dtype=np.float32)[:, None, None], 64, axis=1).repeat(3, axis=2)
    ramp[:24] = 0.85

    lifted = fill_light(ramp, ramp).apply(ramp)

    assert (np.diff(lifted[30:, 32, 0]) > -0.004).all()


@pytest.mark.parametrize(("dark", "sky"), [(110, 190), (120, 120), (200, 245), (20, 26)])
def test_photo_without_deep_shadows_beside_bright_areas_is_not_lifted(dark: float, sky: float) -> None:
    photo = backlit(dark, sky)

    assert fill_light(photo, photo).max_stops == 0


def test_black_night_sky_is_not_lifted() -> None:
    photo = backlit(1.5, 200)

    lifted = fill_light(photo, photo).apply(photo)

    assert 255 * np.abs(lifted - photo)[SKYLINE + 10 :].max() < 1


def test_backlight_rises_with_the_depth_of_the_shadows() -> None:
    certainties = [backlight(base_layer(backlit(dark))) for dark in (90, 60, 40, 20)]

    assert certainties == sorted(certainties)
    assert certainties[0] == 0
    assert certainties[-1] == 1
