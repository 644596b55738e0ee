"""Leaving well-exposed photos alone: nobody can tell from a photo to a third of a stop how bright it should be."""

import cv2
import numpy as np

from services.hdr_correct.floats import Floats
from services.hdr_correct.scene import decode_srgb, luminance

WITHHELD_STOPS, GRANTED_STOPS = 0.3, 0.8
REGION_PX = 16
LEAST_LUMINANCE = 0.01


def grant(shown: Floats, wanted: Floats) -> float:
    """Which share of a correction is worth making, 0..1, by how many stops it moves regions; sRGB (h, w, 3) in 0..1."""
    stops = _region_stops(wanted) - _region_stops(shown)
    moved = float(np.sqrt(np.mean(stops**2)))
    share = float(np.clip((moved - WITHHELD_STOPS) / (GRANTED_STOPS - WITHHELD_STOPS), 0, 1))
    return share * share * (3 - 2 * share)


def _region_stops(srgb: Floats) -> Floats:
    height, width = srgb.shape[:2]
    regions = (max(1, width // REGION_PX), max(1, height // REGION_PX))
    means = cv2.resize(luminance(decode_srgb(srgb)), regions, interpolation=cv2.INTER_AREA)
    return np.asarray(np.log2(means + LEAST_LUMINANCE), np.float32)
