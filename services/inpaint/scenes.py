"""A picture with holes in tones and roughness, and smaller copies of it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.levels import Floats, Pixels
from services.inpaint.patches import RADIUS_PX, SIDE_PX

COLOURS = 3
ROUGHNESS_WEIGHT = 3.0  # of a slope of one level of 255 a pixel beside a difference in colour of one level
ROUGHNESS_SIGMA_PX = 3

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """values: (h, w, channels), three colours in 0..255, then roughness across and down; hole: (h, w).

    In holes the colours are a guess and the roughness is nothing.
    """

    values: Floats
    hole: Flags

    @property
    def longer_px(self) -> int:
        return int(max(self.hole.shape))

    def depth_px(self) -> Floats:
        """(h, w) distance to the nearest known pixel."""
        return np.asarray(cv2.distanceTransform(self.hole.astype(np.uint8), cv2.DIST_L2, 3), np.float32)

    def known_patches(self) -> Flags:
        """(h, w) centres of patches that are known and in the picture."""
        padded = np.pad(self.hole, RADIUS_PX, constant_values=True).astype(np.uint8)
        return np.asarray(_near(padded)[RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX] == 0)

    def holed_patches(self) -> Flags:
        """(h, w) centres of patches that have a pixel in a hole."""
        return _near(self.hole.astype(np.uint8)) > 0


def make_scene(guess: Pixels, hole: Flags) -> Scene:
    """guess: (h, w, 3) sRGB with the holes filled somehow.

    The roughness tells smooth from textured when colours do not (Newson et al., "Video Inpainting", 2014); smaller
    copies keep that of the largest.
    """
    grey = cv2.cvtColor(guess, cv2.COLOR_RGB2GRAY).astype(np.float32)
    inside = np.asarray(cv2.erode((~hole).astype(np.float32), np.ones((3, 3))), np.float32)
    share = _blur(inside) + np.float32(1e-3)
    rough = [_blur(_slope(grey, across) * inside) / share * ROUGHNESS_WEIGHT for across in (1, 0)]
    return Scene(np.dstack([guess.astype(np.float32), *rough]), hole)


def halve_scene(scene: Scene) -> Scene:
    """Half the size, rounded up: means of the known pixels, a hole where fewer than two of four are known."""
    even = [(0, length % 2) for length in scene.hole.shape]
    known = np.pad(~scene.hole, even, mode="edge").astype(np.float32)[..., None]
    values = np.pad(scene.values, (*even, (0, 0)), mode="edge")
    share = _quarter(known)
    hole = share < 0.5
    means = np.where(hole, _quarter(values), _quarter(values * known) / np.maximum(share, np.float32(0.25)))
    return Scene(np.asarray(means, np.float32), hole[..., 0])


def _quarter(values: Floats) -> Floats:
    height, width, channels = values.shape
    return np.asarray(values.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3)), np.float32)


def _near(flags: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.dilate(flags, np.ones((SIDE_PX, SIDE_PX), np.uint8)), np.uint8)


def _slope(grey: Floats, across: int) -> Floats:
    return np.asarray(np.abs(cv2.Sobel(grey, cv2.CV_32F, across, 1 - across, ksize=3, scale=0.25)), np.float32)


def _blur(values: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), ROUGHNESS_SIGMA_PX), np.float32)
