"""Known pixels diffused into a hole, which close to its rim beats any network."""

import cv2
import numpy as np

from services.inpaint.levels import Floats

RELAX_SIGMAS_PX = (4, 2, 1)
STEPS = 12  # of conjugate gradients: they carry the rim's slopes a dozen pixels into the hole, and no more counts
RIM_SHARE, RIM_DEPTH_PX = 0.7, 4


def prefer_diffused(predicted: Floats, diffused: Floats, hole: Floats) -> Floats:
    """The prediction (h, w, 3), giving way to diffusion at the rim of holes (h, w), less with each pixel from it."""
    depth_px = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    share = np.float32(RIM_SHARE) * np.exp(-np.maximum(depth_px - 1, 0) / np.float32(RIM_DEPTH_PX))[..., None]
    return np.asarray(predicted + share * (diffused - predicted), np.float32)


def diffuse(pixels: Floats, hole: Floats) -> Floats:
    """Fill the holes so that the picture bends little: biharmonic diffusion (Damelin and Hoang 2018).

    It is begun from a membrane and left after a few steps, as only the rim's surroundings matter.
    """
    inside = hole[..., None]
    filled = interpolate(pixels, hole)
    residual = -_bending(filled) * inside
    direction, error = residual, _dot(residual, residual)
    for _ in range(STEPS):
        bent = _bending(direction) * inside
        curvature = _dot(direction, bent)
        if curvature <= np.finfo(np.float32).tiny:
            break
        filled = filled + error / curvature * direction
        residual = residual - error / curvature * bent
        error, before = _dot(residual, residual), error
        direction = residual + error / before * direction
    return filled


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


def _bending(values: Floats) -> Floats:
    return _laplacian(_laplacian(values))


def _laplacian(values: Floats) -> Floats:
    return np.asarray(cv2.Laplacian(values, cv2.CV_32F, borderType=cv2.BORDER_REFLECT), np.float32)


def _dot(a: Floats, b: Floats) -> np.float32:
    return np.float32(np.vdot(a, b))


def _blur(values: Floats, sigma_px: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma_px), np.float32)
