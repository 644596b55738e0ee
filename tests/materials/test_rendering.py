"""The renderer in NumPy against the layer that the network is trained through."""

import numpy as np
import pytest
import torch

from sightline.materials.maps import SurfaceMaps, unit
from sightline.materials.rendering import AT_CAMERA, camera_for, rerender, rerender_rmse, shade
from sightline.networks.rendering import Surface, render
from sightline.training.svbrdf.flash import whole_window


def random_maps(metallic: float) -> SurfaceMaps:
    rng = np.random.default_rng(0)
    normal = unit(np.dstack([rng.uniform(-0.6, 0.6, (16, 24, 2)), np.ones((16, 24))]))
    albedo, roughness = (rng.uniform(0.02, 0.98, shape).astype(np.float32) for shape in ((16, 24, 3), (16, 24)))
    return SurfaceMaps(albedo, normal, roughness, np.full_like(roughness, metallic))


@pytest.mark.parametrize("metallic", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("light", [AT_CAMERA, (0.5, -0.3, -0.4), (-2.0, 1.0, 1.5)])
def test_shade_equals_the_rendering_layer(metallic: float, light: tuple[float, float, float]) -> None:
    maps, points = random_maps(metallic), camera_for(24, 16, 60).points(16, 24)

    drawn = shade(maps, points, light)

    batched = [
        torch.from_numpy(np.ascontiguousarray(part).transpose(2, 0, 1))[None]
        for part in (maps.albedo, maps.normal, maps.roughness[..., None], points)
    ]
    surface = Surface(batched[0], batched[1], batched[2], torch.full((1, 1, 1, 1), metallic))
    expected = render(surface, batched[3], torch.tensor([light]))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(drawn, expected, rtol=2e-3, atol=1e-5)


def test_white_wall_in_front_of_the_camera_is_white() -> None:
    flat = np.zeros((1, 1, 3), np.float32)
    flat[..., 2] = 1
    wall = SurfaceMaps(np.ones((1, 1, 3), np.float32), flat, np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32))

    assert shade(wall, -flat, AT_CAMERA)[0, 0, 0] == pytest.approx(1, abs=0.02)


def test_field_of_view_is_across_the_longer_side() -> None:
    wide, high = camera_for(400, 200, 90), camera_for(200, 400, 90)

    assert [wide.half_width, wide.half_height] == pytest.approx([1, 0.5])
    assert [high.half_width, high.half_height] == pytest.approx([0.5, 1])


def test_coordinates_equal_those_of_training() -> None:
    ours = camera_for(64, 64, 60).coordinates(64, 64)

    np.testing.assert_allclose(ours.transpose(2, 0, 1), whole_window(60).coordinates(64, 64), atol=1e-6)


def test_rows_select_coordinates_and_points_lie_on_the_plane() -> None:
    camera = camera_for(30, 20, 70)

    np.testing.assert_array_equal(camera.coordinates(20, 30, slice(5, 9)), camera.coordinates(20, 30)[5:9])
    points = camera.points(20, 30)
    assert points.shape == (20, 30, 3)
    assert (points[..., 2] == -1).all()
    np.testing.assert_array_equal(points[..., :2], camera.coordinates(20, 30))


CAMERA = camera_for(64, 48, 60)


def flat_maps(roughness: float, tone: float = 0.4) -> SurfaceMaps:
    normal = np.zeros((48, 64, 3), np.float32)
    normal[..., 2] = 1
    tones, plain = np.full((48, 64, 3), tone, np.float32), np.ones((48, 64), np.float32)
    return SurfaceMaps(tones, normal, roughness * plain, 0 * plain)


@pytest.mark.parametrize("exposure", [0.3, 1.0, 1.6])
def test_rerender_rmse_of_true_maps_is_small_in_any_exposure(exposure: float) -> None:
    photo = np.clip(exposure * rerender(flat_maps(0.5), CAMERA), 0, 1)

    assert rerender_rmse(flat_maps(0.5), photo, CAMERA) < 1e-3
    assert rerender_rmse(flat_maps(0.2), photo, CAMERA) > 0.01


def test_rerender_rmse_of_a_clipped_photo_is_finite() -> None:
    assert np.isfinite(rerender_rmse(flat_maps(0.5), np.ones((48, 64, 3), np.float32), CAMERA))
    assert rerender_rmse(flat_maps(0.5, tone=0.0), np.zeros((48, 64, 3), np.float32), CAMERA) < 0.01
