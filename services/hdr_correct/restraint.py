"""Leaving well-exposed photos alone: nobody can tell from a photo to half a stop how bright it should be."""

import cv2
import numpy as np

from services.hdr_correct.exposure import regular_sample
from services.hdr_correct.floats import Floats, to_unit
from services.hdr_correct.scene import luminance
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.imaging.picture import Samples

WITHHELD_STOPS, GRANTED_STOPS = 0.4, 0.9
CLIPPED_WITHHELD_STOPS, CLIPPED_GRANTED_STOPS = 0.1, 0.4
"""Where much is clipped the photo itself says that it is too bright, and less is asked of the network."""
CLIPPED = 253 / 255
DOUBTED_SHARE, TRUSTED_SHARE = 0.03, 0.1
"""Clipped pixels: so many are in good photos as well, and so many hardly ever."""
BRIGHT = 215 / 255
MEANT_RATIO, UNMEANT_RATIO = 0.1, 0.25
"""Bright pixels for each white one. Around lights and skies that are too bright the light falls off gradually; the
white of a page or of a thing on white ends where it ends."""
REGION_PX = 16
LEAST_LUMINANCE = 0.01


def grant(shown: Floats, wanted: Floats, *, meant: float = 0.0) -> float:
    """Which share of a correction is worth making, 0..1, by how many stops it moves regions; sRGB (h, w, 3) in 0..1.

    meant: how sure it is that what is white is meant to be, 0..1.
    """
    stops = _region_stops(wanted) - _region_stops(shown)
    darkens = float(stops.mean()) < 0
    sure = _rise(float((shown.max(axis=2) >= CLIPPED).mean()), DOUBTED_SHARE, TRUSTED_SHARE) if darkens else 0.0
    withheld = WITHHELD_STOPS + sure * (CLIPPED_WITHHELD_STOPS - WITHHELD_STOPS)
    granted = GRANTED_STOPS + sure * (CLIPPED_GRANTED_STOPS - GRANTED_STOPS)
    share = _rise(float(np.sqrt(np.mean(stops**2))), withheld, granted)
    return share * (1 - meant) if darkens else share


def meant_white(pixels: Samples) -> float:
    """How sure it is that what is white in a photo (h, w, 3) is meant to be, 0..1, by how abruptly it ends."""
    sample = to_unit(regular_sample(pixels))
    white = sample.min(axis=2) >= CLIPPED
    bright = (sample.max(axis=2) >= BRIGHT) & ~white
    if white.mean() < TRUSTED_SHARE:
        return 0.0
    return 1 - _rise(float(bright.mean() / white.mean()), MEANT_RATIO, UNMEANT_RATIO)


def _rise(value: float, low: float, high: float) -> float:
    """Smoothly from 0 at `low` to 1 at `high`."""
    share = float(np.clip((value - low) / (high - low), 0, 1))
    return share * share * (3 - 2 * share)


def _region_stops(srgb: Floats) -> Floats:
    height, width = srgb.shape[:2]
    regions = (max(1, width // REGION_PX), max(1, height // REGION_PX))
    means = cv2.resize(luminance(decode_srgb(srgb)), regions, interpolation=cv2.INTER_AREA)
    return np.asarray(np.log2(means + LEAST_LUMINANCE), np.float32)
