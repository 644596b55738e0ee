"""Map of the pixels whose content a correction made up."""

import cv2
import numpy as np
from numpy.typing import NDArray

from services.hdr_correct.exposure import CLIPPED, CRUSHED
from sightline.imaging.bit_depth import quantize
from sightline.imaging.picture import Picture, Samples

SYNTHESISED = 255
BAND_ROWS = 256
"""Rows at a time, so that large photos need no temporary arrays of their size."""


def synthesised_map(picture: Picture, pixels: Samples) -> NDArray[np.uint8]:
    """Map (h, w) with 255 where the photo is clipped or crushed and the correction changed it.

    pixels: the corrected photo (h, w, 3). Such a pixel had no detail, so that its content is a guess.
    """
    step = int(np.iinfo(picture.pixels.dtype).max) // 255
    darkest, brightest = CRUSHED * step + step // 2, (CLIPPED - 1) * step + step // 2
    result = np.empty(pixels.shape[:2], np.uint8)
    for top in range(0, len(result), BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        before, after = picture.pixels[rows], pixels[rows]
        is_crushed, is_not_clipped = _all_between(before, darkest), _all_between(before, brightest)
        is_unchanged = _all_between(np.asarray(cv2.absdiff(quantize(before, after.dtype), after), after.dtype), 0)
        result[rows] = (is_crushed | ~is_not_clipped) & ~is_unchanged
    return result


def _all_between(samples: Samples, high: int) -> NDArray[np.uint8]:
    """Returns 255 for pixels with all channels in 0..high, else 0."""
    return np.asarray(cv2.inRange(samples, (0, 0, 0), (high, high, high)), np.uint8)
