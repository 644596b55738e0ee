from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.hoi.overlay import draw
from services.hoi.results import HoiReport
from services.hoi.views import GREY, Window, tiles, whole_frame
from tests.extreme_pictures import extreme_pixels

SIZES = ({"h": 32, "w": 64}, {"h": 64, "w": 64}, {"h": 64, "w": 32})
SIDES = st.integers(1, 3000)


@pytest.mark.parametrize(
    ("width", "height", "seen", "size"),
    [
        (640, 480, (64, 48), (64, 64)),
        (640, 320, (64, 32), (64, 32)),
        (320, 640, (32, 64), (32, 64)),
        (32, 16, (64, 32), (64, 32)),
        (1, 5000, (1, 64), (32, 64)),
        (5000, 3, (64, 1), (64, 32)),
        (1, 1, (64, 64), (64, 64)),
    ],
)
def test_longest_side_fills_the_input_of_the_detector(
    width: int, height: int, seen: tuple[int, int], size: tuple[int, int]
) -> None:
    view = whole_frame(width, height, SIZES)

    assert (view.seen_width, view.seen_height) == seen
    assert (view.size["w"], view.size["h"]) == size
    picture = view.draw(np.full((height, width, 3), 200, np.uint8))
    assert picture.shape == (size[1], size[0], 3)
    assert (picture[: seen[1], : seen[0]] == 200).all()
    assert (picture[seen[1] :] == GREY).all()
    assert (picture[:, seen[0] :] == GREY).all()


def test_weights_of_a_fixed_size_get_every_view_in_it() -> None:
    view = whole_frame(640, 320, [{"h": 40, "w": 40}])
    assert (view.seen_width, view.seen_height) == (40, 20)


def test_boxes_are_mapped_to_the_photo_and_clipped() -> None:
    view = whole_frame(640, 480, SIZES)
    boxes = view.to_photo(np.array([[6.4, 4.8, 32, 24], [-5, 40, 70, 64]], np.float32))
    assert boxes == pytest.approx(np.array([[64, 48, 320, 240], [0, 400, 640, 480]], np.float32), abs=1e-3)


def test_small_photo_has_no_tiles() -> None:
    assert tiles(64, 40, SIZES, 100) == []
    assert tiles(1, 1, SIZES, 100) == []


def test_tiles_are_at_full_scale_and_at_halves() -> None:
    every = tiles(160, 64, SIZES, 100)

    scales = [view.scale_xy[0] for view in every]
    assert scales == [1, 1, 1, 0.5, 0.5]
    assert [view.window.left for view in every] == [0, 48, 96, 0, 32]


def test_number_of_tiles_is_limited() -> None:
    for most in (1, 2, 10, 64):
        every = tiles(3000, 2000, SIZES, most)
        assert len(every) <= most
    assert len(every) > 32
    assert tiles(3000, 2000, SIZES, 1) == []


@given(width=SIDES, height=SIDES)
@settings(max_examples=60, deadline=None)
def test_object_cut_at_one_level_is_whole_at_the_next(width: int, height: int) -> None:
    """A thing of a quarter of a tile's side is whole in some tile of that level, wherever it is."""
    windows = [view.window for view in tiles(width, height, SIZES, 10**6)]
    for side in {_side(window) for window in windows}:
        level = [window for window in windows if _side(window) == side]
        for starts, length in (({each.left for each in level}, width), ({each.top for each in level}, height)):
            ordered = sorted(starts)
            assert ordered[0] == 0
            assert ordered[-1] + min(side, length) == length
            assert all(after - before <= 0.75 * side + 1 for before, after in pairwise(ordered))


def _side(window: Window) -> int:
    return max(window.right - window.left, window.bottom - window.top)


def test_box_at_an_inner_edge_is_not_whole() -> None:
    (view, *_) = tiles(160, 64, SIZES, 100)
    assert view.window == Window(0, 0, 64, 64, 160, 64)
    boxes = np.array([[0, 0, 30, 64], [30, 10, 63, 40], [30, 10, 55, 40]], np.float32)
    assert view.is_whole(boxes).tolist() == [True, False, True]


@settings(max_examples=40, deadline=None)
@given(extreme_pixels(dtypes=(np.uint8,)))
def test_views_of_extreme_pixels_stay_in_range(pixels: NDArray[np.uint8]) -> None:
    """For the detector and in the overlay; a cubic filter goes a little beyond, and stops at black and white."""
    view = whole_frame(pixels.shape[1], pixels.shape[0], [{"h": 96, "w": 128}])
    seen = view.draw(pixels)[: view.seen_height, : view.seen_width]
    assert pixels.min() <= seen.min()
    assert seen.max() <= pixels.max()
    drawn = draw(pixels, HoiReport([], []))
    room = 0.2 * np.ptp(pixels.astype(int)) + 1
    assert drawn.min() >= pixels.min() - room
    assert drawn.max() <= pixels.max() + room
