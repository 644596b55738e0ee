from dataclasses import replace

import imagecodecs
import numpy as np
import pytest

from services.hdr_correct.predictor import SIGNATURE
from services.hdr_correct.preview import preview
from sightline.imaging.bit_depth import to_float
from sightline.imaging.formats import ImageFormat
from sightline.imaging.picture import Picture, Samples


def picture(pixels: Samples, *, profile: bytes | None = None, grey: bool = False) -> Picture:
    return Picture(
        pixels=pixels,
        alpha=None,
        format=ImageFormat.PNG,
        bit_depth=8 * pixels.itemsize,
        orientation=1,
        icc_profile=profile,
        grey=grey,
        notes=(),
        sha256="",
    )


SHAPES = ({"h": 192, "w": 256}, {"h": 256, "w": 192}, {"h": 224, "w": 224})


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (4000, 3000, (192, 256)),
        (300, 400, (256, 192)),
        (50, 50, (224, 224)),
        (1, 900, (256, 192)),
        (9000, 3, (192, 256)),
    ],
)
def test_preview_has_the_size_of_the_nearest_bucket(width: int, height: int, size: tuple[int, int]) -> None:
    nearest = SIGNATURE.with_buckets(*SHAPES).nearest_bucket(width=width, height=height)
    small = preview(picture(np.zeros((height, width, 3), np.uint8)), width=nearest["w"], height=nearest["h"])
    assert small.srgb.shape == small.own.shape == (*size, 3)


def test_preview_of_the_networks_size_keeps_its_pixels() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.array_equal(preview(picture(pixels), width=64, height=64).srgb, pixels)


def test_preview_keeps_means_beyond_8_bits() -> None:
    pixels = np.full((768, 896, 3), 3, np.uint8)
    pixels[::2] = 4
    assert np.abs(preview(picture(pixels), width=64, height=64).own - 3.5 / 255).max() < 2e-5


def test_preview_of_a_large_photo_is_an_area_mean() -> None:
    pixels = np.random.default_rng(0).integers(0, 65_536, (1500, 2000, 3), np.uint16)
    own = preview(picture(pixels), width=64, height=64).own
    assert own.mean() == pytest.approx(0.5, abs=1e-3)
    assert own.std() < 0.06


def test_preview_has_srgb_and_the_photos_colour_space() -> None:
    profile = bytes(imagecodecs.cms_profile("adobergb"))
    sent = picture(np.full((192, 256, 3), (40, 160, 60), np.uint8), profile=profile)
    small = preview(sent, width=64, height=64)
    assert np.abs(small.own[0, 0] * 255 - [40, 160, 60]).max() < 0.01
    assert small.srgb[0, 0, 0] < 10
    back = small.to_own(to_float(small.srgb))
    assert np.abs(back[0, 0, 1:] * 255 - [160, 60]).max() < 1.5


def test_grey_preview_maps_back_to_grey() -> None:
    sent = replace(picture(np.full((192, 256, 3), 90, np.uint8)), grey=True)
    tinted = np.full((64, 64, 3), (0.4, 0.5, 0.7), np.float32)
    assert np.ptp(preview(sent, width=64, height=64).to_own(tinted), axis=2).max() == 0
