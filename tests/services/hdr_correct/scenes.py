"""Scenes whose light is known."""

import numpy as np

from services.hdr_correct.bilateral_grid import AffineGrid
from services.hdr_correct.scene import HdrScene
from sightline.imaging.bit_depth import Floats


def wide_scene(height: int, width: int) -> tuple[HdrScene, Floats]:
    """From 2 ** -10 at the left to 2 ** 4 at the right, over and over, and its light."""
    codes = np.linspace(0, 65_535, width).astype(np.uint16)
    pixels = np.repeat(np.tile(codes, (height, 1))[..., None], 3, axis=2)
    low, high = (0.03 * (100 * 2.0**stop) ** 0.45 for stop in (-10, 4))
    matrix = np.concatenate([(high - low) * np.eye(3), np.full((3, 1), low)], axis=1)
    maps = np.broadcast_to(matrix, (4, 5, 8, 3, 4)).astype(np.float32)
    scene = HdrScene(AffineGrid(maps, np.linspace(0, 1, 8, dtype=np.float32)), pixels)
    return scene, np.concatenate([light for _, light in scene.bands()])
