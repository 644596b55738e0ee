"""The renderer in NumPy against the layer that the network is trained through."""

import numpy as np
import pytest
import torch

from sightline.imaging.surfaces.camera import camera_for
from sightline.imaging.surfaces.maps import Maps, unit
from sightline.imaging.surfaces.shading import AT_CAMERA, shade
from sightline.networks.rendering import Surface, render


def random_maps(metallic: float) -> Maps:
    rng = np.random.default_rng(0)
    normal = unit(np.dstack([rng.uniform(-0.6, 0.6, (16, 24, 2)), np.ones((16, 24))]))
    albedo, roughness = (rng.uniform(0.02, 0.98, shape).astype(np.float32) for shape in ((16, 24, 3), (16, 24)))
    return Maps(albedo, normal, roughness, metallic)


@pytest.mark.parametrize("metallic", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("light", [AT_CAMERA, (0.5, -0.3, -0.4), (-2.0, 1.0, 1.5)])
def test_it_draws_what_the_rendering_layer_draws(metallic: float, light: tuple[float, float, float]) -> None:
    maps, points = random_maps(metallic), camera_for(24, 16, 60).points(16, 24)

    drawn = shade(maps, points, light)

    batched = [
        torch.from_numpy(np.ascontiguousarray(part).transpose(2, 0, 1))[None]
        for part in (maps.albedo, maps.normal, maps.roughness[..., None], points)
    ]
    surface = Surface(batched[0], batched[1], batched[2], torch.full((1, 1, 1, 1), metallic))
    expected = render(surface, batched[3], torch.tensor([light]))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(drawn, expected, rtol=2e-3, atol=1e-5)


def test_a_white_wall_in_front_of_the_camera_is_white() -> None:
    flat = np.zeros((1, 1, 3), np.float32)
    flat[..., 2] = 1
    wall = Maps(np.ones((1, 1, 3), np.float32), flat, np.ones((1, 1), np.float32), 0.0)

    assert shade(wall, -flat, AT_CAMERA)[0, 0, 0] == pytest.approx(1, abs=0.02)
