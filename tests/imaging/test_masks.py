import dataclasses
import json
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sightline.api.problems import Code, Problem
from sightline.imaging.formats import ImageFormat
from sightline.imaging.limits import PixelLimits
from sightline.imaging.masks import alpha_mask, decode_mask, regions_mask
from sightline.imaging.picture import Picture
from sightline.imaging.regions import Regions

Save = Callable[..., bytes]
Holes = NDArray[np.uint8]


def _photo(height: int, width: int, *, orientation: int = 1) -> Picture:
    """`height` and `width` are the displayed ones."""
    pixels = np.zeros((height, width, 3), np.uint8)
    return Picture(pixels, None, ImageFormat.JPEG, 8, orientation, None, False, (), "")


@pytest.fixture
def holes() -> Holes:
    """(20, 30), a box off the centre."""
    holes = np.zeros((20, 30), np.uint8)
    holes[2:9, 4:17] = 1
    return holes


def _files(holes: Holes, save: Save) -> dict[str, bytes]:
    white = holes * 255
    rgb = np.repeat(white[..., None], 3, axis=-1)
    opaque = np.full_like(white, 255)
    return {
        "grey": save(white, "PNG"),
        "rgb": save(rgb, "PNG"),
        "rgba": save(np.dstack([rgb, opaque]), "PNG"),
        "white on transparent": save(np.dstack([np.full_like(rgb, 255), white]), "PNG"),
        "grey and alpha": save(np.dstack([white, opaque]), "PNG"),
        "bilevel": bytes(save(np.asarray(Image.fromarray(white).convert("1")), "PNG")),
        "palette": save(rgb, "GIF"),
        "16 bit": bytes(imagecodecs.png_encode(white.astype(np.uint16) * 257)),
        "jpeg": save(white, "JPEG", quality=95),
        "webp": save(rgb, "WEBP", lossless=True),
        "tiff": save(white, "TIFF"),
        "yellow": save(rgb * np.array([1, 1, 0], np.uint8), "PNG"),
        "pale": save(holes * 128, "PNG"),
    }


def test_mask_of_any_mode_gives_the_same_holes(holes: Holes, save: Save, limits: PixelLimits) -> None:
    for name, data in _files(holes, save).items():
        mask = decode_mask(data, _photo(20, 30), limits)
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, holes), name


def test_mask_pixels_darker_than_half_are_no_holes(holes: Holes, save: Save, limits: PixelLimits) -> None:
    assert not decode_mask(save(holes * 127, "PNG"), _photo(20, 30), limits).any()
    assert not decode_mask(save(np.dstack([holes * 255, holes * 127]), "PNG"), _photo(20, 30), limits).any()


@pytest.mark.parametrize("factor", [2, 3])
def test_smaller_mask_is_scaled_without_smoothing(holes: Holes, save: Save, limits: PixelLimits, factor: int) -> None:
    mask = decode_mask(save(holes * 255, "PNG"), _photo(20 * factor, 30 * factor), limits)
    assert np.array_equal(mask, holes.repeat(factor, axis=0).repeat(factor, axis=1))


def test_larger_mask_is_scaled_down(holes: Holes, save: Save, limits: PixelLimits) -> None:
    large = holes.repeat(3, axis=0).repeat(3, axis=1)
    assert np.array_equal(decode_mask(save(large * 255, "PNG"), _photo(20, 30), limits), holes)


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize(("orientation", "turned"), [(5, "transpose"), (6, "clockwise"), (7, "other"), (8, "counter")])
def test_mask_of_the_stored_frame_is_rotated(
    holes: Holes, save: Save, limits: PixelLimits, orientation: int, turned: str, factor: int
) -> None:
    """The stored photo is 30 x 20 pixels like the mask, a multiple of it, and shown upright."""
    expected = {
        "transpose": holes.T,
        "clockwise": np.rot90(holes, -1),
        "other": np.rot90(holes, 2).T,
        "counter": np.rot90(holes),
    }[turned]
    photo = _photo(30 * factor, 20 * factor, orientation=orientation)
    mask = decode_mask(save(holes * 255, "PNG"), photo, limits)
    assert np.array_equal(mask, expected.repeat(factor, axis=0).repeat(factor, axis=1))


def test_mask_of_the_displayed_frame_is_not_rotated(holes: Holes, save: Save, limits: PixelLimits) -> None:
    for orientation in range(1, 9):
        mask = decode_mask(save(holes * 255, "PNG"), _photo(20, 30, orientation=orientation), limits)
        assert np.array_equal(mask, holes)


def test_square_mask_is_not_rotated(save: Save, limits: PixelLimits) -> None:
    square = np.zeros((20, 20), np.uint8)
    square[:5, :3] = 255
    assert np.array_equal(decode_mask(save(square, "PNG"), _photo(20, 20, orientation=6), limits), square // 255)


def test_mask_with_an_orientation_is_rotated_by_it_only(holes: Holes, save: Save, limits: PixelLimits) -> None:
    data = save(holes * 255, "PNG", orientation=6)
    assert np.array_equal(decode_mask(data, _photo(30, 20, orientation=8), limits), np.rot90(holes, -1))


def test_mask_fits_a_photo_after_scaled_decoding(holes: Holes, save: Save, limits: PixelLimits) -> None:
    photo = dataclasses.replace(_photo(15, 10, orientation=6), size_px=(20, 30))
    mask = decode_mask(save(holes * 255, "PNG"), photo, limits)
    assert mask.shape == (15, 10)
    assert mask[:, :5].sum() < mask[:, 5:].sum()  # the box lies in the upper left, turned clockwise on the right


@pytest.mark.parametrize(
    ("data", "code"), [(b"\x89PNG\r\n\x1a\n broken", Code.BAD_MASK), (b"not a picture at all", Code.UNSUPPORTED_FORMAT)]
)
def test_problems_name_the_mask(limits: PixelLimits, data: bytes, code: Code) -> None:
    with pytest.raises(Problem, match=r"^Mask: ") as caught:
        decode_mask(data + bytes(40), _photo(5, 5), limits)
    assert caught.value.code is code


def test_limits_apply_to_masks(save: Save) -> None:
    with pytest.raises(Problem) as caught:
        decode_mask(save(np.zeros((20, 30), np.uint8), "PNG"), _photo(20, 30), PixelLimits(10_000, 599))
    assert caught.value.code is Code.TOO_MANY_PIXELS
    assert caught.value.facts["max_pixels"] == 599


def test_transparent_pixels_are_holes() -> None:
    photo = _photo(1, 4)
    alpha = np.array([[0, 125, 130, 255]], np.uint8)
    for samples in (alpha, alpha.astype(np.uint16) * np.uint16(257)):
        assert alpha_mask(dataclasses.replace(photo, alpha=samples)).tolist() == [[1, 1, 0, 0]]


def test_alpha_mask_without_alpha_is_refused() -> None:
    with pytest.raises(Problem) as caught:
        alpha_mask(_photo(2, 2))
    assert caught.value.code is Code.BAD_MASK


def test_regions_mask_fills_boxes_exactly() -> None:
    mask = regions_mask(Regions(boxes=[(4, 2, 17, 9)]), (20, 30))
    assert mask.sum() == 13 * 7
    assert mask[2:9, 4:17].all()


def test_regions_mask_fills_polygons(holes: Holes) -> None:
    triangle = regions_mask(Regions(polygons=[[(0, 0), (20, 0), (0, 20)]]), (20, 20))
    assert abs(int(triangle.sum()) - 200) <= 34  # half a pixel along the outline
    assert triangle[0, 0]
    assert not triangle[19, 19]
    box = regions_mask(Regions(polygons=[[(4, 2), (17, 2), (17, 9), (4, 9)]]), (20, 30))
    assert (box >= holes).all()  # the outline's own pixels belong to it
    assert box.sum() <= 14 * 8


def test_regions_mask_clips_shapes_to_the_photo() -> None:
    mask = regions_mask(
        Regions(
            polygons=[[(-1e6, -1e6), (1e6, -1e6), (1e6, 5), (-1e6, 5)]], boxes=[(25, 15, 999, 999), (-9, -9, 1, 1)]
        ),
        (20, 30),
    )
    assert mask[:5].all()
    assert mask[15:, 25:].all()
    assert not mask[6:15].any()


def test_boxes_outside_or_inverted_mark_nothing() -> None:
    assert not regions_mask(Regions(boxes=[(10, 10, 5, 5), (100, 100, 120, 120), (-9, -9, -1, -1)]), (20, 30)).any()


def test_regions_mask_accepts_parsed_json() -> None:
    document: dict[str, Any] = json.loads('{"boxes": [[0, 0, 2, 2]]}')
    assert regions_mask(document, (4, 4)).sum() == 4
    with pytest.raises(Problem) as caught:
        regions_mask({"boxes": [[0, 0, 2]]}, (4, 4))
    assert caught.value.code is Code.BAD_MASK


def zigzag(points: int, low: float, high: float) -> list[tuple[float, float]]:
    return [(float(x), low if number % 2 else high) for number, x in enumerate(np.linspace(0, 200, points))]


def test_polygon_from_far_above_equals_one_from_near_above() -> None:
    near = regions_mask({"polygons": [[[20, -100], [60, -100], [60, 40], [20, 40]]]}, (50, 100))
    far = regions_mask({"polygons": [[[20, -1e6], [60, -1e6], [60, 40], [20, 40]]]}, (50, 100))
    np.testing.assert_array_equal(near, far)
    assert near[10, 30] == 1
    beyond = regions_mask({"polygons": [zigzag(1000, -1e6, -1e5)]}, (50, 100))
    assert not beyond.any()


@pytest.mark.parametrize(
    "regions",
    [
        {"polygons": [zigzag(16_000, -1e6, 1e6)]},
        {"polygons": [zigzag(16_000, 0, 3000)]},
        {"boxes": [[0, 0, 1e6, 1e6]] * 1024},
        {"polygons": [[[0, 0], [1e6, 0], [0, 1e6]]] * 1024},
    ],
    ids=["beyond", "within", "boxes", "overlapping"],
)
def test_regions_that_take_too_long_to_fill_are_refused(regions: dict[str, Any]) -> None:
    with pytest.raises(Problem) as raised:
        regions_mask(regions, (6000, 4000))
    assert raised.value.code is Code.BAD_MASK
    assert "too long" in raised.value.detail


def test_detailed_contour_is_filled() -> None:
    angles = np.linspace(0, 2 * np.pi, 16_000)
    circle = np.column_stack([2000 + 1900 * np.cos(angles), 3000 + 1900 * np.sin(angles)]).tolist()
    mask = regions_mask({"polygons": [circle], "boxes": [[0, 0, 4000, 6000]] * 50}, (6000, 4000))
    assert mask.all()
