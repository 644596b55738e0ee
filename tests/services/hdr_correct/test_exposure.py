import numpy as np
import pytest
from numpy.typing import NDArray

from services.hdr_correct.exposure import (
    correction_share,
    estimate_ev_error,
    is_usable,
    overexposure_certainty,
    read_exposure,
    white_certainty,
    without_darkening,
)
from sightline.imaging.bit_depth import Floats, to_float
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.imaging.formats import ImageFormat
from sightline.imaging.picture import Picture, Samples


def picture(pixels: Samples) -> Picture:
    depth = 8 * pixels.itemsize
    return Picture(pixels, None, ImageFormat.PNG, depth, 1, None, grey=False, notes=(), sha256="")


@pytest.mark.parametrize("scale", [1, 257])
def test_shares_count_pixels_by_their_channels(scale: int) -> None:
    colours = [(0, 0, 0), (2, 2, 2), (2, 2, 3), (0, 253, 0), (252, 252, 252), (255, 255, 255), (9, 9, 254), (90, 0, 0)]
    eight_bits = np.array([colours], np.uint8)
    pixels: Samples = eight_bits if scale == 1 else eight_bits.astype(np.uint16) * np.uint16(257)
    reading = read_exposure(picture(pixels), pixels, None)
    assert reading.crushed_share == 2 / 8
    assert reading.clipped_share == 3 / 8


def test_mean_luminance_is_linear() -> None:
    half = np.repeat(np.array([[[0], [255]]], np.uint8), 3, axis=2)
    assert read_exposure(picture(half), half, None).mean_luminance == pytest.approx(0.5, abs=1e-4)
    grey = np.full((3000, 2100, 3), 118, np.uint8)
    assert read_exposure(picture(grey), grey, None).mean_luminance == pytest.approx(0.181, abs=1e-3)


@pytest.mark.parametrize("stops", [-3.0, -0.5, 0, 2.0])
def test_ev_error_is_the_stops_between_photo_and_scene(stops: float) -> None:
    photo = np.random.default_rng(0).uniform(0.1, 0.9, (40, 50, 3)).astype(np.float32)
    scene = decode_srgb(photo) * np.float32(2.0**-stops)
    assert estimate_ev_error(photo, scene, np.ones((40, 50), np.bool_)) == pytest.approx(stops, abs=1e-3)


def test_ev_error_without_usable_pixels_is_none() -> None:
    white = np.full((10, 10, 3), 255, np.uint8)
    assert (
        estimate_ev_error(np.ones((10, 10, 3), np.float32), np.ones((10, 10, 3), np.float32), is_usable(white)) is None
    )


def test_pixel_with_one_clipped_channel_is_unusable() -> None:
    pixels = np.array([[(100, 100, 100), (100, 100, 254), (1, 100, 100)]], np.uint8)
    assert is_usable(pixels).tolist() == [[True, False, False]]


def photo() -> Floats:
    return np.random.default_rng(0).uniform(0.3, 0.6, (160, 224, 3)).astype(np.float32)


def brightened(srgb: Floats, stops: float) -> Floats:
    return np.asarray(1.055 * (decode_srgb(srgb) * 2**stops) ** (1 / 2.4) - 0.055, np.float32)


@pytest.mark.parametrize("stops", [-0.25, 0, 0.25])
def test_small_correction_is_not_applied(stops: float) -> None:
    assert correction_share(photo(), brightened(photo(), stops)) == 0


@pytest.mark.parametrize("stops", [-2, -1, 1, 1.5])
def test_badly_exposed_photo_is_corrected_in_full(stops: float) -> None:
    assert correction_share(photo(), brightened(photo(), stops)) == 1


def test_correction_share_rises_between_its_bounds() -> None:
    shares = [correction_share(photo(), brightened(photo(), stops)) for stops in (0.5, 0.6, 0.7, 0.8)]
    assert (np.diff([0, *shares, 1]) > 0.02).all()


def test_regional_changes_count_without_a_change_of_the_mean() -> None:
    backlit = photo()
    backlit[:, :112] *= 0.3
    wanted = backlit.copy()
    wanted[:, :112] = photo()[:, :112]
    assert correction_share(backlit, wanted) == 1


def test_noise_needs_no_correction() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, (160, 224, 3)).astype(np.float32)
    assert correction_share(photo(), photo() + noise) == 0


def test_clipped_pixels_ease_darkening() -> None:
    clipped = photo()
    clipped[:24] = 1
    assert (
        correction_share(clipped, brightened(clipped, -0.5))
        > 2 * correction_share(photo(), brightened(photo(), -0.5))
        > 0
    )
    assert correction_share(clipped, brightened(clipped, -0.08)) == 0


def test_clipped_pixels_do_not_ease_brightening() -> None:
    clipped = photo()
    clipped[:24] = 1
    wanted = clipped.copy()
    wanted[24:] = brightened(photo(), 0.3)[24:]
    assert correction_share(clipped, wanted) == 0


def test_white_is_intended_in_a_page_but_not_in_an_overexposed_sky() -> None:
    page = np.full((300, 200, 3), 255, np.uint8)
    page[20:280:10, 20:180] = 30

    assert white_certainty(to_float(page)) == 1
    assert white_certainty(to_float(page.astype(np.uint16) * 257)) == 1
    assert white_certainty(to_float(overexposed_sky())) == 0
    assert white_certainty(to_float(np.full((20, 20, 3), 120, np.uint8))) == 0


def overexposed_sky() -> NDArray[np.uint8]:
    return np.clip(np.linspace(400, 60, 300)[:, None, None] * np.ones((1, 200, 3)), 0, 255).astype(np.uint8)


def paper(red: int, green: int, blue: int) -> NDArray[np.uint8]:
    """A page of lines on paper of that colour, with the noise of a scanner."""
    page = np.full((300, 200, 3), (red, green, blue), np.float64)
    page[20:280:10, 20:180] = 30
    return np.clip(page + np.random.default_rng(0).normal(0, 1.5, page.shape), 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("colour", [(250, 250, 250), (255, 250, 240), (252, 252, 252), (226, 220, 205)])
def test_paper_is_not_overexposed(colour: tuple[int, int, int]) -> None:
    assert overexposure_certainty(paper(*colour)) == 0


def test_unclipped_snow_is_not_overexposed() -> None:
    snow = np.random.default_rng(0).normal(252, 1.5, (200, 300, 1)).clip(0, 255).round().astype(np.uint8)

    assert overexposure_certainty(np.repeat(snow, 3, axis=2)) == 0


def test_clouds_with_some_clipped_pixels_are_pale_and_not_overexposed() -> None:
    clouds = np.linspace(170, 268, 300)[:, None, None].clip(0, 255) * np.ones((1, 200, 3))

    assert overexposure_certainty(clouds.astype(np.uint8)) == 0


def test_pale_photo_of_mostly_clipped_pixels_is_overexposed() -> None:
    washed_out = np.linspace(130, 380, 300)[:, None, None].clip(0, 255) * np.ones((1, 200, 3))

    assert overexposure_certainty(washed_out.astype(np.uint8)) == 1


def test_clipped_sky_above_a_landscape_is_overexposed() -> None:
    assert overexposure_certainty(overexposed_sky()) == 1
    assert overexposure_certainty(overexposed_sky().astype(np.uint16) * 257) == 1


def test_darkening_is_left_out_and_brightening_kept_where_a_photo_is_not_overexposed() -> None:
    wanted = brightened(photo(), -1)
    wanted[80:] = brightened(photo(), 1)[80:]

    kept = without_darkening(photo(), wanted, overexposed=0)

    np.testing.assert_allclose(kept[:80], photo()[:80], atol=1e-6)
    np.testing.assert_allclose(kept[80:], wanted[80:], atol=1e-6)
    np.testing.assert_allclose(without_darkening(photo(), wanted, overexposed=1), wanted, atol=1e-6)
