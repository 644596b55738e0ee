"""Images of colours and texture features, in which patches are compared (Newson et al. 2014)."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.patch_completion.descriptors import PATCH_RADIUS_PX, PATCH_SIDE_PX
from services.inpaint.pyramid import Floats, Pixels

COLOUR_CHANNELS = 3
TEXTURE_WEIGHT = 3.0  # of a gradient of one level of 255 per pixel, relative to a colour difference of one level
TEXTURE_SIGMA_PX = 3

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureImage:
    """One level of the pyramid on which holes are completed.

    values: (h, w, channels), three colours in 0..255, then horizontal and vertical texture; hole: (h, w). In holes the
    colours are a guess and the texture has no meaning.
    """

    values: Floats
    hole: Mask

    @property
    def longer_side_px(self) -> int:
        return int(max(self.hole.shape))

    def hole_depth_px(self) -> Floats:
        """Returns (h, w) distances to the nearest known pixel."""
        return np.asarray(cv2.distanceTransform(self.hole.astype(np.uint8), cv2.DIST_L2, 3), np.float32)

    def source_mask(self) -> Mask:
        """Returns (h, w) centres of source patches, which are known and inside the image."""
        padded = np.pad(self.hole, PATCH_RADIUS_PX, constant_values=True).astype(np.uint8)
        inside = slice(PATCH_RADIUS_PX, -PATCH_RADIUS_PX)
        return np.asarray(_dilate(padded)[inside, inside] == 0)

    def target_mask(self) -> Mask:
        """Returns (h, w) centres of target patches, which have a pixel in a hole."""
        return _dilate(self.hole.astype(np.uint8)) > 0


def extract_features(guess: Pixels, hole: Mask) -> FeatureImage:
    """Computes the texture features of a guess: (h, w, 3) sRGB with its holes filled by a coarser method.

    Texture distinguishes smooth from textured areas of the same colour. Smaller levels keep that of the largest.
    """
    grey = cv2.cvtColor(guess, cv2.COLOR_RGB2GRAY).astype(np.float32)
    known = np.asarray(cv2.erode((~hole).astype(np.float32), np.ones((3, 3))), np.float32)
    share = _blur(known) + np.float32(1e-3)
    texture = [_blur(_gradient(grey, across) * known) / share * TEXTURE_WEIGHT for across in (1, 0)]
    return FeatureImage(np.dstack([guess.astype(np.float32), *texture]), hole)


def halve_features(image: FeatureImage) -> FeatureImage:
    """Returns half the size, rounded up: means of the known pixels, a hole where fewer than two of four are known."""
    padding = [(0, length % 2) for length in image.hole.shape]
    known = np.pad(~image.hole, padding, mode="edge").astype(np.float32)[..., None]
    values = np.pad(image.values, (*padding, (0, 0)), mode="edge")
    share = _mean_of_four(known)
    hole = share < 0.5
    known_means = _mean_of_four(values * known) / np.maximum(share, np.float32(0.25))
    means = np.where(hole, _mean_of_four(values), known_means)
    return FeatureImage(np.asarray(means, np.float32), hole[..., 0])


def _mean_of_four(values: Floats) -> Floats:
    height, width, channels = values.shape
    return np.asarray(values.reshape(height // 2, 2, width // 2, 2, channels).mean((1, 3)), np.float32)


def _dilate(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.dilate(mask, np.ones((PATCH_SIDE_PX, PATCH_SIDE_PX), np.uint8)), np.uint8)


def _gradient(grey: Floats, across: int) -> Floats:
    return np.asarray(np.abs(cv2.Sobel(grey, cv2.CV_32F, across, 1 - across, ksize=3, scale=0.25)), np.float32)


def _blur(values: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), TEXTURE_SIGMA_PX), np.float32)
