from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.inpaint.pyramid import (
    TILE_PX,
    PyramidLevel,
    accumulate,
    halve,
    halve_hole,
    hole_depth_px,
    new_fill,
    upsample,
)
from tests.extreme_pictures import extreme_pixels


def level(height: int, width: int, *, value: int = 100) -> PyramidLevel:
    return PyramidLevel(np.full((height, width, 3), value, np.uint8), np.zeros((height, width), np.uint8))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_halving_averages_known_pixels_alone(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    full = level(height, width)
    full.hole[:] = rng.random((height, width)) < 0.5
    full.hole[0, 0] = 0
    full.pixels[full.hole == 1] = 255
    half = halve(full)
    assert half.size == ((height + 1) // 2, (width + 1) // 2)
    assert not half.hole.all()
    assert (half.pixels[half.hole == 0] == 100).all()


@pytest.mark.parametrize(("known", "hole"), [(0, 1), (1, 1), (2, 0), (3, 0), (4, 0)])
def test_halving_needs_two_known_pixels_of_four(known: int, hole: int) -> None:
    full = level(2, 4)
    full.hole[:, :2] = (np.arange(4) >= known).reshape(2, 2)
    assert halve(full).hole.tolist() == [[hole, 0]]


def test_last_known_pixel_survives_all_halvings() -> None:
    current = level(77, 130, value=9)
    current.hole[:] = 1
    current.hole[50, 60] = 0
    while max(current.size) > 1:
        current = halve(current)
    assert current.hole.tolist() == [[0]]
    assert current.pixels.tolist() == [[[9, 9, 9]]]


def test_hole_depth_counts_from_the_nearest_known_pixel() -> None:
    full = level(1, 9)
    full.hole[0, 2:7] = 1
    assert hole_depth_px(full)[0].round().tolist() == [0, 0, 1, 2, 3, 2, 1, 0, 0]


@pytest.mark.parametrize("size", [(50, 71), (TILE_PX + 33, 31), (64, 2 * TILE_PX + 1)])
def test_upsampling_inverts_halving_of_smooth_photos(size: tuple[int, int]) -> None:
    rows, columns = np.mgrid[: size[0], : size[1]]
    full = level(*size)
    full.pixels[:] = (40 + 150 * rows / size[0] + 50 * columns / size[1])[..., None]
    half = halve(full)
    enlarged = upsample(half, new_fill(half.size), np.ones(size, np.float32))
    assert np.abs(enlarged[2:-2, 2:-2] / 257 - full.pixels[2:-2, 2:-2]).max() < 3


def test_upsampling_weighs_the_fill_in_holes() -> None:
    half = level(8, 8)
    half.hole[:] = 1
    fill = new_fill(half.size)
    fill[:] = 40_000
    share = np.zeros((15, 16), np.float32)
    share[4:9, 4:9] = 0.5
    enlarged = upsample(half, fill, share)
    assert (enlarged[4:9, 4:9] == 20_000).all()
    assert enlarged.sum() == 25 * 3 * 20_000


def test_halved_hole_keeps_single_pixels() -> None:
    hole = np.zeros((75, 101), np.uint8)
    hole[74, 100] = hole[10, 40] = 1
    small = halve_hole(hole, 3)
    assert small.shape == (10, 13)
    assert np.argwhere(small).tolist() == [[1, 5], [9, 12]]
    assert np.array_equal(halve_hole(hole, 0), hole)


@given(extreme_pixels(dtypes=(np.uint8,)), st.integers(0, 2**32 - 1))
def test_halving_at_black_and_white_equals_floating_point(pixels: NDArray[np.uint8], seed: int) -> None:
    rng = np.random.default_rng(seed)
    hole = (rng.random(pixels.shape[:2]) < 0.4).astype(np.uint8)
    hole[0, 0] = 0
    half = halve(PyramidLevel(pixels, hole))
    known = 1.0 - hole[..., None]
    counts, sums = _sums_of_four(known), _sums_of_four(known * pixels)
    inside = half.hole == 0
    assert np.abs(half.pixels[inside] - sums[inside] / counts[inside]).max() <= 0.51


def _sums_of_four(values: NDArray[Any]) -> NDArray[np.float64]:
    """Sums (h, w, c) to half the size, rounded up."""
    even = np.pad(values, (*((0, side % 2) for side in values.shape[:2]), (0, 0)), mode="edge")
    return np.asarray(even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2, -1).sum((1, 3)), np.float64)


@given(extreme_pixels(dtypes=(np.uint16,)), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_accumulated_shares_add_up_to_the_colour(pixels: NDArray[np.uint16], parts: int, seed: int) -> None:
    fill, shares = new_fill(pixels.shape[:2]), np.random.default_rng(seed).dirichlet(np.ones(parts))
    for share in shares:
        accumulate(fill, pixels * np.float32(share))
    assert np.abs(fill.astype(float) - pixels).max() <= parts


def test_accumulated_shares_above_one_saturate() -> None:
    fill = new_fill((2, 2))
    for _ in range(3):
        accumulate(fill, np.full((2, 2, 3), 30_000, np.float32))
    assert (fill == 65_535).all()
