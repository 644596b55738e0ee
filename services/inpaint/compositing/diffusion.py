"""Harmonic and biharmonic interpolation of holes, which beats networks close to the rim of a hole."""

import cv2
import numpy as np

from services.inpaint.pyramid import Floats

RELAX_SIGMAS_PX = (4, 2, 1)
ITERATIONS = 12  # of conjugate gradients: they carry the rim's gradients a dozen pixels into the hole
MIN_HALVED_DEPTH_PX = 6  # in shallower holes the iterations reach the middle at full size
MIN_KNOWN_SHARE = 0.5  # of the pixels under a known pixel of half the size
RIM_SHARE, RIM_DEPTH_PX = 0.7, 4


def blend_rim(predicted: Floats, diffused: Floats, hole: Floats) -> Floats:
    """Blends the prediction (h, w, 3) into diffusion at the rim of holes (h, w), fading with depth."""
    depth_px = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    share = np.float32(RIM_SHARE) * np.exp(-np.maximum(depth_px - 1, 0) / np.float32(RIM_DEPTH_PX))[..., None]
    return np.asarray(predicted + share * (diffused - predicted), np.float32)


def biharmonic_fill(pixels: Floats, hole: Floats) -> Floats:
    """Fills holes by biharmonic diffusion (Damelin and Hoang 2018), which continues gradients.

    Starts from the fill at half the size, and stops after a few iterations.
    """
    inside = hole[..., None]
    filled = _begin(pixels, hole)
    residual = -_bilaplacian(filled) * inside
    direction, error = residual, _dot(residual, residual)
    for _ in range(ITERATIONS):
        curved = _bilaplacian(direction) * inside
        curvature = _dot(direction, curved)
        if curvature <= np.finfo(np.float32).tiny:
            break
        filled = filled + error / curvature * direction
        residual = residual - error / curvature * curved
        error, before = _dot(residual, residual), error
        direction = residual + error / before * direction
    return filled


def _begin(pixels: Floats, hole: Floats) -> Floats:
    """Fills holes by diffusion at half the size, where the same iterations reach twice as far."""
    means, share = _halve(pixels, 1 - hole)
    missing = np.asarray(share < MIN_KNOWN_SHARE, np.float32)
    if missing.all() or cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3).max() <= MIN_HALVED_DEPTH_PX:
        return interpolate(pixels, hole)
    below = biharmonic_fill(means, missing)
    enlarged = cv2.resize(below, hole.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.where(hole[..., None] > 0, enlarged, pixels), np.float32)


def interpolate(pixels: Floats, hole: Floats) -> Floats:
    """Interpolates holes coarse to fine by pull-push (Gortler et al., "The Lumigraph", 1996), then blurs them."""
    spread = _pull_push(pixels, 1 - hole)
    for sigma_px in RELAX_SIGMAS_PX:
        spread = np.where(hole[..., None] > 0, _blur(spread, sigma_px), pixels)
    return np.asarray(spread, np.float32)


def _pull_push(pixels: Floats, known: Floats) -> Floats:
    height, width = known.shape
    if height * width == 1 or known.all():
        return pixels
    means, share = _halve(pixels, known)
    below = _pull_push(means, np.asarray(share > 0, np.float32))
    enlarged = cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    return np.asarray(np.where(known[..., None] > 0, pixels, enlarged), np.float32)


def _halve(pixels: Floats, known: Floats) -> tuple[Floats, Floats]:
    """Returns (h / 2, w / 2, 3) means of known pixels, and the share (h / 2, w / 2) of pixels that are known."""
    size = ((known.shape[1] + 1) // 2, (known.shape[0] + 1) // 2)
    share = cv2.resize(known, size, interpolation=cv2.INTER_AREA).reshape(size[::-1])
    sums = cv2.resize(pixels * known[..., None], size, interpolation=cv2.INTER_AREA).reshape(*size[::-1], 3)
    return np.asarray(sums / np.maximum(share, np.float32(1e-6))[..., None], np.float32), np.asarray(share, np.float32)


def _bilaplacian(values: Floats) -> Floats:
    return _laplacian(_laplacian(values))


def _laplacian(values: Floats) -> Floats:
    return np.asarray(cv2.Laplacian(values, cv2.CV_32F, borderType=cv2.BORDER_REFLECT), np.float32)


def _dot(a: Floats, b: Floats) -> np.float32:
    return np.float32(np.vdot(a, b))


def _blur(values: Floats, sigma_px: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma_px), np.float32)
