import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.hdr_correct.grid import AffineGrid
from services.hdr_correct.slicing import mapped_bands, spans, to_planes
from sightline.imaging.bit_depth import quantize
from sightline.imaging.picture import Samples
from tests.extreme_pictures import extreme_pixels

LEVELS = np.linspace(0, 1, 8, dtype=np.float32)


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
def test_every_size_and_depth_comes_out_whole(height: int, width: int, dtype: type[np.uint8], seed: int) -> None:
    pixels: Samples = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, 3), dtype)
    result = np.full((height, width, 3), np.nan, np.float32)
    rows: list[int] = []
    for band, values in mapped_bands(grid_of(np.full((6, 8), 0.5)), pixels):
        result[band] = values
        rows += range(band.start, band.stop)
    assert rows == list(range(height))
    assert np.abs(result - 0.5 * pixels / np.float32(np.iinfo(dtype).max)).max() < 1e-6


def test_maps_change_evenly_between_cells() -> None:
    gains = np.outer(np.linspace(1, 2, 6), np.linspace(1, 3, 8))
    pixels = np.full((240, 320, 3), 100, np.uint8)
    result = np.concatenate([band for _, band in mapped_bands(grid_of(gains), pixels)])[..., 0] / (100 / 255)
    inner = result[20:-20, 20:-20]
    assert np.abs(np.diff(inner, 2, axis=0)).max() < 1e-4
    assert np.abs(np.diff(inner, 2, axis=1)).max() < 1e-4
    assert result[0, 0] == pytest.approx(1, abs=1e-5)
    assert result[-1, -1] == pytest.approx(6, abs=1e-4)


def test_a_ramp_through_all_levels_has_no_steps() -> None:
    maps = np.zeros((1, 1, 8, 3, 4), np.float32)
    maps[0, 0, :, :, 3] = np.sqrt(LEVELS)[:, None]
    ramp = np.repeat(np.arange(65_536, dtype=np.uint16)[None, ::16, None], 3, axis=2)
    (_, values), *_ = mapped_bands(AffineGrid(maps, LEVELS), ramp)
    steps = np.diff(values[0, :, 0])
    assert (steps > 0).all()
    assert steps.max() < 1e-3


def test_planes_of_a_view_are_those_of_the_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    planes = to_planes(pixels[3:9, 5:6])
    assert np.allclose(np.moveaxis(planes, 0, 2) * 255, pixels[3:9, 5:6])


@settings(max_examples=40, deadline=None)
@given(extreme_pixels(), st.sampled_from([np.uint8, np.uint16]), st.floats(0, 3), st.floats(-0.5, 0.5))
def test_maps_at_black_and_white_are_those_of_floating_point(
    pixels: Samples, dtype: type[np.uint8], gain: float, offset: float
) -> None:
    """They brighten beyond white and darken below black, at 8 and 16 bits in and out."""
    grid = grid_of(np.full((3, 4), gain))
    grid.maps[..., 3] = offset
    wanted = np.clip(pixels / np.iinfo(pixels.dtype).max * gain + offset, 0, 1) * np.iinfo(dtype).max
    for rows, values in mapped_bands(grid, pixels):
        assert np.abs(quantize(values, np.dtype(dtype)) - wanted[rows]).max() <= 0.51 + np.iinfo(dtype).max * 2e-6
