"""Seam blending: tone, colours and smoothness of a prediction are matched to the known pixels around a hole."""

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.pyramid import Floats

TONE_SIGMA_PX = 16
COLOUR_MARGIN = np.float32(4 / 255)  # by which predicted colours may leave the range of the known ones
TONE_DAMPING = np.float32(0.01)  # share of known pixels nearby at which the correction has faded by half
# Opponent colours: from red, green and blue to lightness and two differences of channels, which are 0 for greys.
OPPONENT = np.array([[1 / 3, 1, 0.5], [1 / 3, -1, 0.5], [1 / 3, 0, -1]], np.float32)

FINE_SIGMA_PX, NEAR_SIGMA_PX = 2, 8
SMOOTH_ROUGHNESS = 0.02  # standard deviation, of the range 0..1, at which the smoothness has fallen to 1 / e
MIN_KNOWN_SHARE = np.float32(0.01)  # of pixels nearby; with fewer known ones the surroundings count as rough
INTERIOR_FROM_PX, INTERIOR_SIGMA_PX = 6, 4


def match_tone(predicted: Floats, pixels: Floats, hole: Floats) -> Floats:
    """Subtracts the tone error that the prediction makes on known pixels nearby; all in 0..1.

    The error is blurred, so that no pixel of the rim continues into the hole as a streak.
    """
    known = 1 - hole
    errors = cv2.GaussianBlur((pixels - predicted) * known[..., None], (0, 0), TONE_SIGMA_PX)
    share = cv2.GaussianBlur(known, (0, 0), TONE_SIGMA_PX)
    return np.asarray(predicted + errors / (share + TONE_DAMPING)[..., None], np.float32)


def clamp_colours(predicted: Floats, pixels: Floats, hole: Floats) -> Floats:
    """Clamps the prediction (h, w, 3) to the range of the known colours and to their saturation, with a margin.

    Networks invent tints where no known pixel is near, such as in the corner of a white wall.
    """
    known = pixels[hole == 0]
    if not len(known):
        return predicted
    opponents = known @ OPPONENT
    clamped = np.clip(predicted @ OPPONENT, opponents.min(0) - COLOUR_MARGIN, opponents.max(0) + COLOUR_MARGIN)
    colours = clamped @ np.linalg.inv(OPPONENT)
    return np.asarray(np.clip(colours, known.min(0) - COLOUR_MARGIN, known.max(0) + COLOUR_MARGIN), np.float32)


def blend_smooth_areas(predicted: Floats, diffused: Floats, pixels: Floats, hole: Floats) -> Floats:
    """Blends the prediction (h, w, 3) into diffusion where the known pixels nearby are smooth.

    Errors of the network are most visible there.
    """
    share = _smoothness(pixels, 1 - hole)[..., None]
    return np.asarray(predicted + share * (diffused - predicted), np.float32)


def smooth_interior(predicted: Floats, hole: Floats) -> Floats:
    """Blurs the prediction (h, w, 3) far from known pixels, where the network's detail is noise."""
    depth_px = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    share = np.clip((depth_px - INTERIOR_FROM_PX) / INTERIOR_FROM_PX, 0, 1, dtype=np.float32)[..., None]
    return np.asarray(predicted + share * (_blur(predicted, INTERIOR_SIGMA_PX) - predicted), np.float32)


def window_weights(side_px: int, ramp_px: int, *, open_edges: tuple[bool, bool, bool, bool]) -> NDArray[np.uint16]:
    """Returns (side, side) weights 1..ramp that fall towards the open ones of the edges top, bottom, left, right."""
    rows = _ramp(side_px, ramp_px, open_edges[0], open_edges[1])
    return np.minimum(rows[:, None], _ramp(side_px, ramp_px, open_edges[2], open_edges[3])[None])


def _ramp(side_px: int, ramp_px: int, first: bool, last: bool) -> NDArray[np.uint16]:
    rising = np.minimum(np.arange(1, side_px + 1, dtype=np.uint16), ramp_px).astype(np.uint16)
    flat = np.full(side_px, ramp_px, np.uint16)
    return np.minimum(rising if first else flat, rising[::-1] if last else flat)


def _smoothness(pixels: Floats, known: Floats) -> Floats:
    """Returns (h, w) in 0..1: 1 where the known pixels nearby differ little from their own blur."""
    weight = _blur(known, FINE_SIGMA_PX) + np.float32(1e-4)
    means = _blur(pixels * known[..., None], FINE_SIGMA_PX) / weight[..., None]
    variance = np.square(pixels - means).mean(2) * known
    near = _blur(known, NEAR_SIGMA_PX)
    roughness = np.sqrt(_blur(variance, NEAR_SIGMA_PX) / (near + np.float32(1e-6)))
    return np.asarray(np.exp(-roughness / SMOOTH_ROUGHNESS) * near / (near + MIN_KNOWN_SHARE), np.float32)


def _blur(values: Floats, sigma_px: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma_px), np.float32)
