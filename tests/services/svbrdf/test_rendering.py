import io

import numpy as np
import pytest
from PIL import Image

from services.svbrdf.estimation import DetailedMaps, fit_detail
from services.svbrdf.linear_photo import LinearPhoto
from services.svbrdf.rendering import TURNTABLE_PX, animation, light_at, relight, turntable
from sightline.materials.maps import SurfaceMaps
from sightline.materials.rendering import camera_for

PHOTO = LinearPhoto(np.full((90, 120, 3), 128, np.uint8), np.linspace(0, 1, 256).astype(np.float32))
CAMERA = camera_for(120, 90, 60)


@pytest.fixture(scope="module")
def maps() -> DetailedMaps:
    normal = np.zeros((64, 64, 3), np.float32)
    normal[..., 2] = 1
    grey = np.full((64, 64, 3), 0.4, np.float32)
    plain = np.ones((64, 64), np.float32)
    return fit_detail(SurfaceMaps(grey, normal, 0.3 * plain, 0 * plain), grey)


def test_turntable_light_goes_around_the_surface() -> None:
    np.testing.assert_allclose(light_at(0, 0), (1, 0, -1), atol=1e-6)
    np.testing.assert_allclose(light_at(90, 0), (0, 1, -1), atol=1e-6)
    np.testing.assert_allclose(light_at(17, 90), (0, 0, 0), atol=1e-6)


def test_relit_surface_is_brighter_towards_the_light(maps: DetailedMaps) -> None:
    right = relight(maps, PHOTO, CAMERA, light_at(0, 30))
    above = relight(maps, PHOTO, CAMERA, light_at(90, 30))

    assert right.shape == (90, 120, 3)
    assert right[:, 90:].mean() > right[:, :30].mean() + 5
    assert above[:20].mean() > above[-20:].mean() + 5


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_turntable_has_the_requested_number_of_frames(maps: DetailedMaps, file_format: str) -> None:
    pictures = turntable(maps, PHOTO, CAMERA, elevation_deg=30, frames=6)

    with Image.open(io.BytesIO(animation(pictures, file_format))) as image:
        assert image.n_frames == 6  # type: ignore[attr-defined]
        assert image.size == (120, 90)
        assert image.info["loop"] == 0
    assert len({each.tobytes() for each in pictures}) == 6


def test_turntable_of_a_large_photo_is_small(maps: DetailedMaps) -> None:
    large = LinearPhoto(np.full((900, 1200, 3), 128, np.uint8), PHOTO.table)

    assert turntable(maps, large, CAMERA, elevation_deg=30, frames=2)[0].shape == (
        TURNTABLE_PX * 3 // 4,
        TURNTABLE_PX,
        3,
    )
