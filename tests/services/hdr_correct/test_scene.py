import numpy as np
import pytest

from services.hdr_correct.bilateral_grid import AffineGrid
from services.hdr_correct.scene import HdrScene, expand, luminance


@pytest.mark.parametrize("light", [0, 1e-3, 0.18, 1, 20])
def test_expand_inverts_compress(light: float) -> None:
    compressed = np.array([0.03 * (100 * light) ** 0.45], np.float32)
    assert expand(compressed)[0] == pytest.approx(light, rel=1e-4)


def test_scene_has_no_negative_light() -> None:
    assert expand(np.array([-0.5, -0.0], np.float32)).tolist() == [0, 0]


def test_scene_bands_cover_the_photo_from_top_to_bottom() -> None:
    maps = np.broadcast_to(0.03 * 100**0.45 * np.eye(3, 4), (3, 2, 8, 3, 4)).astype(np.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
    scene = HdrScene(AffineGrid(maps, np.linspace(0, 1, 8, dtype=np.float32)), pixels)
    light = np.concatenate([values for _, values in scene.bands()])
    assert (scene.height, scene.width) == (31, 17)
    assert np.allclose(light, (pixels / 255) ** (1 / 0.45), atol=1e-4)


def test_luminance_is_that_of_srgb() -> None:
    assert np.allclose(luminance(np.array([[1, 1, 1], [0, 1, 0]], np.float32)), [1, 0.7152])
