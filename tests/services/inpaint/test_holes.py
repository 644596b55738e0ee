import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from services.inpaint.holes import HoleRegion, Holes, MaskSource, connected_regions, find_holes
from sightline.api.problems import Code, Problem
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.limits import PixelLimits
from sightline.imaging.picture import Picture
from sightline.imaging.regions import Regions

LIMITS = PixelLimits(max_bytes=10**6, max_pixels=10**6, max_side_px=10**4)

Png = Callable[..., bytes]


@pytest.fixture
def photo(png: Png) -> Picture:
    return decode(png(np.full((20, 30, 3), 90, np.uint8)), LIMITS)


@pytest.fixture
def see_through(png: Png) -> Picture:
    pixels = np.full((20, 30, 4), 255, np.uint8)
    pixels[5:10, 5:10, 3] = 0
    return decode(png(pixels), LIMITS)


def square(height: int, width: int) -> NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8)
    mask[5:10, 5:10] = 255
    return mask


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_mask_of_any_mode_gives_the_same_holes(photo: Picture, mode: str) -> None:
    mask = Image.fromarray(square(20, 30))
    if mode == "I;16":
        mask = Image.fromarray(square(20, 30).astype(np.uint16) * 257)
    file = io.BytesIO()
    (mask if mode == "I;16" else mask.convert(mode)).save(file, "PNG")
    holes = find_holes(photo, file.getvalue(), None, LIMITS)
    assert holes.source is MaskSource.MASK
    assert np.array_equal(holes.mask, square(20, 30) // 255)
    assert (holes.pixels, holes.share) == (25, 25 / 600)


def test_mask_of_another_size_is_stretched(photo: Picture, png: Png) -> None:
    mask = np.zeros((10, 15), np.uint8)
    mask[:5] = 255
    holes = find_holes(photo, png(mask), None, LIMITS)
    assert holes.mask[:10].all()
    assert not holes.mask[10:].any()


def test_regions_give_holes(photo: Picture) -> None:
    regions = Regions.model_validate({"boxes": [[1, 2, 4, 6]], "polygons": [[[20, 10], [29, 10], [29, 19]]]})
    holes = find_holes(photo, None, regions, LIMITS)
    assert holes.source is MaskSource.REGIONS
    assert holes.mask[2:6, 1:4].all()
    assert holes.mask[12, 27] == 1
    assert holes.mask[18, 21] == 0


def test_transparent_pixels_are_holes(see_through: Picture) -> None:
    holes = find_holes(see_through, None, None, LIMITS)
    assert holes.source is MaskSource.ALPHA
    assert np.array_equal(holes.mask, square(20, 30) // 255)


def test_mask_takes_precedence_over_alpha(see_through: Picture, png: Png) -> None:
    holes = find_holes(see_through, png(square(20, 30)[::-1].copy()), None, LIMITS)
    assert holes.source is MaskSource.MASK
    assert holes.mask[12, 6] == 1


def assert_bad(sources: Callable[[], Any]) -> None:
    with pytest.raises(Problem) as caught:
        sources()
    assert caught.value.code is Code.BAD_MASK


def test_missing_hole_source_is_refused(photo: Picture) -> None:
    assert_bad(lambda: find_holes(photo, None, None, LIMITS))


def test_mask_with_regions_is_refused(photo: Picture, png: Png) -> None:
    assert_bad(lambda: find_holes(photo, png(square(20, 30)), Regions(), LIMITS))


def test_mask_over_the_whole_photo_is_refused(photo: Picture, png: Png) -> None:
    assert_bad(lambda: find_holes(photo, png(np.full((20, 30), 255, np.uint8)), None, LIMITS))


def test_unreadable_mask_is_refused(photo: Picture, png: Png) -> None:
    assert_bad(lambda: find_holes(photo, png(square(20, 30))[:60], None, LIMITS))


def test_empty_mask_is_accepted(photo: Picture, png: Png) -> None:
    assert find_holes(photo, png(np.zeros((20, 30), np.uint8)), None, LIMITS).pixels == 0


def test_connected_regions_come_largest_first() -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[1:3, 1:3] = 1
    mask[3, 3] = 1
    mask[8:12, 6:12] = 1
    assert connected_regions(mask) == [HoleRegion((6, 8, 12, 12), 24), HoleRegion((1, 1, 4, 4), 5)]
    assert connected_regions(Holes(np.zeros((3, 3), np.uint8), MaskSource.MASK).mask) == []
