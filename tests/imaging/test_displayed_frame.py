"""The displayed frame is the one that a browser shows, whatever the format and the orientation."""

import io
from collections.abc import Mapping

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image

from sightline.imaging.decoder.in_process import decode
from sightline.imaging.encoder import encode
from sightline.imaging.limits import PixelLimits
from sightline.imaging.masks import decode_mask
from sightline.imaging.picture import ORIENTATION_IGNORED
from tests.chromium import needs_chromium, shown_by_chromium

LIMITS = PixelLimits(max_bytes=1 << 24, max_pixels=1 << 24)
ORIENTATIONS = range(1, 9)
INPUTS = ("jpeg", "png", "png-late", "webp", "avif", "tiff", "heic")
SHOWN_BY_CHROMIUM = ("jpeg", "png", "png-late", "webp", "avif")
HEEDED = ("jpeg", "png", "avif", "tiff", "heic")
"""Inputs whose orientation changes what is shown."""
OUTPUTS = ("png", "jpeg", "webp")

Colours = NDArray[np.uint8]


def _stored(*, square: bool = False) -> Colours:
    """Four fields of another colour each: no orientation shows the same."""
    colours = np.array([[[230, 20, 20], [20, 200, 20]], [[20, 20, 230], [220, 220, 20]]], np.uint8)
    return colours.repeat(32, axis=0).repeat(32 if square else 48, axis=1)


def _file(kind: str, orientation: int, *, square: bool = False) -> bytes:
    image = Image.fromarray(_stored(square=square))
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    if kind == "heic":
        pillow_heif.from_pillow(image).save(file, quality=90, exif=exif.tobytes())
    else:
        image.save(file, kind.partition("-")[0].upper(), exif=exif)
    return _with_exif_last(file.getvalue()) if kind == "png-late" else file.getvalue()


def _with_exif_last(data: bytes) -> bytes:
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    return data[:start] + data[end:-12] + data[start:end] + data[-12:]


def _fields(pixels: NDArray[np.uint8]) -> list[int]:
    """Which of the four colours is in each corner, row by row, and the sides."""
    height, width = pixels.shape[:2]
    corners = pixels[[8, 8, -8, -8], [8, -8, 8, -8], :3].astype(int)
    distances = np.abs(corners[:, None] - _stored()[[0, 0, -1, -1], [0, -1, 0, -1]]).sum(axis=-1)
    return [*distances.argmin(axis=1).tolist(), height, width]


def _turned(orientation: int) -> list[int]:
    order = {1: "0123", 2: "1032", 3: "3210", 4: "2301", 5: "0213", 6: "2031", 7: "3120", 8: "1302"}[orientation]
    return [*map(int, order), *((96, 64) if orientation > 4 else (64, 96))]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, NDArray[np.uint8]]:
    """Every input, and every output of a JPEG photo, in all orientations, on one page."""
    files = {}
    for orientation in ORIENTATIONS:
        for kind in INPUTS:
            media_type = f"image/{kind.partition('-')[0]}"
            files[f"{kind}-in-{orientation}"] = media_type, _file(kind, orientation)
            files[f"{kind}-square-{orientation}"] = media_type, _file(kind, orientation, square=True)
        picture = decode(_file("jpeg", orientation), LIMITS)
        for kind in OUTPUTS:
            files[f"{kind}-out-{orientation}"] = f"image/{kind}", encode(picture.pixels, f"image/{kind}", picture)
    return shown_by_chromium(files, tmp_path_factory.mktemp("chromium"))


@needs_chromium
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", OUTPUTS)
def test_encoded_pictures_are_upright_in_a_browser(
    shown: Mapping[str, NDArray[np.uint8]], kind: str, orientation: int
) -> None:
    assert _fields(shown[f"{kind}-out-{orientation}"]) == _turned(orientation)


@needs_chromium
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", SHOWN_BY_CHROMIUM)
def test_displayed_frame_equals_that_of_a_browser(
    shown: Mapping[str, NDArray[np.uint8]], kind: str, orientation: int
) -> None:
    picture = decode(_file(kind, orientation), LIMITS)
    assert _fields(shown[f"{kind}-in-{orientation}"]) == _fields(picture.pixels.astype(np.uint8))


@needs_chromium
@pytest.mark.parametrize("sides", ["in", "square"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", SHOWN_BY_CHROMIUM)
def test_mask_drawn_in_a_browser_covers_the_same_pixels(
    shown: Mapping[str, NDArray[np.uint8]], kind: str, orientation: int, sides: str
) -> None:
    """The mask covers the red field as displayed; the holes are where the photo is red."""
    seen = shown[f"{kind}-{sides}-{orientation}"]
    painted = io.BytesIO()
    Image.fromarray((_red(seen) * 255).astype(np.uint8)).save(painted, "PNG")
    picture = decode(_file(kind, orientation, square=sides == "square"), LIMITS)
    holes = decode_mask(painted.getvalue(), picture, LIMITS)
    assert np.array_equal(holes == 1, _red(picture.pixels))


@needs_chromium
def test_chromium_displays_neither_tiff_nor_heic(shown: Mapping[str, NDArray[np.uint8]]) -> None:
    """Once it does, they belong to the formats that are compared with it."""
    assert not [name for name in shown if name.startswith(("tiff", "heic"))]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", INPUTS)
def test_ignored_orientations_are_noted(kind: str, orientation: int) -> None:
    picture = decode(_file(kind, orientation), LIMITS)
    heeded = kind in HEEDED
    assert _fields(picture.pixels.astype(np.uint8)) == _turned(orientation if heeded else 1)
    assert (ORIENTATION_IGNORED in picture.notes) == (not heeded and orientation != 1)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", HEEDED)
def test_webp_stores_the_displayed_frame(kind: str, orientation: int) -> None:
    picture = decode(_file(kind, orientation), LIMITS)
    with Image.open(io.BytesIO(encode(picture.pixels, "image/webp", picture))) as image:
        assert _fields(np.asarray(image)) == _turned(orientation)
        assert not image.getexif()


def _red(pixels: NDArray[np.unsignedinteger]) -> NDArray[np.bool_]:
    return np.asarray((pixels[..., 0] > 128) & (pixels[..., 1] < 128) & (pixels[..., 2] < 128))
