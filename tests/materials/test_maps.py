import numpy as np
import pytest

from sightline.materials.maps import SurfaceMaps, mean_maps, mirrored_maps, mirrored_view, unit
from sightline.materials.rendering import AT_CAMERA, camera_for, shade


@pytest.fixture
def maps() -> SurfaceMaps:
    rng = np.random.default_rng(0)
    albedo, normal, roughness = rng.random((16, 24, 3)), rng.normal(0, 0.3, (16, 24, 3)), rng.random((16, 24))
    upright = unit(normal + np.array([0, 0, 1]))
    return SurfaceMaps(
        albedo.astype(np.float32), upright, roughness.astype(np.float32), np.full_like(roughness, 0.4, np.float32)
    )


def test_photo_of_mirrored_maps_is_the_mirrored_photo(maps: SurfaceMaps) -> None:
    points = camera_for(24, 16, 60).points(16, 24)

    photo, mirrored = (shade(each, points, AT_CAMERA) for each in (maps, mirrored_maps(maps)))

    np.testing.assert_allclose(mirrored[:, ::-1], photo, atol=1e-5)


def test_mirrored_view_off_the_axis_has_mirrored_coordinates(maps: SurfaceMaps) -> None:
    coordinates = camera_for(24, 16, 60).coordinates(16, 24)[:, :10]

    _, mirrored = mirrored_view(maps.albedo[:, :10], coordinates)

    np.testing.assert_allclose(mirrored[:, 0], coordinates[:, -1] * [-1, 1])


def test_mean_with_maps_mirrored_twice_is_the_surface(maps: SurfaceMaps) -> None:
    mean = mean_maps(maps, mirrored_maps(mirrored_maps(maps)))

    np.testing.assert_allclose(mean.albedo, maps.albedo, atol=1e-6)
    np.testing.assert_allclose(mean.normal, maps.normal, atol=1e-5)
    np.testing.assert_allclose(mean.roughness, maps.roughness, atol=1e-6)
    np.testing.assert_allclose(mean.metallic, 0.4)
