import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.svbrdf.linear_photo import LinearPhoto, linear_photo
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.imaging.formats import ImageFormat
from sightline.imaging.picture import Picture, Samples
from tests.extreme_pictures import extreme_pixels


def picture(pixels: Samples, *, profile: bytes | None = None) -> Picture:
    return Picture(pixels, None, ImageFormat.PNG, 8 * pixels.dtype.itemsize, 1, profile, False, (), "")


def ramp(dtype: type[np.unsignedinteger]) -> Samples:
    values: Samples = np.linspace(0, np.iinfo(dtype).max, 300).astype(dtype).reshape(10, 10, 3)
    return values


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_srgb_is_decoded_in_any_depth_and_linear_samples_are_taken_as_they_are(dtype: type[np.unsignedinteger]) -> None:
    pixels = ramp(dtype)
    unit = pixels / np.iinfo(dtype).max

    np.testing.assert_allclose(linear_photo(picture(pixels), linear=False).light(), decode_srgb(unit), atol=1e-6)
    np.testing.assert_allclose(linear_photo(picture(pixels), linear=True).light(), unit, atol=1e-6)


def test_photo_in_another_colour_space_is_converted() -> None:
    profile = bytes(imagecodecs.cms_profile("adobergb"))
    green = np.zeros((4, 4, 3), np.uint8)
    green[..., 1] = 200

    plain, converted = (linear_photo(picture(green, profile=each), linear=False).light() for each in (None, profile))

    assert converted[0, 0, 1] > plain[0, 0, 1]


def test_bands_cover_a_large_photo() -> None:
    photo = LinearPhoto(np.zeros((70, 40_000, 3), np.uint8), np.zeros(256, np.float32))

    rows = [row for band in photo.bands() for row in range(band.start, band.stop)]

    assert rows == list(range(70))
    assert len(list(photo.bands())) > 1


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (1500, 2), (600, 800)])
def test_stretched_photo_keeps_its_mean_light(size: tuple[int, int]) -> None:
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(100, 140, (*size, 3), np.uint8)
    photo = linear_photo(picture(pixels), linear=False)

    small = photo.stretched(32, 48)

    assert small.shape == (32, 48, 3)
    assert small.mean() == pytest.approx(photo.light().mean(), rel=0.1)


def test_within_shrinks_larger_photos_only() -> None:
    photo = linear_photo(picture(np.zeros((100, 200, 3), np.uint8)), linear=False)

    assert photo.within(300) is photo
    assert (photo.within(50).height, photo.within(50).width) == (25, 50)


@settings(max_examples=40, deadline=None)
@given(extreme_pixels(min_px=8), st.integers(2, 4))
def test_shrunk_extreme_pixels_match_floating_point(pixels: Samples, factor: int) -> None:
    height, width = (side // factor * factor for side in pixels.shape[:2])
    photo = linear_photo(picture(np.ascontiguousarray(pixels[:height, :width])), linear=True)
    light = pixels[:height, :width] / np.iinfo(pixels.dtype).max
    wanted = light.reshape(height // factor, factor, width // factor, factor, 3).mean((1, 3))
    assert np.abs(photo.stretched(height // factor, width // factor) - wanted).max() < 1e-5
