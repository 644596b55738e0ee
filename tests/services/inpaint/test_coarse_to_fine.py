from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.inpaint import coarse_to_fine, pyramid
from services.inpaint.coarse_to_fine import MAX_LEVEL_PIXELS, MIN_COPIED_DEPTH_PX, WINDOWS_PER_ROUND, fill_holes
from services.inpaint.patch_completion import shift_map
from services.inpaint.pyramid import PyramidLevel
from services.inpaint.windows import network_pixels
from sightline.inference.predictor import Plan, Round
from tests.extreme_pictures import random_extremes

SIDES_PX = (256, 512)
TONE = 0.25
MARGIN = 12  # of 255, by which fills may leave the range of what is known

DrivePlan = Callable[[Plan[Any]], Any]


def photo(height: int, width: int, *, value: int = 200) -> PyramidLevel:
    return PyramidLevel(np.full((height, width, 3), value, np.uint8), np.zeros((height, width), np.uint8))


def with_hole(level: PyramidLevel, top: int, left: int, bottom: int, right: int) -> PyramidLevel:
    level.hole[top:bottom, left:right] = 1
    level.pixels[level.hole == 1] = 255
    return level


def filled_values(fill: NDArray[np.uint16], level: PyramidLevel) -> NDArray[np.float64]:
    return np.asarray(fill[level.hole == 1] / 65535)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 700), st.integers(2, 700), st.floats(0.01, 0.9), st.integers(0, 2**32 - 1))
def test_fill_covers_every_hole_pixel_and_no_other(height: int, width: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    level = photo(height, width, value=64)
    coarse = rng.random((-(-height // 60), -(-width // 60))) < share
    level.hole[:] = np.kron(coarse, np.ones((60, 60)))[:height, :width]
    level.hole[rng.integers(height), rng.integers(width)] ^= 1
    level.hole[0, 0] = 0
    result = drive_evenly(fill_holes(level, SIDES_PX))
    assert (result.fill[level.hole == 0] == 0).all()
    assert np.abs(filled_values(result.fill, level) - 64 / 255).max(initial=0) < 0.002


def drive_evenly(plan: Plan[Any]) -> Any:
    """Drives a plan like a perfect network on an even picture: with the tone of the known pixels everywhere."""
    try:
        samples = next(plan)
        while True:
            samples = plan.send([{"filled": np.full(each["image"].shape, 64 / 255, np.float32)} for each in samples])
    except StopIteration as stop:
        return stop.value


def test_network_input_excludes_pixels_in_holes(drive: DrivePlan) -> None:
    level = with_hole(photo(300, 420), 40, 50, 260, 370)
    plan = fill_holes(level, SIDES_PX)

    def watched() -> Plan[Any]:
        samples = next(plan)
        while True:
            assert all((each["image"] < 255).all() for each in samples)
            try:
                samples = plan.send((yield samples))
            except StopIteration as stop:
                return stop.value

    drive(watched())


def test_thin_holes_are_filled_at_full_size_at_once(drive: DrivePlan) -> None:
    level = with_hole(photo(800, 900), 400, 0, 400 + 2 * MIN_COPIED_DEPTH_PX - 4, 900)
    passes = drive(fill_holes(level, SIDES_PX)).passes
    assert [each.scale for each in passes] == [1]


def test_wide_holes_are_filled_from_coarse_to_fine(drive: DrivePlan) -> None:
    level = with_hole(photo(450, 500), 50, 50, 400, 400)
    passes = drive(fill_holes(level, SIDES_PX, copy_patches=False)).passes
    assert [each.scale for each in passes] == [2, 1]


def test_wide_holes_of_large_pictures_skip_the_sizes_between(drive: DrivePlan) -> None:
    level = with_hole(photo(1600, 1800), 500, 500, 1000, 1100)
    passes = drive(fill_holes(level, SIDES_PX)).passes
    assert [each.scale for each in passes] == [8, 1]


def test_narrow_holes_of_large_pictures_are_completed_at_full_size(drive: DrivePlan) -> None:
    """Halving would blur patterns that are finer than the hole."""
    passes = drive(fill_holes(with_hole(photo(600, 900), 300, 400, 336, 436), SIDES_PX)).passes
    assert [each.scale for each in passes] == [1, 1]


def test_narrow_holes_continue_stripes(drive: DrivePlan) -> None:
    for height, width in ((600, 900), (300, 400)):
        level = photo(height, width)
        level.pixels[:] = (60 + 120 * (np.arange(width) // 4 % 2))[None, :, None]
        wanted = level.pixels[135:160, 170:195].astype(float)
        with_hole(level, 130, 165, 165, 200)
        filled = drive(fill_holes(level, SIDES_PX)).fill[135:160, 170:195] / 257
        assert np.abs(filled - wanted).mean() < 10


def test_large_pictures_that_are_nearly_all_hole_are_filled_by_the_network_alone(drive: DrivePlan) -> None:
    level = with_hole(photo(1600, 1800, value=64), 0, 0, 1600, 1790)
    result = drive(fill_holes(level, SIDES_PX))
    assert [each.scale for each in result.passes] == [8, 4, 2, 1]
    assert np.abs(filled_values(result.fill, level) - TONE).max() < 0.01


def test_large_holes_keep_the_grain(drive: DrivePlan) -> None:
    level = photo(900, 1200)
    level.pixels[:] = np.random.default_rng(0).integers(60, 180, (900, 1200, 1), np.uint8)
    known = level.pixels.std()
    with_hole(level, 300, 400, 600, 800)
    middle = drive(fill_holes(level, SIDES_PX)).fill[340:560, 440:760] / 257
    assert middle.std() == pytest.approx(known, rel=0.25)
    assert middle.mean() == pytest.approx(120, abs=4)


@pytest.mark.parametrize(("height", "width"), [(120, 160), (300, 300), (400, 500)])
def test_deep_holes_of_small_photos_keep_the_grain(drive: DrivePlan, height: int, width: int) -> None:
    level = photo(height, width)
    level.pixels[:] = np.random.default_rng(0).integers(60, 180, (height, width, 1), np.uint8)
    known = level.pixels.std()
    with_hole(level, 30, 40, 80, 100)
    middle = np.s_[45:65, 60:80]
    textured, smooth = (
        drive(fill_holes(level, SIDES_PX, copy_patches=each)).fill[middle].std() / 257 for each in (True, False)
    )
    assert textured > 0.5 * known > 5 * smooth


def test_fill_of_large_photos_is_deterministic(drive: DrivePlan) -> None:
    level = with_hole(photo(620, 700), 200, 200, 400, 500)
    level.pixels[:] = np.random.default_rng(0).integers(0, 256, level.pixels.shape, np.uint8)
    first, second = (drive(fill_holes(level, SIDES_PX)).fill for _ in range(2))
    assert np.array_equal(first, second)
    assert not first[level.hole == 0].any()


def test_progress_rises_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coarse_to_fine, "WINDOWS_PER_ROUND", 2)
    plan = fill_holes(with_hole(photo(900, 1300), 40, 50, 860, 1250), SIDES_PX)
    samples, shares = next(plan), []
    with suppress(StopIteration):
        while True:
            assert isinstance(samples, Round)
            shares.append(samples.done)
            samples = plan.send([{"filled": np.zeros(each["image"].shape, np.float32)} for each in samples])
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert 0.5 < shares[-1] < 1


def test_small_photos_are_one_window(drive: DrivePlan) -> None:
    level = with_hole(photo(250, 256), 20, 20, 230, 240)
    (only,) = drive(fill_holes(level, SIDES_PX, copy_patches=False)).passes
    assert (only.scale, [window.side_px for window in only.windows]) == (1, [256])


def test_fixed_size_network_gets_windows_of_that_size_only(drive: DrivePlan) -> None:
    for size in ((30, 40), (600, 500), (2000, 1000)):
        level = with_hole(photo(*size, value=64), 5, 5, size[0] // 2, size[1] // 2)
        result = drive(fill_holes(level, (512,)))
        assert {window.side_px for each in result.passes for window in each.windows} == {512}
        assert np.abs(filled_values(result.fill, level) - TONE).max() < 0.01


def test_tones_of_network_and_coarser_levels_meet(drive: DrivePlan) -> None:
    level = with_hole(photo(900, 900, value=64), 200, 200, 700, 700)
    values = filled_values(drive(fill_holes(level, SIDES_PX)).fill, level)
    assert np.abs(values - TONE).max() < 0.002


def test_network_work_on_24_megapixels_is_bounded(drive: DrivePlan) -> None:
    level = photo(4000, 6000)
    rng = np.random.default_rng(1)
    level.hole[:] = np.kron(rng.random((10, 15)) < 0.6, np.ones((400, 400), np.uint8))
    seen = []

    def watched() -> Plan[Any]:
        plan = fill_holes(level, SIDES_PX)
        samples = next(plan)
        while True:
            seen.append(len(samples))
            try:
                samples = plan.send((yield samples))
            except StopIteration as stop:
                return stop.value

    passes = drive(watched()).passes
    assert max(seen) <= WINDOWS_PER_ROUND
    assert all(network_pixels(each.windows) <= MAX_LEVEL_PIXELS for each in passes)
    assert sum(network_pixels(each.windows) for each in passes) < 2 * MAX_LEVEL_PIXELS


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([0.0, 0.5, 1.0]), st.booleans(), st.integers(0, 2**32 - 1))
def test_sums_at_black_and_white_equal_floating_point(white_share: float, overshoots: bool, seed: int) -> None:
    """Windows overlap, and the network may leave the range of colours."""
    rng = np.random.default_rng(seed)
    pixels = random_extremes(rng, (200, 330), np.uint8, white_share=white_share, block_px=25, grey=False)
    level = with_hole(PyramidLevel(pixels, np.zeros((200, 330), np.uint8)), 90, 20, 110, 310)
    found = drive_by_noise(fill_holes(level, (256,)), seed, overshoots=overshoots).fill[level.hole == 1]
    with pytest.MonkeyPatch.context() as patch:
        sum_in_floating_point(patch)
        wanted = drive_by_noise(fill_holes(level, (256,)), seed, overshoots=overshoots).fill[level.hole == 1]
    assert wanted.dtype == np.float64
    assert np.abs(found - wanted).max() <= 4


@pytest.mark.parametrize("white", [True, False])
def test_copies_of_large_pictures_leave_no_specks_at_black_and_white(white: bool) -> None:
    """Fills of grey clouds that reach into white, or of a night, stay grey."""
    rng = np.random.default_rng(3)
    coarse = cv2.resize(rng.standard_normal((9, 12)).astype(np.float32), (720, 560), interpolation=cv2.INTER_CUBIC)
    light = np.clip(0.97 + 0.1 * coarse + 0.02 * rng.standard_normal(coarse.shape), 0, 1)
    grey = np.rint(255 * (light if white else 1 - light)).astype(np.uint8)
    level = with_hole(PyramidLevel(np.dstack([grey] * 3), np.zeros(grey.shape, np.uint8)), 150, 200, 400, 520)
    values = drive_by_noise(fill_holes(level, SIDES_PX), 0, overshoots=True).fill[level.hole == 1] / 257
    known = level.pixels[level.hole == 0].astype(float)
    assert (values > known.min() - MARGIN).all()
    assert (values < known.max() + MARGIN).all()
    assert np.ptp(values, axis=1).max() < MARGIN


def drive_by_noise(plan: Plan[Any], seed: int, *, overshoots: bool) -> Any:
    """Drives a plan by noise between black and white, or beyond if it `overshoots`."""
    low, high = (-0.5, 1.5) if overshoots else (0, 1)
    rng = np.random.default_rng(seed)
    try:
        samples = next(plan)
        while True:
            noises = [rng.uniform(low, high, each["image"].shape).astype(np.float32) for each in samples]
            samples = plan.send([{"filled": each} for each in noises])
    except StopIteration as stop:
        return stop.value


def sum_in_floating_point(patch: pytest.MonkeyPatch) -> None:
    """Makes fills float64, which neither wraps nor saturates."""

    def new_fill(size: tuple[int, int]) -> NDArray[np.float64]:
        return np.zeros((*size, 3), np.float64)

    def accumulate(fill: NDArray[np.float64], colours: NDArray[np.float32]) -> None:
        fill += colours

    def composite(level: PyramidLevel, fill: NDArray[np.float64]) -> NDArray[np.uint8]:
        return pyramid.composite(level, np.clip(np.rint(fill), 0, 65535).astype(np.uint16))

    for module in (pyramid, shift_map, coarse_to_fine):
        patch.setattr(module, "new_fill", new_fill)
    patch.setattr(coarse_to_fine, "accumulate", accumulate)
    patch.setattr(coarse_to_fine, "composite", composite)
