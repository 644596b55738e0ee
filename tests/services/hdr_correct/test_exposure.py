import numpy as np
import pytest

from services.hdr_correct.exposure import estimate_ev_error, is_usable, read_exposure
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
def test_the_error_is_the_stops_between_photo_and_scene(stops: float) -> None:
    photo = np.random.default_rng(0).uniform(0.1, 0.9, (40, 50, 3)).astype(np.float32)
    scene = decode_srgb(photo) * np.float32(2.0**-stops)
    assert estimate_ev_error(photo, scene, np.ones((40, 50), np.bool_)) == pytest.approx(stops, abs=1e-3)


def test_a_photo_without_usable_pixels_has_no_error() -> None:
    white = np.full((10, 10, 3), 255, np.uint8)
    assert (
        estimate_ev_error(np.ones((10, 10, 3), np.float32), np.ones((10, 10, 3), np.float32), is_usable(white)) is None
    )


def test_one_bad_channel_makes_a_pixel_useless() -> None:
    pixels = np.array([[(100, 100, 100), (100, 100, 254), (1, 100, 100)]], np.uint8)
    assert is_usable(pixels).tolist() == [[True, False, False]]
