import io

import numpy as np
import pytest
from PIL import Image

from services.svbrdf import textures
from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.imaging.decoder.in_process import decode
from sightline.imaging.limits import PixelLimits
from sightline.materials.maps import SurfaceMaps


@pytest.fixture
def maps() -> SurfaceMaps:
    normal = np.zeros((2, 2, 3), np.float32)
    normal[..., 2] = 1
    plain = np.ones((2, 2), np.float32)
    return SurfaceMaps(np.full((2, 2, 3), 0.2140411, np.float32), normal, 0.6 * plain, 0.5 * plain)


def test_textures_have_the_values_of_the_maps(maps: SurfaceMaps) -> None:
    np.testing.assert_allclose(textures.basecolor(maps), 0.5, atol=1e-4)
    np.testing.assert_allclose(textures.diffuse(maps), encode_srgb(np.array(0.2140411 / 2)), atol=1e-4)
    np.testing.assert_allclose(textures.specular(maps), encode_srgb(np.array((0.05 + 0.2140411) / 2)), atol=1e-4)
    np.testing.assert_allclose(textures.metallic(maps)[0, 0], [0.5, 0.5, 0.5])
    np.testing.assert_allclose(textures.normal(maps)[0, 0], [0.5, 0.5, 1])
    np.testing.assert_allclose(textures.roughness(maps)[0, 0], [0.6, 0.6, 0.6])
    np.testing.assert_allclose(textures.metallic_roughness(maps)[0, 0], [1, 0.6, 0.5])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [False, True])
def test_png_files_keep_depth_and_values(dtype: type[np.unsignedinteger], grey: bool) -> None:
    top = np.iinfo(dtype).max
    pixels = np.repeat(np.array([[[0], [top // 3]], [[top // 2], [top]]], dtype), 3, axis=2)

    back = decode(textures.png(pixels, grey=grey), PixelLimits(max_bytes=10**6, max_pixels=10**6))

    assert np.array_equal(back.pixels, pixels)
    assert (back.bit_depth, back.grey, back.icc_profile) == (8 * np.dtype(dtype).itemsize, grey, None)
    if dtype is np.uint8:
        with Image.open(io.BytesIO(textures.png(pixels, grey=grey))) as image:
            assert image.mode == ("L" if grey else "RGB")
