import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from sightline.materials.bilateral_grid import BilateralGrid
from sightline.materials.maps import Floats, SurfaceMaps
from sightline.materials.refinement import SHIPPED, refine
from sightline.materials.rendering import camera_for, rerender_rmse
from tests.extreme_pictures import extreme_pixels


def brute_force(
    values: NDArray[np.float32], guide: NDArray[np.float32], sigma_px: float, sigma_guide: float
) -> NDArray[np.float64]:
    y, x = np.indices(guide.shape).reshape(2, -1)
    apart = ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2) / sigma_px**2
    apart = apart + (guide.ravel()[:, None] - guide.ravel()) ** 2 / sigma_guide**2
    # Splatting and slicing widen the kernel of one cell by a sixth in variance each.
    kernel = np.exp(-apart / 2 / (1 + 2 / 6))
    return np.asarray(kernel @ values.reshape(-1, 1) / kernel.sum(axis=1, keepdims=True)).reshape(guide.shape)


def test_mean_approximates_the_means_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24] / 24
    guide = (np.sin(6 * x) + y).astype(np.float32)
    values = (guide + 0.2 * rng.standard_normal((24, 24))).astype(np.float32)

    means = BilateralGrid.build(guide, sigma_px=3, sigma_guide=0.2).mean(values[..., None])[..., 0]

    expected = brute_force(values, guide, 3, 0.2)
    assert np.abs(means - expected).mean() < 0.1 * np.abs(values - expected).mean()


def test_mean_keeps_constants_and_does_not_cross_edges_of_the_guide() -> None:
    guide = np.zeros((20, 20), np.float32)
    guide[:, 10:] = 5
    grid = BilateralGrid.build(guide, sigma_px=4, sigma_guide=0.5)

    np.testing.assert_allclose(grid.mean(np.full((20, 20, 2), 0.7, np.float32)), 0.7, atol=1e-5)
    np.testing.assert_allclose(grid.mean(guide[..., None]), guide[..., None], atol=1e-4)


def test_pixels_without_weight_do_not_affect_means() -> None:
    values = np.zeros((16, 16, 1), np.float32)
    values[8, 8] = 100
    weights = np.ones((16, 16), np.float32)
    weights[8, 8] = 0

    heard, deaf = (
        BilateralGrid.build(np.zeros((16, 16), np.float32), sigma_px=3, sigma_guide=1, weights=each).mean(values)
        for each in (None, weights)
    )

    assert heard[8, 8, 0] > 0.5
    assert deaf.max() == pytest.approx(0, abs=1e-4)


def test_values_stay_where_no_neighbour_has_weight() -> None:
    values = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    none = np.zeros((8, 8), np.float32)

    np.testing.assert_array_equal(
        BilateralGrid.build(none, sigma_px=2, sigma_guide=1, weights=none).mean(values), values
    )


@settings(max_examples=30, deadline=None)
@given(extreme_pixels())
def test_means_of_black_and_white_stay_within_the_values(pixels: NDArray[np.unsignedinteger]) -> None:
    values = light_of(pixels)
    guide = np.log(values.mean(axis=2) + np.float32(4e-3))
    means = BilateralGrid.build(guide, sigma_px=5, sigma_guide=0.25).mean(values)
    assert (means >= values.min((0, 1)) - 1e-5).all()
    assert (means <= values.max((0, 1)) + 1e-5).all()


@settings(max_examples=20, deadline=None)
@given(extreme_pixels(min_px=4))
def test_maps_of_black_and_white_surfaces_stay_in_range(pixels: NDArray[np.unsignedinteger]) -> None:
    light, (height, width) = light_of(pixels), pixels.shape[:2]
    normal = np.zeros_like(light)
    normal[..., 2] = 1
    camera = camera_for(width, height, 60)
    maps = refine(
        SurfaceMaps(light, normal, light[..., 0], np.full_like(light[..., 0], 0.5)),
        light,
        camera.points(height, width),
        SHIPPED,
    )
    assert all(each.min() >= 0 and each.max() <= 1 for each in (maps.albedo, maps.roughness))
    assert np.abs(np.linalg.norm(maps.normal, axis=2) - 1).max() < 1e-5
    assert 0 <= rerender_rmse(maps, light, camera) <= 1


def light_of(pixels: NDArray[np.unsignedinteger]) -> Floats:
    return np.asarray(pixels / np.iinfo(pixels.dtype).max, np.float32)
