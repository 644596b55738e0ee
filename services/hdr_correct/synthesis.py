"""Map of the pixels whose content a correction made up."""

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
    result = np.zeros(pixels.shape[:2], np.uint8)
    step = int(np.iinfo(picture.pixels.dtype).max) // 255
    darkest, brightest = CRUSHED * step + step // 2, (CLIPPED - 1) * step + step // 2
    for top in range(0, len(result), BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        before, after = picture.pixels[rows], pixels[rows]
        maximum = before.max(axis=2)
        is_lost = (maximum > brightest) | (maximum <= darkest)
        result[rows][is_lost] = SYNTHESISED * (quantize(before[is_lost], after.dtype) != after[is_lost]).any(axis=1)
    return result
