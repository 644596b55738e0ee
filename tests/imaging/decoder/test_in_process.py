import contextlib
import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sightline.api.problems import Code, Problem
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.limits import PixelLimits
from sightline.imaging.picture import Picture

Photo = NDArray[np.uint8]
Save = Callable[..., bytes]

# How far a lossy, palettized or bilevel file is from the photo on average; the others are exact.
LOSSY = {"jpeg": 4, "jpeg-progressive": 4, "webp": 4, "webp-animated": 4, "tiff-jpeg": 4, "avif": 5, "heic": 5}
LOSSY |= {"png-palette": 12, "gif": 12, "gif-animated": 12}


def _difference(picture: Picture, photo: Photo) -> float:
    scale = 257 if picture.bit_depth == 16 else 1
    return float(np.abs(picture.pixels / scale - photo).mean())


def test_every_format_is_decoded(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    for name, data in files.items():
        picture = decode(data, limits)
        assert picture.pixels.shape == (64, 128, 3), name
        assert picture.format == name.partition("-")[0]
        assert picture.sha256 == hashlib.sha256(data).hexdigest()
        if not any(kind in name for kind in ("grey", "bilevel", "fax", "cmyk")):
            assert _difference(picture, photo) <= LOSSY.get(name, 0), name


def test_16_bits_are_kept(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    for name in ("png-16", "tiff-bigtiff"):
        picture = decode(files[name], limits)
        assert picture.bit_depth == 16
        assert picture.pixels.dtype == np.uint16
        assert np.array_equal(picture.pixels, photo.astype(np.uint16) * 257)


def test_grey_and_alpha_are_recognised(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    grey_alpha = decode(files["png-grey-alpha"], limits)
    assert grey_alpha.grey
    assert grey_alpha.alpha is not None
    assert np.array_equal(grey_alpha.alpha, photo[..., 1])
    assert np.array_equal(grey_alpha.pixels, np.repeat(photo[..., :1], 3, axis=-1))
    assert decode(files["jpeg-grey"], limits).grey
    assert not decode(files["png-palette"], limits).grey
    lossless = decode(files["webp-lossless"], limits)
    assert lossless.alpha is not None
    assert np.array_equal(lossless.alpha, photo[..., 0])


def test_animations_are_noted(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    for name, data in files.items():
        notes = decode(data, limits).notes
        assert ("first-frame-only" in notes) == name.endswith("-animated"), name


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_applies(photo: Photo, save: Save, limits: PixelLimits, format: str, orientation: int) -> None:
    picture = decode(save(photo, format, orientation=orientation), limits)
    stored = decode(save(photo, format), limits)
    shown = {5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0), 1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0)}
    assert picture.orientation == orientation
    assert picture.size_px == ((64, 128) if orientation > 4 else (128, 64))
    # The stored picture's first pixel is shown in the corner that the orientation names.
    assert np.array_equal(picture.pixels[shown[orientation]], stored.pixels[0, 0])


@pytest.mark.parametrize("broken", [b"Exif", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"MM\0*\0\0\0\0"])
def test_invalid_exif_is_ignored(photo: Photo, save: Save, limits: PixelLimits, broken: bytes) -> None:
    assert decode(save(photo, "PNG", exif=broken), limits).orientation == 1


def test_profile_is_kept(photo: Photo, save: Save, wide_profile: bytes, limits: PixelLimits) -> None:
    for format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        assert decode(save(photo, format, icc_profile=wide_profile), limits).icc_profile == wide_profile


@pytest.mark.parametrize("profile", [b"rubbish" * 40, bytes(128)])
def test_invalid_profile_is_ignored(photo: Photo, save: Save, limits: PixelLimits, profile: bytes) -> None:
    picture = decode(save(photo, "JPEG", icc_profile=profile), limits)
    assert picture.icc_profile is None
    assert picture.notes == ("icc-ignored",)


def test_profile_of_another_colour_model_is_ignored(
    photo: Photo, save: Save, grey_profile: bytes, limits: PixelLimits
) -> None:
    assert decode(save(photo, "PNG", icc_profile=grey_profile), limits).notes == ("icc-ignored",)
    assert decode(save(photo[..., 0], "PNG", icc_profile=grey_profile), limits).icc_profile == grey_profile


def test_cmyk_is_converted_without_a_profile(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    picture = decode(files["jpeg-cmyk"], limits)
    assert picture.notes == ("cmyk-converted",)
    assert _difference(picture, photo) < 8


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(save: Save, cmyk_profile: bytes, limits: PixelLimits, format: str) -> None:
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, 16:32, 0] = 255
    inks[:, 32:, 3] = 255
    picture = decode(save(inks, format, mode="CMYK", icc_profile=cmyk_profile), limits)
    paper, cyan, black = (picture.pixels[8, x].astype(int) for x in (8, 24, 40))
    assert picture.icc_profile is None
    assert paper.min() > 240
    assert black.max() < 20
    assert cyan[1] > cyan[2] > cyan[0]  # that press's cyan is a green; the ideal one has green = blue


def test_jpeg_is_scaled_down_to_the_minimum_side(save: Save, limits: PixelLimits) -> None:
    large = np.zeros((400, 600, 3), np.uint8)
    for orientation, size_px in ((1, (600, 400)), (6, (400, 600))):
        picture = decode(save(large, "JPEG", orientation=orientation), limits, min_short_side_px=90)
        assert 90 <= min(picture.width, picture.height) < 200
        assert picture.size_px == size_px
    assert decode(save(large, "JPEG"), limits, min_short_side_px=500).width == 600
    assert decode(save(large, "PNG"), limits, min_short_side_px=90).width == 600


def test_too_large_pictures_are_refused_by_the_header(limits: PixelLimits) -> None:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT"
    with pytest.raises(Problem) as caught:
        decode(bomb, limits)
    assert caught.value.code is Code.TOO_MANY_PIXELS
    assert caught.value.facts == {"pixels": 10**10, "max_pixels": limits.max_pixels}


def test_too_many_bytes_are_refused_before_parsing(limits: PixelLimits) -> None:
    with pytest.raises(Problem) as caught:
        decode(bytes(limits.max_bytes + 1), limits)
    assert caught.value.code is Code.TOO_MANY_BYTES


def test_truncated_files_are_refused(files: dict[str, bytes], limits: PixelLimits) -> None:
    for name, data in files.items():
        share = 0.3 if "-animated" in name else 0.97  # of an animation the first frame may be whole
        for size_bytes in np.linspace(0, share * len(data), 25).astype(int):
            assert _refusal(data[:size_bytes], limits) is Code.UNREADABLE_IMAGE, (name, size_bytes)


def test_half_a_jpeg_with_an_end_marker_is_refused(files: dict[str, bytes], limits: PixelLimits) -> None:
    for name in ("jpeg", "jpeg-progressive", "jpeg-grey"):
        with pytest.raises(Problem):
            decode(files[name][: len(files[name]) // 2] + b"\xff\xd9", limits)


def test_stray_bytes_in_a_jpeg_are_tolerated(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    untidy = files["jpeg"][:-2] + bytes(9) + b"\xff\xd9" + b"appended by a phone"
    assert _difference(decode(untidy, limits), photo) < 4


def test_jpeg_of_too_many_scans_is_refused(files: dict[str, bytes], limits: PixelLimits) -> None:
    data = files["jpeg-progressive"]
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(Problem, match="too many scans"):
        decode(data[:-2] + scan * 500 + b"\xff\xd9", limits)


def test_file_larger_than_its_header_is_refused(photo: Photo, limits: PixelLimits) -> None:
    frames = [Image.fromarray(photo), Image.fromarray(np.tile(photo, (2, 2, 1)))]
    file = io.BytesIO()
    frames[1].quantize(16).save(file, "GIF")
    lying = file.getvalue()[:6] + struct.pack("<HH", 128, 64) + file.getvalue()[10:]
    with pytest.raises(Problem, match="header"):
        decode(lying, limits)


def _refusal(data: bytes, limits: PixelLimits) -> Code | None:
    try:
        decode(data, limits)
    except Problem as problem:
        return problem.code
    return None


def _damaged(data: bytes, generator: np.random.Generator) -> bytes:
    """Changes one to three bytes, half of the time near the start, and sometimes truncates the file."""
    damaged = bytearray(data)
    for _ in range(generator.integers(1, 4)):
        place = generator.integers(min(len(damaged), 400) if generator.random() < 0.5 else len(damaged))
        damaged[place] = generator.integers(256)
    return bytes(damaged[: generator.integers(len(damaged))] if generator.random() < 0.2 else damaged)


def test_damaged_files_give_a_picture_or_a_problem(files: dict[str, bytes], limits: PixelLimits) -> None:
    generator = np.random.default_rng(11)
    for name, data in files.items():
        for _ in range(200):
            with contextlib.suppress(Problem):
                picture = decode(_damaged(data, generator), limits)
                assert picture.width * picture.height <= limits.max_pixels, name


def test_decoding_is_thread_safe(files: dict[str, bytes], limits: PixelLimits) -> None:
    alone = {name: decode(data, limits) for name, data in files.items()}
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda name: (name, decode(files[name], limits)), list(files) * 4)
        for name, picture in together:
            assert np.array_equal(picture.pixels, alone[name].pixels), name
