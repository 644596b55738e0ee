"""Plain interpolation where the surroundings are smooth: there the eye sees any error that a network makes."""

import cv2
import numpy as np

from services.inpaint.levels import Floats

FINE_SIGMA_PX, NEAR_SIGMA_PX = 2, 8
SMOOTH_ROUGHNESS = 0.02  # standard deviation, of the 0..1 range, at which interpolation counts little over a third
FEWEST_KNOWN = np.float32(0.01)  # share of known pixels nearby below which nothing can be said of the surroundings
RELAX_SIGMAS_PX = (4, 2, 1)
CALM_FROM_PX, CALM_SIGMA_PX = 6, 4


def prefer_smooth(predicted: Floats, pixels: Floats, hole: Floats) -> Floats:
    """The prediction (h, w, 3), giving way in holes (h, w) to interpolation as the known pixels nearby are smooth."""
    share = _smoothness(pixels, 1 - hole)[..., None]
    return np.asarray(predicted + share * (interpolate(pixels, hole) - predicted), np.float32)


def calm_depths(predicted: Floats, hole: Floats) -> Floats:
    """The prediction (h, w, 3), blurred far from known pixels, where the network's detail is noise."""
    depth_px = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    share = np.clip((depth_px - CALM_FROM_PX) / CALM_FROM_PX, 0, 1, dtype=np.float32)[..., None]
    return np.asarray(predicted + share * (_blur(predicted, CALM_SIGMA_PX) - predicted), np.float32)


def interpolate(pixels: Floats, hole: Floats) -> Floats:
    """Spread the known pixels into the holes, coarse to fine (pull-push of Gortler et al., "The Lumigraph", 1996)."""
    spread = _pull_push(pixels, 1 - hole)
    for sigma_px in RELAX_SIGMAS_PX:
        spread = np.where(hole[..., None] > 0, _blur(spread, sigma_px), pixels)
    return np.asarray(spread, np.float32)


def _pull_push(pixels: Floats, known: Floats) -> Floats:
    height, width = known.shape
    if height * width == 1 or known.all():
        return pixels
    size = ((width + 1) // 2, (height + 1) // 2)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA).reshape(size[::-1])
    sums = cv2.resize(pixels * known[..., None], size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], 3)
    means = sums / np.maximum(share, np.float32(1e-6))[..., None]
    below = _pull_push(np.asarray(means, np.float32), np.asarray(share > 0, np.float32))
    enlarged = cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    return np.asarray(np.where(known[..., None] > 0, pixels, enlarged), np.float32)


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
