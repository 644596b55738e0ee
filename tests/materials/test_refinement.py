from dataclasses import replace

import numpy as np
import pytest

from sightline.materials.maps import Floats, SurfaceMaps, unit
from sightline.materials.refinement import Coefficients, SmoothnessWeights, fit_highlight, highlight, refine
from sightline.materials.rendering import AT_CAMERA, camera_for, shade

SIZE = 96
POINTS = camera_for(SIZE, SIZE, 60).points(SIZE, SIZE)


def checkers(roughness: float = 0.3) -> SurfaceMaps:
    """Two colours in squares, flat, of one roughness."""
    y, x = np.mgrid[:SIZE, :SIZE] // 24
    tone = np.where((x + y) % 2, 0.5, 0.15).astype(np.float32)
    normal = np.zeros((SIZE, SIZE, 3), np.float32)
    normal[..., 2] = 1
    plain = np.ones((SIZE, SIZE), np.float32)
    return SurfaceMaps(np.repeat(tone[..., None], 3, 2), normal, roughness * plain, 0 * plain)


def noisy(maps: SurfaceMaps) -> SurfaceMaps:
    rng = np.random.default_rng(0)
    albedo = np.clip(maps.albedo + 0.05 * rng.standard_normal(maps.albedo.shape), 0, 1).astype(np.float32)
    normal = unit(maps.normal + 0.1 * rng.standard_normal(maps.normal.shape))
    return replace(maps, albedo=albedo, normal=normal, roughness=np.clip(maps.roughness + 0.1, 0, 1))


def photo_of(maps: SurfaceMaps) -> Floats:
    return np.asarray(np.clip(0.6 * shade(maps, POINTS, AT_CAMERA), 0, 1), np.float32)


def rms(a: Floats, b: Floats) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def test_refine_without_weights_changes_nothing() -> None:
    maps = noisy(checkers())

    same = refine(maps, photo_of(checkers()), POINTS, Coefficients())

    np.testing.assert_array_equal(same.albedo, maps.albedo)
    np.testing.assert_allclose(same.normal, maps.normal, atol=1e-6)
    np.testing.assert_array_equal(same.roughness, maps.roughness)


def test_refine_removes_noise_and_keeps_edges_of_the_photo() -> None:
    truth, start = checkers(roughness=0.8), noisy(checkers(roughness=0.8))
    light = photo_of(truth)

    alike = refine(start, light, POINTS, Coefficients(albedo=SmoothnessWeights(bilateral=8, sigma=0.03)))
    near = refine(start, light, POINTS, Coefficients(albedo=SmoothnessWeights(spatial=8, sigma=0.03)))

    assert rms(alike.albedo, truth.albedo) < 0.4 * rms(start.albedo, truth.albedo)
    assert rms(alike.albedo, truth.albedo) < 0.6 * rms(near.albedo, truth.albedo)


def test_refined_normals_are_smooth_and_of_unit_length() -> None:
    start = noisy(checkers())

    smooth = refine(start, photo_of(checkers()), POINTS, Coefficients(normal=SmoothnessWeights(spatial=3, bilateral=3)))

    assert rms(smooth.normal, checkers().normal) < 0.4 * rms(start.normal, checkers().normal)
    np.testing.assert_allclose(np.linalg.norm(smooth.normal, axis=2), 1, atol=1e-5)


@pytest.mark.parametrize("roughness", [0.2, 0.3, 0.4])
def test_fit_highlight_finds_the_roughness(roughness: float) -> None:
    truth = checkers(roughness)
    wrong = replace(truth, roughness=np.full((SIZE, SIZE), roughness + 0.15, np.float32))

    found = fit_highlight(truth, photo_of(truth), POINTS)[40:56, 40:56]
    better = refine(wrong, photo_of(truth), POINTS, Coefficients(peak=5.0))

    assert np.abs(found - roughness).mean() < 0.05
    moved = wrong.roughness - better.roughness
    assert abs(better.roughness[44:52, 44:52].mean() - roughness) < 0.07
    assert abs(moved[:8, :8].mean()) < 0.75 * moved[44:52, 44:52].mean()


def test_highlight_peaks_where_the_normal_points_at_the_camera() -> None:
    trust = highlight(checkers(0.2), POINTS)

    assert trust.max() == pytest.approx(1, abs=0.1)
    assert trust[47:49, 47:49].min() == pytest.approx(trust.max())
    assert trust[0, 0] < 0.01
