import contextlib
import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from sightline.api.problems import Code, Problem
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.formats import ImageFormat
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


def test_decodes_every_format(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    for name, data in files.items():
        picture = decode(data, limits)
        assert picture.pixels.shape == (64, 128, 3), name
        assert picture.format == name.partition("-")[0]
        assert picture.sha256 == hashlib.sha256(data).hexdigest()
        if not any(kind in name for kind in ("grey", "bilevel", "fax", "cmyk")):
            assert _difference(picture, photo) <= LOSSY.get(name, 0), name


def test_keeps_sixteen_bits(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    for name in ("png-16", "tiff-bigtiff"):
        picture = decode(files[name], limits)
        assert picture.bit_depth == 16
        assert picture.pixels.dtype == np.uint16
        assert np.array_equal(picture.pixels, photo.astype(np.uint16) * 257)


def test_tells_grey_and_alpha(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
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


def test_says_that_only_the_first_frame_counts(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    for name, data in files.items():
        notes = decode(data, limits).notes
        assert ("first-frame-only" in notes) == name.endswith("-animated"), name


@pytest.mark.parametrize(("kind", "notes"), [(0, ("first-frame-only",)), (1, ()), (4, ())])
def test_tells_later_tiff_pages_from_thumbnails_and_masks(
    photo: Photo, limits: PixelLimits, kind: int, notes: tuple[str, ...]
) -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(photo, photometric="rgb")
        second = photo if kind < 4 else photo[..., 0] > 99
        writer.write(second, photometric="rgb" if kind < 4 else "minisblack", subfiletype=kind)
    assert decode(file.getvalue(), limits).notes == notes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_applies_exif_orientation(photo: Photo, save: Save, limits: PixelLimits, format: str, orientation: int) -> None:
    picture = decode(save(photo, format, orientation=orientation), limits)
    stored = decode(save(photo, format), limits)
    shown = {5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0), 1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0)}
    assert picture.orientation == orientation
    assert picture.size_px == ((64, 128) if orientation > 4 else (128, 64))
    # The stored picture's first pixel is shown in the corner that the orientation names.
    assert np.array_equal(picture.pixels[shown[orientation]], stored.pixels[0, 0])


def test_heif_turns_the_picture_itself(photo: Photo, save: Save, limits: PixelLimits) -> None:
    picture = decode(save(photo, "AVIF", orientation=6, quality=95), limits)
    assert picture.orientation == 1
    assert _difference(picture, np.rot90(photo, -1)) < 4


def test_heic_ignores_the_exif_orientation_that_libheif_applied(photo: Photo, limits: PixelLimits) -> None:
    exif = Image.Exif()
    exif[274] = 6
    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(photo)).save(file, quality=95, exif=exif.tobytes())
    picture = decode(file.getvalue(), limits)
    assert picture.orientation == 1
    assert _difference(picture, np.rot90(photo, -1)) < 4


@pytest.mark.parametrize("broken", [b"Exif", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"MM\0*\0\0\0\0"])
def test_broken_exif_harms_nothing(photo: Photo, save: Save, limits: PixelLimits, broken: bytes) -> None:
    assert decode(save(photo, "PNG", exif=broken), limits).orientation == 1


def test_keeps_the_profile(photo: Photo, save: Save, wide_profile: bytes, limits: PixelLimits) -> None:
    for format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        assert decode(save(photo, format, icc_profile=wide_profile), limits).icc_profile == wide_profile


@pytest.mark.parametrize("profile", [b"rubbish" * 40, bytes(128)])
def test_ignores_a_broken_profile(photo: Photo, save: Save, limits: PixelLimits, profile: bytes) -> None:
    picture = decode(save(photo, "JPEG", icc_profile=profile), limits)
    assert picture.icc_profile is None
    assert picture.notes == ("icc-ignored",)


def test_ignores_a_profile_of_another_colour_model(
    photo: Photo, save: Save, grey_profile: bytes, limits: PixelLimits
) -> None:
    assert decode(save(photo, "PNG", icc_profile=grey_profile), limits).notes == ("icc-ignored",)
    assert decode(save(photo[..., 0], "PNG", icc_profile=grey_profile), limits).icc_profile == grey_profile


def test_converts_cmyk_without_a_profile(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    picture = decode(files["jpeg-cmyk"], limits)
    assert picture.notes == ("cmyk-converted",)
    assert _difference(picture, photo) < 8


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_converts_cmyk_by_its_profile(save: Save, cmyk_profile: bytes, limits: PixelLimits, format: str) -> None:
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, 16:32, 0] = 255
    inks[:, 32:, 3] = 255
    picture = decode(save(inks, format, mode="CMYK", icc_profile=cmyk_profile), limits)
    paper, cyan, black = (picture.pixels[8, x].astype(int) for x in (8, 24, 40))
    assert picture.icc_profile is None
    assert paper.min() > 240
    assert black.max() < 20
    assert cyan[1] > cyan[2] > cyan[0]  # that press's cyan is a green; the ideal one has green = blue


def test_scales_a_jpeg_down_no_further_than_asked(save: Save, limits: PixelLimits) -> None:
    large = np.zeros((400, 600, 3), np.uint8)
    for orientation, size_px in ((1, (600, 400)), (6, (400, 600))):
        picture = decode(save(large, "JPEG", orientation=orientation), limits, min_short_side_px=90)
        assert 90 <= min(picture.width, picture.height) < 200
        assert picture.size_px == size_px
    assert decode(save(large, "JPEG"), limits, min_short_side_px=500).width == 600
    assert decode(save(large, "PNG"), limits, min_short_side_px=90).width == 600


def test_refuses_bombs_from_the_header(limits: PixelLimits) -> None:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IDAT"
    with pytest.raises(Problem) as caught:
        decode(bomb, limits)
    assert caught.value.code is Code.TOO_MANY_PIXELS
    assert caught.value.facts == {"pixels": 10**10, "max_pixels": limits.max_pixels}


def test_refuses_too_many_bytes_before_looking(limits: PixelLimits) -> None:
    with pytest.raises(Problem) as caught:
        decode(bytes(limits.max_bytes + 1), limits)
    assert caught.value.code is Code.TOO_MANY_BYTES


def test_refuses_truncated_files(files: dict[str, bytes], limits: PixelLimits) -> None:
    for name, data in files.items():
        share = 0.3 if "-animated" in name else 0.97  # of an animation the first frame may be whole
        for size_bytes in np.linspace(0, share * len(data), 25).astype(int):
            assert _refusal(data[:size_bytes], limits) is Code.UNREADABLE_IMAGE, (name, size_bytes)


def test_refuses_a_jpeg_whose_missing_half_ends_properly(files: dict[str, bytes], limits: PixelLimits) -> None:
    for name in ("jpeg", "jpeg-progressive", "jpeg-grey"):
        with pytest.raises(Problem):
            decode(files[name][: len(files[name]) // 2] + b"\xff\xd9", limits)


def test_tolerates_stray_bytes_in_a_jpeg(files: dict[str, bytes], photo: Photo, limits: PixelLimits) -> None:
    untidy = files["jpeg"][:-2] + bytes(9) + b"\xff\xd9" + b"appended by a phone"
    assert _difference(decode(untidy, limits), photo) < 4


def test_refuses_a_jpeg_of_endless_scans(files: dict[str, bytes], limits: PixelLimits) -> None:
    data = files["jpeg-progressive"]
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(Problem, match="too many scans"):
        decode(data[:-2] + scan * 500 + b"\xff\xd9", limits)


def test_refuses_a_file_that_is_larger_than_its_header_says(photo: Photo, limits: PixelLimits) -> None:
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
    """One to three bytes changed, half of the time near the start, and now and then cut."""
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


def test_threads_do_not_disturb_each_other(files: dict[str, bytes], limits: PixelLimits) -> None:
    alone = {name: decode(data, limits) for name, data in files.items()}
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda name: (name, decode(files[name], limits)), list(files) * 4)
        for name, picture in together:
            assert np.array_equal(picture.pixels, alone[name].pixels), name


def _tiff(**options: Any) -> bytes:
    """A TIFF file of one strip from tag values; `strip` and `bits` give the data and its depth."""
    strip: bytes = options.pop("strip")
    tags = {256: 100, 257: 100, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 100, 279: len(strip)}
    tags |= {int(tag.removeprefix("tag_")): value for tag, value in options.items()}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return struct.pack("<4sI", b"II*\0", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


BOMB = bytes(50_000_000)


@pytest.mark.parametrize(
    "data",
    [
        _tiff(strip=zlib.compress(BOMB, 9), tag_259=8),
        _tiff(strip=imagecodecs.zstd_encode(BOMB), tag_259=50000),
        _tiff(strip=zlib.compress(BOMB, 9), tag_259=8, tag_322=16_400, tag_323=16_400, tag_324=8, tag_325=40_000),
        _tiff(strip=bytes(10_000), tag_277=60_000),
        _tiff(strip=bytes(10_000), tag_273=9_999_999),
        _tiff(strip=bytes(10_000), tag_279=9_999),
        _tiff(strip=bytes(10_000), tag_278=50),
        _tiff(strip=bytes(40_000), tag_258=32),
        _tiff(strip=bytes(40_000), tag_262=8, tag_277=3),
        _tiff(strip=bytes(10_000), tag_259=34_712),
        _tiff(strip=bytes(10_000), tag_339=3),
    ],
    ids=["deflate", "zstd", "tiles", "channels", "beyond", "short", "missing", "depth", "lab", "jpeg2000", "float"],
)
def test_refuses_hostile_and_exotic_tiffs(data: bytes, limits: PixelLimits) -> None:
    with pytest.raises(Problem) as caught:
        decode(data, limits)
    assert caught.value.code in (Code.UNREADABLE_IMAGE, Code.UNSUPPORTED_FORMAT)


def test_refuses_a_large_jpeg_in_a_small_tiff(save: Save, limits: PixelLimits) -> None:
    inner = save(np.zeros((2000, 2000), np.uint8), "JPEG")
    with pytest.raises(Problem, match="larger than the picture"):
        decode(_tiff(strip=inner, tag_259=7), limits)


def test_tiff_samples_span_the_full_range(limits: PixelLimits) -> None:
    white_is_zero = decode(_tiff(strip=bytes(10_000), tag_262=0), limits)
    assert white_is_zero.pixels.min() == 255
    nibbles = decode(_tiff(strip=b"\xf0" * 5000, tag_258=4), limits)
    assert sorted(set(nibbles.pixels.ravel().tolist())) == [0, 255]


def test_tiff_alpha(photo: Photo, save_tiff: Save, limits: PixelLimits) -> None:
    alpha = np.full((64, 128), 128, np.uint8)
    straight = save_tiff(np.dstack([photo, alpha]), photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(decode(straight, limits).pixels, photo)
    premultiplied = np.rint(photo * (128 / 255)).astype(np.uint8)
    associated = decode(
        save_tiff(np.dstack([premultiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"]), limits
    )
    assert associated.alpha is not None
    assert np.array_equal(associated.alpha, alpha)
    assert np.abs(associated.pixels.astype(int) - photo).max() <= 1


def test_reads_a_heic_as_heic(files: dict[str, bytes], limits: PixelLimits) -> None:
    assert decode(files["heic"], limits).format is ImageFormat.HEIC


def test_refuses_an_avif_whose_frame_is_larger_than_announced(save: Save, limits: PixelLimits) -> None:
    """The decoder would unpack it whole and scale it down."""
    data = save(np.zeros((1500, 2000, 3), np.uint8), "AVIF", speed=10)
    told, lie = (struct.pack(">4sIII", b"ispe", 0, *size_px) for size_px in ((2000, 1500), (640, 480)))
    assert told in data
    with pytest.raises(Problem, match="header"):
        decode(data.replace(told, lie), limits)
