import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from sightline.api.problems import Code, Problem
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.header import require_header
from sightline.imaging.limits import PixelLimits

Photo = NDArray[np.uint8]
Save = Callable[..., bytes]

LIMITS = PixelLimits(max_bytes=1 << 22, max_pixels=1 << 20)
THUMBNAIL = np.full((12, 20, 3), 90, np.uint8)
MASK = np.ones((60, 100), bool)
OLD_REDUCED = [(255, "H", 1, 2, True)]
SIDEWAYS = [(274, "H", 1, 6, True)]


@pytest.fixture(scope="module")
def full() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (60, 100, 3), np.uint8)


def _file(*pages: tuple[NDArray[Any], dict[str, Any]], **options: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **options) as writer:
        for pixels, page in pages:
            photometric = "rgb" if pixels.ndim == 3 else "minisblack"
            writer.write(pixels, metadata=None, **({"photometric": photometric} | page))
    return file.getvalue()


LAYOUTS: dict[str, dict[str, Any]] = {
    "classic": {},
    "big-endian": {"byteorder": ">"},
    "bigtiff": {"bigtiff": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "first",
    [
        [(THUMBNAIL, {"subfiletype": 1})],
        [(THUMBNAIL, {"extratags": OLD_REDUCED})],
        [(MASK, {"subfiletype": 4})],
        [(MASK, {"subfiletype": 5}), (THUMBNAIL, {"subfiletype": 1})],
    ],
    ids=["reduced", "reduced by the old tag", "mask", "reduced mask and thumbnail"],
)
def test_picture_behind_thumbnails_and_masks_is_decoded(full: NDArray[np.uint8], first: list[Any], layout: str) -> None:
    data = _file(*first, (full, {}), **LAYOUTS[layout])
    picture, header = decode(data, LIMITS), require_header(data)
    assert np.array_equal(picture.pixels, full)
    assert (header.width, header.height) == picture.size_px == (100, 60)
    assert picture.notes == ()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", [None, "deflate", "jpeg"])
def test_picture_in_a_sub_directory_is_decoded(full: NDArray[np.uint8], compression: str | None, layout: str) -> None:
    sub = {"compression": compression}
    data = _file((THUMBNAIL, {"subfiletype": 1, "subifds": 1}), (full, sub), **LAYOUTS[layout])
    picture = decode(data, LIMITS)
    assert picture.size_px == (100, 60)
    assert compression == "jpeg" or np.array_equal(picture.pixels, full)


def test_picture_before_its_thumbnails_is_decoded(full: NDArray[np.uint8]) -> None:
    data = _file((full, {"subifds": 1}), (THUMBNAIL, {"subfiletype": 1}), (THUMBNAIL, {"subfiletype": 1}))
    picture = decode(data, LIMITS)
    assert np.array_equal(picture.pixels, full)
    assert picture.notes == ()


def test_further_pictures_are_noted(full: NDArray[np.uint8]) -> None:
    data = _file((THUMBNAIL, {"subfiletype": 1}), (full, {}), (THUMBNAIL, {"subfiletype": 1}), (full[::-1], {}))
    picture = decode(data, LIMITS)
    assert np.array_equal(picture.pixels, full)
    assert picture.notes == ("first-frame-only",)


def test_largest_of_reduced_pictures_is_decoded(full: NDArray[np.uint8]) -> None:
    data = _file((THUMBNAIL, {"subfiletype": 1}), (full, {"subfiletype": 1}), (THUMBNAIL, {"subfiletype": 1}))
    assert np.array_equal(decode(data, LIMITS).pixels, full)


@pytest.mark.parametrize(("thumbnail", "picture"), [(None, SIDEWAYS), (SIDEWAYS, None), (SIDEWAYS, SIDEWAYS)])
def test_orientation_of_the_picture_or_else_of_the_file(full: NDArray[np.uint8], thumbnail: Any, picture: Any) -> None:
    pages = (THUMBNAIL, {"subfiletype": 1, "extratags": thumbnail or []}), (full, {"extratags": picture or []})
    assert np.array_equal(decode(_file(*pages), LIMITS).pixels, np.rot90(full, -1))


def test_raw_data_behind_a_preview_is_refused() -> None:
    sensor = np.zeros((60, 100), np.uint16)
    data = _file((THUMBNAIL, {"subfiletype": 1, "subifds": 1}), (sensor, {"photometric": 32803}))
    with pytest.raises(Problem, match="raw") as caught:
        decode(data, LIMITS)
    assert caught.value.code is Code.UNSUPPORTED_FORMAT


def test_missing_picture_is_not_replaced_by_its_thumbnail(full: NDArray[np.uint8]) -> None:
    data = _file((THUMBNAIL, {"subfiletype": 1}), (full, {}))
    for size_bytes in range(100, len(data), 97):
        with pytest.raises(Problem):
            decode(data[:size_bytes], LIMITS)


def test_circular_directories_end() -> None:
    data = bytearray(_file((THUMBNAIL, {"subfiletype": 1})))
    start = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[start : start + 2], "little")
    at = start + 2 + 12 * entries
    data[at : at + 4] = data[4:8]
    assert decode(bytes(data), LIMITS).size_px == (20, 12)


@pytest.mark.parametrize(("kind", "notes"), [(0, ("first-frame-only",)), (1, ()), (4, ())])
def test_later_pages_are_noted_but_not_thumbnails_and_masks(
    photo: Photo, limits: PixelLimits, kind: int, notes: tuple[str, ...]
) -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(photo, photometric="rgb")
        second = photo if kind < 4 else photo[..., 0] > 99
        writer.write(second, photometric="rgb" if kind < 4 else "minisblack", subfiletype=kind)
    assert decode(file.getvalue(), limits).notes == notes


def _tiff(**options: Any) -> bytes:
    """Returns a TIFF file of one strip of data, with values of tags by number."""
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
def test_hostile_and_exotic_tiffs_are_refused(data: bytes, limits: PixelLimits) -> None:
    with pytest.raises(Problem) as caught:
        decode(data, limits)
    assert caught.value.code in (Code.UNREADABLE_IMAGE, Code.UNSUPPORTED_FORMAT)


def test_large_jpeg_in_a_small_tiff_is_refused(save: Save, limits: PixelLimits) -> None:
    inner = save(np.zeros((2000, 2000), np.uint8), "JPEG")
    with pytest.raises(Problem, match="larger than the picture"):
        decode(_tiff(strip=inner, tag_259=7), limits)


def test_tiff_samples_span_the_full_range(limits: PixelLimits) -> None:
    white_is_zero = decode(_tiff(strip=bytes(10_000), tag_262=0), limits)
    assert white_is_zero.pixels.min() == 255
    nibbles = decode(_tiff(strip=b"\xf0" * 5000, tag_258=4), limits)
    assert sorted(set(nibbles.pixels.ravel().tolist())) == [0, 255]


def test_tiff_alpha_is_unpremultiplied(photo: Photo, save_tiff: Save, limits: PixelLimits) -> None:
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
