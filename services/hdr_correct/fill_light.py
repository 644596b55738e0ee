"""Fill light: lifts the dark regions of a photo that has bright regions beside them, such as a building before a sky.

A base layer without texture (guided filter, He et al. 2010) is compressed below middle grey, as in Durand and Dorsey
2002, so that texture keeps its contrast and edges between dark and bright regions get no halos.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from services.hdr_correct.scene import luminance
from sightline.imaging.bit_depth import Floats
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb, encode_srgb

MIN_LIGHT = 2e-4  # keeps logarithms finite; below the light of code 1
RADIUS_SHARE = 1 / 8
"""Radius of the base layer's window, as a share of the photo's side: smaller shadows are texture."""
TEXTURE_STOPS = 0.5
"""Contrast that the base layer treats as texture. A skyline has four stops or more."""


def _stops(code: float) -> float:
    """Luminance of an sRGB code of 0..255, in stops below white."""
    return float(np.log2(decode_srgb(np.array(code / 255))))


DARK, BRIGHT = _stops(55), _stops(140)
"""Dark and bright regions: below the first and above the second."""
SOFTNESS_STOPS = 0.5
LOW, MIDDLE, HIGH = 0.25, 0.6, 0.9
"""Quantiles of the base layer that describe a photo's tones."""
TYPICAL_EXTREMES = 0.6
STOPS_PER_EXTREMES = 4.0
GAP_STOPS = (5.6, 6.6)
"""A photo has two groups of tones from the first number on, in full from the second: stops from the low to the high
quantile, and more where dark and bright regions together have more than their typical share. Well-exposed photos have
2.3 stops in the median, and nine of ten have at most 4.1."""
BLOCKS = 8
MAX_SPREAD_STOPS = 3.0
WEIGHTS = np.array([6.048, -3.712, -1.065, 2.888])
BIAS = -2.918
"""Logistic regression of backlit views against well-exposed photos, on contrast between blocks, spread, and the middle
and high quantiles, all in stops."""
CERTAINTIES = (0.3, 0.85)
"""Of the regression: below the first a photo is not backlit, from the second it is."""
GOAL = _stops(90)
"""Brightness that the lift aims at for the mean of the dark regions, before `COMPRESSION` takes some of it away."""
UNTOUCHED = _stops(135)
"""Regions at least this bright are not lifted."""
COMPRESSION = 0.72
"""Share of a region's depth below `UNTOUCHED` that the lift may take away; below 1 keeps the order of brightness."""
MAX_LIFT_STOPS = 3.0
BLACK, DEEPEST_USABLE = _stops(2.5), _stops(9)
"""In the photo as taken: below the first a region shows only noise and is not lifted; from the second fully."""


@dataclass(frozen=True, slots=True, eq=False)
class FillLight:
    """Lift of each pixel (h, w) in stops, and the largest lift that the photo as a whole allows."""

    stops: Floats
    max_stops: float

    def apply(self, srgb: Floats) -> Floats:
        """sRGB (h, w, 3) in 0..1 with the lift; hues stay."""
        light = decode_srgb(srgb) * np.exp2(self.stops)[..., None]
        return np.asarray(encode_srgb(np.clip(light, 0, 1)), np.float32)


def fill_light(exposed: Floats, shown: Floats) -> FillLight:
    """The fill light for a photo in its corrected exposure; `shown` is the photo as taken, sRGB (h, w, 3) in 0..1."""
    base = base_layer(exposed)
    dark = 1 - _soft_step(base, DARK)
    backlit = backlight(base)
    if backlit == 0:
        return FillLight(np.zeros_like(base), 0.0)
    usable = _ramp(base_layer(shown), BLACK, DEEPEST_USABLE)
    depth = GOAL - float(np.average(base, weights=dark * usable + 1e-6))
    most = float(backlit * np.clip(depth, 0, MAX_LIFT_STOPS))
    if most <= 0:
        return FillLight(np.zeros_like(base), 0.0)
    # The deepest regions get a uniform lift, which keeps the contrast between them.
    lift = most * np.tanh(COMPRESSION * np.maximum(UNTOUCHED - base, 0) / most) * usable
    return FillLight(np.asarray(lift, np.float32), most)


def backlight(base: Floats) -> float:
    """The certainty, 0..1, that a photo with this base layer is backlit: by its histogram, or by its regions."""
    low, middle, high = np.quantile(base, (LOW, MIDDLE, HIGH))
    extreme = float(((base < DARK) | (base > BRIGHT)).mean())
    gap = float(high - low) + STOPS_PER_EXTREMES * (extreme - TYPICAL_EXTREMES)
    features = np.array([_block_contrast(base), base.std(), middle, high])
    regions = _ramp(1 / (1 + np.exp(-float(WEIGHTS @ features) - BIAS)), *CERTAINTIES)
    return float(max(_ramp(gap, *GAP_STOPS), regions))


def _block_contrast(base: Floats) -> float:
    """Stops by which large blocks of a photo differ: high for a building before a sky, low for leaves before it."""
    blocks = cv2.resize(base, (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA)
    return float(blocks.var() / max(base.var(), 1e-3) * min(base.std(), MAX_SPREAD_STOPS))


def base_layer(srgb: Floats) -> Floats:
    """Stops of luminance (h, w) of a photo without its texture."""
    stops = np.log2(luminance(decode_srgb(srgb)) + np.float32(MIN_LIGHT))
    window = (2 * round(stops.shape[1] * RADIUS_SHARE) + 1, 2 * round(stops.shape[0] * RADIUS_SHARE) + 1)
    mean = _box(stops, window)
    variance = np.maximum(_box(stops * stops, window) - mean * mean, 0)
    kept = np.asarray(variance / (variance + np.float32(TEXTURE_STOPS**2)), np.float32)
    offset = np.asarray(mean - kept * mean, np.float32)
    return np.asarray(_box(kept, window) * stops + _box(offset, window), np.float32)


def _box(values: Floats, window: tuple[int, int]) -> Floats:
    return np.asarray(cv2.blur(values, window, borderType=cv2.BORDER_REFLECT), np.float32)


def _soft_step(stops: Floats, edge: float) -> Floats:
    return _ramp(stops, edge - SOFTNESS_STOPS, edge + SOFTNESS_STOPS)


def _ramp(values: Floats | float, low: float, high: float) -> Floats:
    """Cubic Hermite interpolation from 0 at `low` to 1 at `high`."""
    share = np.clip((np.asarray(values, np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)
