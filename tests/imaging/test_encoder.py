import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from sightline.api.problems import Code, Problem
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.encoder import encode
from sightline.imaging.formats import ImageFormat
from sightline.imaging.header import require_header
from sightline.imaging.limits import PixelLimits
from sightline.imaging.picture import Picture, Samples

Photo = NDArray[np.uint8]
Save = Callable[..., bytes]

LIMITS = PixelLimits(max_bytes=1 << 24, max_pixels=1 << 24)
MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")


def _picture(pixels: Samples, *, grey: bool = False, orientation: int = 1) -> Picture:
    return Picture(pixels, None, ImageFormat.PNG, 8 * pixels.itemsize, orientation, None, grey, (), "")


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Generates pictures of any small size, kind, bit depth and orientation."""
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 1000)))
    grey, opaque, deep = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    noise = generator.integers(0, 65_536, (height, width, 4))
    samples: Samples = noise.astype(np.uint16) if deep else noise.astype(np.uint8)
    pixels = np.repeat(samples[..., :1], 3, axis=-1) if grey else samples[..., :3].copy()
    picture = _picture(pixels, grey=grey, orientation=draw(st.integers(1, 8)))
    return dataclasses.replace(picture, alpha=None if opaque else samples[..., 3].copy())


@given(pictures())
def test_png_is_bit_exact(picture: Picture) -> None:
    data = encode(picture.pixels, "image/png", picture, alpha=picture.alpha)
    back = decode(data, LIMITS)
    assert np.array_equal(back.pixels, picture.pixels)
    assert (back.alpha is None) == (picture.alpha is None)
    if back.alpha is not None and picture.alpha is not None:
        assert np.array_equal(back.alpha, picture.alpha)
    assert (back.grey, back.bit_depth) == (picture.grey, picture.bit_depth)
    assert (back.orientation, back.size_px) == (picture.orientation, picture.size_px)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("grey", [True, False], ids=["grey", "colour"])
def test_png_of_noise_in_a_narrow_picture(width: int, *, grey: bool) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, width, 1 if grey else 3), dtype=np.uint8)
    picture = _picture(np.broadcast_to(noise, (700, width, 3)).copy(), grey=grey)

    again = decode(encode(picture.pixels, "image/png", picture), LIMITS)

    assert np.array_equal(again.pixels, picture.pixels)


@given(pictures())
def test_lossless_webp_is_exact_for_8_bits(picture: Picture) -> None:
    data = encode(picture.pixels, "image/webp", picture, alpha=picture.alpha, lossless=True)
    back = decode(data, LIMITS)
    expected = picture.pixels if picture.bit_depth == 8 else np.rint(picture.pixels / 257)
    assert np.array_equal(back.pixels, expected)
    assert back.orientation == 1


def test_decoded_pixels_are_unchanged_as_png(files: dict[str, bytes], limits: PixelLimits) -> None:
    for name, data in files.items():
        picture = decode(data, limits)
        back = decode(encode(picture.pixels, "image/png", picture, alpha=picture.alpha), limits)
        assert np.array_equal(back.pixels, picture.pixels), name
        assert (back.grey, back.bit_depth) == (picture.grey, picture.bit_depth), name


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
def test_encoded_file_has_the_stored_frame(photo: Photo, save: Save, media_type: str, orientation: int) -> None:
    picture = decode(save(photo, "PNG", orientation=orientation), LIMITS)
    data = encode(picture.pixels, media_type, picture)
    header = require_header(data)
    assert (header.width, header.height) == (128, 64)
    assert header.format.media_type == media_type
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get(ExifTags.Base.Orientation, 1) == orientation
        assert np.abs(np.asarray(image).astype(int) - photo).mean() < 3


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_encoded_file_keeps_the_profile(photo: Photo, save: Save, wide_profile: bytes, media_type: str) -> None:
    large_profile = wide_profile + bytes(150_000)
    for profile in (wide_profile, large_profile):
        picture = dataclasses.replace(decode(save(photo, "PNG", orientation=6), LIMITS), icc_profile=profile)
        data = encode(picture.pixels, media_type, picture)
        with Image.open(io.BytesIO(data)) as image:
            assert image.info["icc_profile"] == profile
            assert image.getexif().get(ExifTags.Base.Orientation, 1) == (1 if media_type == "image/webp" else 6)
        assert ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space == "RGB "


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_encoded_file_has_no_other_metadata(photo: Photo, save: Save, media_type: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "a name"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    picture = decode(save(photo, "JPEG", exif=exif, comment=b"a comment", xmp=b"<x:xmpmeta/>"), LIMITS)
    data = encode(picture.pixels, media_type, picture)
    with Image.open(io.BytesIO(data)) as image:
        assert dict(image.getexif()) == {}
        assert {"comment", "xmp", "exif"}.isdisjoint(image.info)


def test_grey_photo_stays_grey(photo: Photo, grey_profile: bytes) -> None:
    pixels = np.repeat(photo[..., :1], 3, axis=-1)
    picture = dataclasses.replace(_picture(pixels, grey=True), icc_profile=grey_profile)
    for media_type in ("image/png", "image/jpeg"):
        back = decode(encode(pixels, media_type, picture), LIMITS)
        assert back.grey
        assert back.icc_profile == grey_profile


def test_webp_converts_a_grey_profile_to_srgb(photo: Photo, grey_profile: bytes) -> None:
    """The profile is linear, so that sRGB, which WebP falls back to, is lighter in the middle."""
    pixels = np.full((8, 8, 3), 128, np.uint8)
    picture = dataclasses.replace(_picture(pixels, grey=True), icc_profile=grey_profile)
    back = decode(encode(pixels, "image/webp", picture, lossless=True), LIMITS)
    assert back.icc_profile is None
    assert abs(int(back.pixels[0, 0, 0]) - 188) <= 1


def test_jpeg_quality_determines_the_size(photo: Photo) -> None:
    picture = _picture(photo)
    assert len(encode(photo, "image/jpeg", picture, quality=50)) < len(encode(photo, "image/jpeg", picture))
    assert len(encode(photo, "image/webp", picture, quality=50)) < len(encode(photo, "image/webp", picture))


def test_jpeg_has_full_chroma_resolution(photo: Photo) -> None:
    """One red row on black: chroma subsampling would halve it."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[7, :, 0] = 255
    back = decode(encode(pixels, "image/jpeg", _picture(pixels)), LIMITS)
    assert back.pixels[7, :, 0].mean() > 240
    assert back.pixels[6, :, 0].mean() < 15


def test_jpeg_and_webp_round_16_bits(photo: Photo) -> None:
    deep = photo.astype(np.uint16) * 257
    for media_type in ("image/jpeg", "image/webp"):
        back = decode(encode(deep, media_type, _picture(deep)), LIMITS)
        assert np.abs(back.pixels.astype(int) - photo).mean() < 3


def test_unknown_media_type_lists_those_offered() -> None:
    with pytest.raises(Problem) as caught:
        encode(np.zeros((4, 4, 3), np.uint8), "image/tiff", _picture(np.zeros((4, 4, 3), np.uint8)))
    assert caught.value.code is Code.NOT_ACCEPTABLE
    assert caught.value.facts["offered"] == list(MEDIA_TYPES)


@pytest.mark.parametrize(
    ("media_type", "width", "offered"),
    [("image/webp", 16_384, ["image/png", "image/jpeg"]), ("image/jpeg", 65_501, ["image/png"])],
)
def test_too_long_sides_list_other_formats(media_type: str, width: int, offered: list[str]) -> None:
    pixels = np.zeros((1, width, 3), np.uint8)
    with pytest.raises(Problem) as caught:
        encode(pixels, media_type, _picture(pixels))
    assert caught.value.code is Code.NOT_ACCEPTABLE
    assert caught.value.facts["offered"] == offered


def test_longest_allowed_sides_are_encoded() -> None:
    for media_type, width in (("image/webp", 16_383), ("image/jpeg", 65_500), ("image/png", 70_000)):
        pixels = np.zeros((1, width, 3), np.uint8)
        assert require_header(encode(pixels, media_type, _picture(pixels))).width == width
