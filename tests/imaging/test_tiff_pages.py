"""Of a TIFF file with several pages the first picture of full resolution counts, wherever it is."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from sightline.api.problems import Code, Problem
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.header import require_header
from sightline.imaging.limits import PixelLimits

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
def test_thumbnails_and_masks_before_the_picture(full: NDArray[np.uint8], first: list[Any], layout: str) -> None:
    data = _file(*first, (full, {}), **LAYOUTS[layout])
    picture, header = decode(data, LIMITS), require_header(data)
    assert np.array_equal(picture.pixels, full)
    assert (header.width, header.height) == picture.size_px == (100, 60)
    assert picture.notes == ()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", [None, "deflate", "jpeg"])
def test_the_picture_in_a_sub_directory(full: NDArray[np.uint8], compression: str | None, layout: str) -> None:
    sub = {"compression": compression}
    data = _file((THUMBNAIL, {"subfiletype": 1, "subifds": 1}), (full, sub), **LAYOUTS[layout])
    picture = decode(data, LIMITS)
    assert picture.size_px == (100, 60)
    assert compression == "jpeg" or np.array_equal(picture.pixels, full)


def test_a_picture_before_its_thumbnails_is_read_as_ever(full: NDArray[np.uint8]) -> None:
    data = _file((full, {"subifds": 1}), (THUMBNAIL, {"subfiletype": 1}), (THUMBNAIL, {"subfiletype": 1}))
    picture = decode(data, LIMITS)
    assert np.array_equal(picture.pixels, full)
    assert picture.notes == ()


def test_says_that_there_are_more_pictures(full: NDArray[np.uint8]) -> None:
    data = _file((THUMBNAIL, {"subfiletype": 1}), (full, {}), (THUMBNAIL, {"subfiletype": 1}), (full[::-1], {}))
    picture = decode(data, LIMITS)
    assert np.array_equal(picture.pixels, full)
    assert picture.notes == ("first-frame-only",)


def test_of_reduced_pictures_alone_the_largest_counts(full: NDArray[np.uint8]) -> None:
    data = _file((THUMBNAIL, {"subfiletype": 1}), (full, {"subfiletype": 1}), (THUMBNAIL, {"subfiletype": 1}))
    assert np.array_equal(decode(data, LIMITS).pixels, full)


@pytest.mark.parametrize(("thumbnail", "picture"), [(None, SIDEWAYS), (SIDEWAYS, None), (SIDEWAYS, SIDEWAYS)])
def test_the_orientation_is_the_pictures_or_the_files(full: NDArray[np.uint8], thumbnail: Any, picture: Any) -> None:
    pages = (THUMBNAIL, {"subfiletype": 1, "extratags": thumbnail or []}), (full, {"extratags": picture or []})
    assert np.array_equal(decode(_file(*pages), LIMITS).pixels, np.rot90(full, -1))


def test_raw_data_behind_a_preview_is_named() -> None:
    sensor = np.zeros((60, 100), np.uint16)
    data = _file((THUMBNAIL, {"subfiletype": 1, "subifds": 1}), (sensor, {"photometric": 32803}))
    with pytest.raises(Problem, match="raw") as caught:
        decode(data, LIMITS)
    assert caught.value.code is Code.UNSUPPORTED_FORMAT


def test_a_missing_picture_is_not_replaced_by_its_thumbnail(full: NDArray[np.uint8]) -> None:
    data = _file((THUMBNAIL, {"subfiletype": 1}), (full, {}))
    for size_bytes in range(100, len(data), 97):
        with pytest.raises(Problem):
            decode(data[:size_bytes], LIMITS)


def test_directories_that_go_in_circles_end() -> None:
    data = bytearray(_file((THUMBNAIL, {"subfiletype": 1})))
    start = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[start : start + 2], "little")
    at = start + 2 + 12 * entries
    data[at : at + 4] = data[4:8]
    assert decode(bytes(data), LIMITS).size_px == (20, 12)
