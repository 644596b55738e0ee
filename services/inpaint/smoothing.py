"""Plain diffusion where the surroundings are smooth: there the eye sees any error that a network makes."""

import cv2
import numpy as np

from services.inpaint.levels import Floats

FINE_SIGMA_PX, NEAR_SIGMA_PX = 2, 8
SMOOTH_ROUGHNESS = 0.02  # standard deviation, of the 0..1 range, at which diffusion counts little over a third
FEWEST_KNOWN = np.float32(0.01)  # share of known pixels nearby below which nothing can be said of the surroundings
CALM_FROM_PX, CALM_SIGMA_PX = 6, 4


def prefer_smooth(predicted: Floats, diffused: Floats, pixels: Floats, hole: Floats) -> Floats:
    """The prediction (h, w, 3), giving way in holes (h, w) to diffusion as the known pixels nearby are smooth."""
    share = _smoothness(pixels, 1 - hole)[..., None]
    return np.asarray(predicted + share * (diffused - predicted), np.float32)


def calm_depths(predicted: Floats, hole: Floats) -> Floats:
    """The prediction (h, w, 3), blurred far from known pixels, where the network's detail is noise."""
    depth_px = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    share = np.clip((depth_px - CALM_FROM_PX) / CALM_FROM_PX, 0, 1, dtype=np.float32)[..., None]
    return np.asarray(predicted + share * (_blur(predicted, CALM_SIGMA_PX) - predicted), np.float32)


def _smoothness(pixels: Floats, known: Floats) -> Floats:
    """(h, w) in 0..1: 1 where the known pixels nearby differ little from their own blur."""
    weight = _blur(known, FINE_SIGMA_PX) + np.float32(1e-4)
    means = _blur(pixels * known[..., None], FINE_SIGMA_PX) / weight[..., None]
    variance = np.square(pixels - means).mean(2) * known
    near = _blur(known, NEAR_SIGMA_PX)
    roughness = np.sqrt(_blur(variance, NEAR_SIGMA_PX) / (near + np.float32(1e-6)))
    return np.asarray(np.exp(-roughness / SMOOTH_ROUGHNESS) * near / (near + FEWEST_KNOWN), np.float32)


def _blur(values: Floats, sigma_px: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma_px), np.float32)
