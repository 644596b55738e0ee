import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.hdr_correct.bilateral_grid import (
    AffineGrid,
    brightness,
    fit_grid,
    level_weights,
    local_features,
    mapped_bands,
    place_levels,
    spans,
    to_planes,
    used_levels,
)
from sightline.imaging.bit_depth import Floats, quantize
from sightline.imaging.picture import Samples
from tests.extreme_pictures import extreme_pixels

SIZE = (64, 96, 3)
LEVELS = np.linspace(0, 1, 8, dtype=np.float32)


def noise(seed: int, low: float, high: float, shape: tuple[int, ...] = SIZE) -> Samples:
    return (np.random.default_rng(seed).uniform(low, high, shape) * 65_535).astype(np.uint16)


def unit(pixels: Samples) -> Floats:
    return (pixels / np.float32(65_535)).astype(np.float32)


def apply(grid: AffineGrid, pixels: Samples) -> Floats:
    return np.concatenate([band for _, band in mapped_bands(grid, pixels)])


def test_grid_recovers_one_affine_map_exactly() -> None:
    pixels = noise(0, 0.1, 0.5)
    matrix = np.array([[1.5, 0.1, 0], [0.05, 1.3, -0.1], [0, 0.2, 1.1]], np.float32)
    target = unit(pixels) @ matrix.T + np.float32(0.05)
    other = noise(1, 0.1, 0.5)
    found = apply(fit_grid(unit(pixels), target), other)
    assert np.abs(found - (unit(other) @ matrix.T + 0.05)).max() < 0.01


@pytest.mark.parametrize("gain", [0.5, 1, 6])
def test_grid_recovers_a_gain_at_any_contrast(gain: float) -> None:
    """Also where nothing or hardly anything varies, the ridge leads to the gain."""
    for spread in (0, 1e-4, 0.05):
        pixels = noise(2, 0.1, 0.1 + spread)
        found = apply(fit_grid(unit(pixels), gain * unit(pixels)), pixels)
        assert np.abs(found - gain * unit(pixels)).max() < 0.01 * gain


def test_grid_follows_a_tone_curve_within_a_cell() -> None:
    pixels = np.repeat(noise(3, 0.02, 0.9, (64, 96, 1)), 3, axis=2)
    error = apply(fit_grid(unit(pixels), np.sqrt(unit(pixels))), pixels) - np.sqrt(unit(pixels))
    assert np.abs(error).mean() < 0.01
    assert np.abs(error).max() < 0.06


@pytest.mark.parametrize("tone", [0, 65_535])
def test_black_and_white_photos_are_corrected(tone: int) -> None:
    pixels = np.full(SIZE, tone, np.uint16)
    found = apply(fit_grid(unit(pixels), np.full(SIZE, 0.6, np.float32)), pixels)
    assert np.abs(found - 0.6).max() < 1e-4


def test_clipped_region_keeps_the_shape_of_the_guess() -> None:
    pixels = np.full(SIZE, 65_535, np.uint16)
    hill = np.hypot(*(np.mgrid[:64, :96] - np.array([32, 48])[:, None, None])) / 60
    target = np.repeat((1 - 0.4 * hill)[..., None], 3, axis=2).astype(np.float32)
    assert np.abs(apply(fit_grid(unit(pixels), target), pixels) - target).max() < 0.15


def test_grey_pixels_stay_grey() -> None:
    pixels = np.repeat(noise(4, 0, 1, (64, 96, 1)), 3, axis=2)
    found = apply(fit_grid(unit(pixels), unit(pixels) ** np.float32(0.7)), pixels)
    assert np.ptp(found, axis=2).max() < 1e-5


def test_grid_separates_two_exposures_without_a_halo() -> None:
    """A dark room and a bright window, each with a gain of its own, meet at an edge."""
    truth, gains = two_sides()
    found = apply(fit_grid(*shrunk(truth, gains)), truth)
    wanted = unit(truth) * gains
    assert np.abs(found - wanted)[:, 300:340].max() < 0.03
    assert np.abs(found - wanted).max() < 0.03


def two_sides() -> tuple[Samples, NDArray[np.float32]]:
    """(480, 640, 3) and (1, 640, 1), edge at column 323, which no cell's border is."""
    values = np.where(np.arange(640) < 323, 0.08, 0.8)[None, :, None] * np.ones((480, 1, 3))
    speckled = values * (1 + 0.02 * np.random.default_rng(5).standard_normal(values.shape))
    gains = np.where(np.arange(640) < 323, 4, 0.9)[None, :, None].astype(np.float32)
    return (speckled.clip(0, 1) * 65_535).astype(np.uint16), gains


def shrunk(pixels: Samples, gains: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """As the network would see it and correct it: fivefold smaller."""
    small, target = (
        values.reshape(96, 5, 128, 5, 3).mean(axis=(1, 3), dtype=np.float32)
        for values in (unit(pixels), unit(pixels) * gains)
    )
    return small, target


def test_blended_grid_interpolates_between_identity_and_maps() -> None:
    pixels = noise(6, 0.1, 0.4)
    grid = fit_grid(unit(pixels), 2 * unit(pixels))
    assert np.abs(apply(grid.blended(0), pixels) - unit(pixels)).max() < 1e-6
    assert np.abs(apply(grid.blended(0.25), pixels) - 1.25 * unit(pixels)).max() < 0.01


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 0.3))
def test_level_weights_sum_to_one_and_interpolate_the_brightness(seed: int, middle: float, spread: float) -> None:
    values = np.random.default_rng(seed).normal(middle, spread, (9, 11))
    guide = np.clip(values, 0, 1).astype(np.float32)
    levels = place_levels(guide)
    weights = level_weights(guide, levels)
    assert np.allclose(weights.sum(axis=0), 1, atol=1e-5)
    assert (weights >= 0).all()
    assert ((weights > 0).sum(axis=0) <= 2).all()
    assert np.allclose(np.tensordot(levels, weights, 1), guide, atol=1e-5)


def test_levels_are_dense_where_pixels_are_many() -> None:
    dark = np.random.default_rng(0).uniform(0.02, 0.1, 10_000).astype(np.float32)
    levels = place_levels(dark)
    assert (levels[0], levels[-1]) == (0, 1)
    assert (np.diff(levels) > 0.02).all()
    assert ((levels > 0.02) & (levels < 0.3)).sum() >= 6


def test_levels_of_a_single_tone_rise_strictly() -> None:
    for tone in (0, 0.5, 1):
        assert (np.diff(place_levels(np.full(50, tone, np.float32))) > 0).all()


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_used_levels_have_all_of_the_weight(low: float, high: float) -> None:
    levels = place_levels(np.linspace(0, 0.4, 99, dtype=np.float32))
    guide = np.linspace(low, high, 50, dtype=np.float32)
    used = used_levels(guide, levels)
    whole = level_weights(guide, levels)
    assert np.allclose(level_weights(guide, levels[used]), whole[used])
    assert np.allclose(whole[used].sum(axis=0), 1)


@pytest.mark.parametrize("tone", [0, 0.5, 1])
def test_tone_on_a_level_uses_that_level_alone(tone: float) -> None:
    levels = np.linspace(0, 1, 5, dtype=np.float32)
    used = used_levels(np.full(3, tone, np.float32), levels)
    assert levels[used].tolist() == [tone]


def test_white_is_the_maximum_of_both_depths() -> None:
    assert brightness(np.ones((3, 2, 2), np.float32)).tolist() == [[1, 1], [1, 1]]


def test_local_features_are_weighted_colours() -> None:
    planes = np.array([[0.1], [0.2], [0.3]], np.float32)
    features = local_features(planes, np.array([[0.25], [0.75]], np.float32))
    assert np.allclose(features[:, 0], [0.025, 0.05, 0.075, 0.25, 0.075, 0.15, 0.225, 0.75])


def grid_of(gains: np.ndarray) -> AffineGrid:
    """(rows, columns) gains, at all levels."""
    maps = gains[..., None, None, None] * np.eye(3, 4) * np.ones((8, 1, 1))
    return AffineGrid(maps.astype(np.float32), LEVELS)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.integers(1, 40))
def test_spans_cover_an_axis_once(length: int, cells: int) -> None:
    found = spans(length, cells)
    assert [span.start for span in found] == [0, *(span.stop for span in found[:-1])]
    assert found[-1].stop == length
    centres = np.concatenate([span.cells[0] + span.distance for span in found])
    position = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)
    assert np.allclose(centres, position, atol=1e-4)
    assert all(0 <= cell < cells for span in found for cell in span.cells)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([np.uint8, np.uint16]), st.integers(0, 2**32 - 1))
def test_every_size_and_depth_is_corrected(height: int, width: int, dtype: type[np.uint8], seed: int) -> None:
    pixels: Samples = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, 3), dtype)
    result = np.full((height, width, 3), np.nan, np.float32)
    rows: list[int] = []
    for band, values in mapped_bands(grid_of(np.full((6, 8), 0.5)), pixels):
        result[band] = values
        rows += range(band.start, band.stop)
    assert rows == list(range(height))
    assert np.abs(result - 0.5 * pixels / np.float32(np.iinfo(dtype).max)).max() < 1e-6


def test_maps_are_interpolated_between_cells() -> None:
    gains = np.outer(np.linspace(1, 2, 6), np.linspace(1, 3, 8))
    pixels = np.full((240, 320, 3), 100, np.uint8)
    result = np.concatenate([band for _, band in mapped_bands(grid_of(gains), pixels)])[..., 0] / (100 / 255)
    inner = result[20:-20, 20:-20]
    assert np.abs(np.diff(inner, 2, axis=0)).max() < 1e-4
    assert np.abs(np.diff(inner, 2, axis=1)).max() < 1e-4
    assert result[0, 0] == pytest.approx(1, abs=1e-5)
    assert result[-1, -1] == pytest.approx(6, abs=1e-4)


def test_grid_applied_to_a_ramp_has_no_steps() -> None:
    maps = np.zeros((1, 1, 8, 3, 4), np.float32)
    maps[0, 0, :, :, 3] = np.sqrt(LEVELS)[:, None]
    ramp = np.repeat(np.arange(65_536, dtype=np.uint16)[None, ::16, None], 3, axis=2)
    (_, values), *_ = mapped_bands(AffineGrid(maps, LEVELS), ramp)
    steps = np.diff(values[0, :, 0])
    assert (steps > 0).all()
    assert steps.max() < 1e-3


def test_planes_of_a_slice_are_contiguous_and_equal() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    planes = to_planes(pixels[3:9, 5:6])
    assert np.allclose(np.moveaxis(planes, 0, 2) * 255, pixels[3:9, 5:6])


@settings(max_examples=40, deadline=None)
@given(extreme_pixels(), st.sampled_from([np.uint8, np.uint16]), st.floats(0, 3), st.floats(-0.5, 0.5))
def test_textures_of_extreme_maps_match_floating_point(
    pixels: Samples, dtype: type[np.uint8], gain: float, offset: float
) -> None:
    """They brighten beyond white and darken below black, at 8 and 16 bits in and out."""
    grid = grid_of(np.full((3, 4), gain))
    grid.maps[..., 3] = offset
    wanted = np.clip(pixels / np.iinfo(pixels.dtype).max * gain + offset, 0, 1) * np.iinfo(dtype).max
    for rows, values in mapped_bands(grid, pixels):
        assert np.abs(quantize(values, np.dtype(dtype)) - wanted[rows]).max() <= 0.51 + np.iinfo(dtype).max * 2e-6
