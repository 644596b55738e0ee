import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.conversion import cmyk_to_srgb, from_srgb, to_srgb
from sightline.imaging.formats import ImageFormat
from sightline.imaging.picture import Picture, Samples
from tests.extreme_pictures import extreme_pixels

Photo = NDArray[np.uint8]


def _picture(pixels: Samples, profile: bytes | None = None, *, grey: bool = False) -> Picture:
    return Picture(pixels, None, ImageFormat.PNG, 8 * pixels.itemsize, 1, profile, grey, (), "")


def _grey(photo: Photo) -> Photo:
    return np.repeat(photo[..., :1], 3, axis=-1)


def test_pixels_without_a_profile_are_srgb(photo: Photo) -> None:
    assert np.array_equal(to_srgb(_picture(photo)), photo)
    assert np.array_equal(to_srgb(_picture(photo.astype(np.uint16) * 257)), photo)
    assert np.array_equal(from_srgb(photo, _picture(photo)), photo)


def test_srgb_profile_changes_nothing(photo: Photo, srgb_profile: bytes) -> None:
    picture = _picture(photo, srgb_profile)
    assert np.array_equal(to_srgb(picture), photo)
    assert np.array_equal(from_srgb(photo, picture), photo)


def test_wide_gamut_red_is_outside_of_srgb(wide_profile: bytes) -> None:
    """sRGB's red is (234, 51, 35) in Display P3."""
    red = np.array([[[255, 0, 0]]], np.uint8)
    inside = from_srgb(red, _picture(red, wide_profile))
    assert np.abs(inside.astype(int) - [[[234, 51, 35]]]).max() <= 6  # a gamma of 2.2 is not quite sRGB's curve
    assert np.array_equal(to_srgb(_picture(red, wide_profile)), red)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("floating", [False, True])
def test_from_srgb_inverts_to_srgb_in_wide_gamut(photo: Photo, wide_profile: bytes, dtype: Any, floating: bool) -> None:
    picture = _picture(photo.astype(dtype), wide_profile)
    source = (photo / 255).astype(np.float32) if floating else photo
    inside = from_srgb(source, picture)
    assert inside.dtype == dtype
    back = to_srgb(dataclasses.replace(picture, pixels=inside))
    assert np.abs(back.astype(int) - photo).max() <= 2
    assert np.abs(inside / np.iinfo(dtype).max * 255 - photo).max() > 5


def test_floating_point_keeps_16_bits(wide_profile: bytes) -> None:
    ramp = np.linspace(0.2, 0.3, 4000, dtype=np.float32).reshape(-1, 1).repeat(3, axis=1)
    for profile in (None, wide_profile):
        deep = from_srgb(ramp, _picture(np.zeros((1, 1, 3), np.uint16), profile))
        assert len(np.unique(deep[:, 1])) > 3000
        assert (np.diff(deep[:, 1].astype(int)) >= 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_photo_stays_grey(photo: Photo, grey_profile: bytes, dtype: Any) -> None:
    for profile in (None, grey_profile):
        picture = _picture(_grey(photo).astype(dtype), profile, grey=True)
        filled = from_srgb((photo / 255).astype(np.float32), picture)
        assert filled.dtype == dtype
        assert np.array_equal(filled[..., 0], filled[..., 1])
        assert np.array_equal(filled[..., 0], filled[..., 2])


def test_from_srgb_inverts_to_srgb_with_a_grey_profile(photo: Photo, grey_profile: bytes) -> None:
    picture = _picture(_grey(photo).astype(np.uint16) * 257, grey_profile, grey=True)
    shown = to_srgb(picture)
    assert shown.mean() > photo[..., 0].mean() + 20  # the profile is linear
    back = from_srgb(shown, picture)
    assert np.abs(back.astype(int) - picture.pixels).max() <= 2 * 257


@pytest.mark.parametrize("shape", [(7, 3), (0, 3), (4, 5, 3)])
def test_from_srgb_accepts_any_shape(wide_profile: bytes, shape: tuple[int, ...]) -> None:
    pixels = np.full(shape, 90, np.uint8)
    for profile in (None, wide_profile):
        for grey in (False, True):
            picture = _picture(np.zeros((1, 1, 3), np.uint8), None if grey else profile, grey=grey)
            assert from_srgb(pixels, picture).shape == shape


def test_cmyk_without_a_profile_uses_ideal_inks() -> None:
    inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 128, 0, 0]]], np.uint8)
    assert cmyk_to_srgb(inks, None).tolist() == [[[255, 255, 255], [0, 255, 255], [0, 0, 0], [255, 127, 255]]]


def test_invalid_cmyk_profile_is_ignored() -> None:
    inks = np.zeros((2, 2, 4), np.uint8)
    assert (cmyk_to_srgb(inks, b"rubbish" * 99) == 255).all()


@given(extreme_pixels(), extreme_pixels(min_px=80, dtypes=(np.uint8,)))
def test_inks_at_black_and_white_equal_floating_point(colours: Samples, black: Photo) -> None:
    height, width = colours.shape[:2]
    inks = np.dstack(
        [colours, (black[:height, :width, :1].astype(colours.dtype)) * (np.iinfo(colours.dtype).max // 255)]
    )
    light = 1 - inks / np.iinfo(colours.dtype).max
    wanted = 255 * light[..., :3] * light[..., 3:]
    assert np.abs(cmyk_to_srgb(inks, None) - wanted).max() <= (0.51 if colours.dtype == np.uint8 else 1.1)


@given(extreme_pixels())
def test_grey_at_black_and_white_equals_floating_point(pixels: Samples) -> None:
    unit = pixels / np.iinfo(pixels.dtype).max
    grey = from_srgb(unit, _picture(pixels, grey=True))[..., 0]
    wanted = unit @ np.array([0.299, 0.587, 0.114]) * np.iinfo(pixels.dtype).max
    assert np.abs(grey - wanted).max() <= (1.5 if pixels.dtype == np.uint8 else 2)
