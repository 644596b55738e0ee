import numpy as np
import pytest
from numpy.typing import NDArray

from services.hdr_correct.floats import Floats
from services.hdr_correct.grid import AffineGrid, fit_grid
from services.hdr_correct.slicing import mapped_bands
from sightline.imaging.picture import Samples

SIZE = (64, 96, 3)


def noise(seed: int, low: float, high: float, shape: tuple[int, ...] = SIZE) -> Samples:
    return (np.random.default_rng(seed).uniform(low, high, shape) * 65_535).astype(np.uint16)


def unit(pixels: Samples) -> Floats:
    return (pixels / np.float32(65_535)).astype(np.float32)


def apply(grid: AffineGrid, pixels: Samples) -> Floats:
    return np.concatenate([band for _, band in mapped_bands(grid, pixels)])


def test_one_affine_map_is_found_exactly() -> None:
    pixels = noise(0, 0.1, 0.5)
    matrix = np.array([[1.5, 0.1, 0], [0.05, 1.3, -0.1], [0, 0.2, 1.1]], np.float32)
    target = unit(pixels) @ matrix.T + np.float32(0.05)
    other = noise(1, 0.1, 0.5)
    found = apply(fit_grid(unit(pixels), target), other)
    assert np.abs(found - (unit(other) @ matrix.T + 0.05)).max() < 0.01


@pytest.mark.parametrize("gain", [0.5, 1, 6])
def test_a_gain_is_found_whatever_the_contrast(gain: float) -> None:
    """Also where nothing or hardly anything varies, the ridge leads to the gain."""
    for spread in (0, 1e-4, 0.05):
        pixels = noise(2, 0.1, 0.1 + spread)
        found = apply(fit_grid(unit(pixels), gain * unit(pixels)), pixels)
        assert np.abs(found - gain * unit(pixels)).max() < 0.01 * gain


def test_a_curve_is_followed_within_a_cell() -> None:
    pixels = np.repeat(noise(3, 0.02, 0.9, (64, 96, 1)), 3, axis=2)
    error = apply(fit_grid(unit(pixels), np.sqrt(unit(pixels))), pixels) - np.sqrt(unit(pixels))
    assert np.abs(error).mean() < 0.01
    assert np.abs(error).max() < 0.06


@pytest.mark.parametrize("tone", [0, 65_535])
def test_black_and_white_photos_become_what_the_network_makes_of_them(tone: int) -> None:
    pixels = np.full(SIZE, tone, np.uint16)
    found = apply(fit_grid(unit(pixels), np.full(SIZE, 0.6, np.float32)), pixels)
    assert np.abs(found - 0.6).max() < 1e-4


def test_a_clipped_region_keeps_the_shape_that_the_network_gives_it() -> None:
    pixels = np.full(SIZE, 65_535, np.uint16)
    hill = np.hypot(*(np.mgrid[:64, :96] - np.array([32, 48])[:, None, None])) / 60
    target = np.repeat((1 - 0.4 * hill)[..., None], 3, axis=2).astype(np.float32)
    assert np.abs(apply(fit_grid(unit(pixels), target), pixels) - target).max() < 0.15


def test_grey_pixels_stay_grey() -> None:
    pixels = np.repeat(noise(4, 0, 1, (64, 96, 1)), 3, axis=2)
    found = apply(fit_grid(unit(pixels), unit(pixels) ** np.float32(0.7)), pixels)
    assert np.ptp(found, axis=2).max() < 1e-5


def test_one_photo_holds_two_exposures_and_no_halo_between() -> None:
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


def test_blending_moves_between_identity_and_the_maps() -> None:
    pixels = noise(6, 0.1, 0.4)
    grid = fit_grid(unit(pixels), 2 * unit(pixels))
    assert np.abs(apply(grid.blended(0), pixels) - unit(pixels)).max() < 1e-6
    assert np.abs(apply(grid.blended(0.25), pixels) - 1.25 * unit(pixels)).max() < 0.01
