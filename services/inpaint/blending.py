"""Joining what the network predicts to its surroundings without a visible seam."""

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.levels import Floats

TONE_SIGMA_PX = 16
COLOUR_MARGIN = np.float32(4 / 255)  # by which a fill's colours may leave the range of the known ones
TONE_DAMPING = np.float32(0.01)  # share of known pixels nearby at which the correction has faded by half


def match_surroundings(predicted: Floats, pixels: Floats, hole: Floats) -> Floats:
    """Take from the prediction, all in 0..1, the tone error that it makes on the known pixels nearby.

    The error is smoothed, so that no pixel of the rim runs on into the hole as a streak.
    """
    known = 1 - hole
    errors = cv2.GaussianBlur((pixels - predicted) * known[..., None], (0, 0), TONE_SIGMA_PX)
    share = cv2.GaussianBlur(known, (0, 0), TONE_SIGMA_PX)
    return np.asarray(predicted + errors / (share + TONE_DAMPING)[..., None], np.float32)


# Red, green and blue to lightness and two differences of channels, which are 0 for greys.
OPPONENT = np.array([[1 / 3, 1, 0.5], [1 / 3, -1, 0.5], [1 / 3, 0, -1]], np.float32)


def limit_colours(predicted: Floats, pixels: Floats, hole: Floats) -> Floats:
    """The prediction (h, w, 3) within the range of the known colours, and as grey as they are, but for a margin.

    Networks invent tints where nothing near speaks against them, such as at the corner of a white wall.
    """
    known = pixels[hole == 0]
    if not len(known):
        return predicted
    hues = known @ OPPONENT
    limited = np.clip(predicted @ OPPONENT, hues.min(0) - COLOUR_MARGIN, hues.max(0) + COLOUR_MARGIN)
    colours = limited @ np.linalg.inv(OPPONENT)
    return np.asarray(np.clip(colours, known.min(0) - COLOUR_MARGIN, known.max(0) + COLOUR_MARGIN), np.float32)


def window_weights(side_px: int, ramp_px: int, *, open_edges: tuple[bool, bool, bool, bool]) -> NDArray[np.uint16]:
    """(side, side) weights 1..ramp that fall towards those edges (top, bottom, left, right) that are open."""
    rows = _ramp(side_px, ramp_px, open_edges[0], open_edges[1])
    return np.minimum(rows[:, None], _ramp(side_px, ramp_px, open_edges[2], open_edges[3])[None])


def _ramp(side_px: int, ramp_px: int, first: bool, last: bool) -> NDArray[np.uint16]:
    rising = np.minimum(np.arange(1, side_px + 1, dtype=np.uint16), ramp_px).astype(np.uint16)
    flat = np.full(side_px, ramp_px, np.uint16)
    return np.minimum(rising if first else flat, rising[::-1] if last else flat)
