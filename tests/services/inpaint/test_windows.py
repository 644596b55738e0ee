import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.inpaint.windows import MARGIN_PX, NetworkWindow, cover, network_pixels

SIDES_PX = (256, 512)


def margin_px(window: NetworkWindow, row: int, column: int, shape: tuple[int, ...]) -> int:
    """Returns the context between a pixel and the window's edges, except for the photo's edges; < 0 outside."""
    far_row, far_column = window.top + window.side_px, window.left + window.side_px
    distances = [
        row - window.top if window.top else 10**6,
        column - window.left if window.left else 10**6,
        far_row - 1 - row if far_row < shape[0] else 10**6,
        far_column - 1 - column if far_column < shape[1] else 10**6,
    ]
    return min(distances)


def holes(shape: tuple[int, int], *boxes: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = 1
    return mask


@settings(max_examples=60)
@given(st.integers(1, 1400), st.integers(1, 1400), st.integers(0, 2**32 - 1), st.sampled_from([(256, 512), (512,)]))
def test_cover_gives_every_pixel_context(height: int, width: int, seed: int, sides_px: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    todo = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 12)):
        top, left = rng.integers(height), rng.integers(width)
        todo[top : top + rng.integers(1, 300), left : left + rng.integers(1, 300)] = 1
    windows = cover(todo, sides_px)
    rows, columns = np.nonzero(todo)
    for at in rng.integers(len(rows), size=40):
        row, column = int(rows[at]), int(columns[at])
        assert max(margin_px(window, row, column, todo.shape) for window in windows) >= 50


@settings(max_examples=60)
@given(st.integers(1, 1400), st.integers(1, 1400), st.integers(0, 2**32 - 1))
def test_windows_stay_inside_the_picture_where_it_is_large_enough(height: int, width: int, seed: int) -> None:
    todo = np.asarray(np.random.default_rng(seed).random((height, width)) < 0.001, np.uint8)
    for window in cover(todo, SIDES_PX):
        assert window.top >= 0
        assert window.left >= 0
        assert window.top + window.side_px <= max(height, window.side_px)
        assert window.left + window.side_px <= max(width, window.side_px)


def test_no_missing_pixels_need_no_window() -> None:
    assert cover(holes((300, 300)), SIDES_PX) == []


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((500, 600, 560, 700), NetworkWindow(402, 522, 256)),
        ((500, 600, 700, 900), NetworkWindow(344, 494, 512)),
        ((0, 0, 30, 30), NetworkWindow(0, 0, 256)),
        ((970, 1170, 1000, 1200), NetworkWindow(744, 944, 256)),
    ],
    ids=["small", "large", "first corner", "last corner"],
)
def test_one_hole_gets_one_window_around_it(box: tuple[int, int, int, int], expected: NetworkWindow) -> None:
    assert cover(holes((1000, 1200), box), SIDES_PX) == [expected]


def test_near_holes_share_a_window() -> None:
    todo = holes((1000, 1000), (400, 400, 420, 420), (460, 460, 480, 480), (440, 400, 445, 405))
    assert len(cover(todo, SIDES_PX)) == 1


def test_many_specks_cost_no_more_than_a_grid() -> None:
    todo = np.zeros((4000, 6000), np.uint8)
    todo[::37, ::41] = 1
    cells = -(-4000 // (512 - 2 * MARGIN_PX)) * -(-6000 // (512 - 2 * MARGIN_PX))
    assert network_pixels(cover(todo, SIDES_PX)) <= cells * 512**2
