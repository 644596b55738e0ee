"""Exposure of a photo: crushed and clipped pixels, brightness, error in stops, and how much correction to apply."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from services.hdr_correct.scene import luminance
from services.hdr_correct.schemas import ExposureReading
from sightline.imaging.bit_depth import Floats, to_float
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.imaging.picture import Picture, Samples

CRUSHED, CLIPPED = 2, 253
"""Of 255. A pixel is crushed if all its channels are at most the first, clipped if one is at least the second."""
SAMPLED_PX = 1024  # enough for means and shares, at a bounded cost for photos of any size
MIN_USABLE_SHARE = 0.01
"""Share of usable pixels below which their median is meaningless."""
MIN_LIGHT = 1e-6  # keeps logarithms finite

NO_CORRECTION_STOPS, FULL_CORRECTION_STOPS = 0.4, 0.9
CLIPPED_NO_CORRECTION_STOPS, CLIPPED_FULL_CORRECTION_STOPS = 0.1, 0.4
"""Bounds for photos with many clipped pixels, which are overexposed whatever the network says."""
CLIPPED_SHARE_DOUBTFUL, CLIPPED_SHARE_CERTAIN = 0.03, 0.1
"""Shares of clipped pixels: up to the first they occur in good photos too, from the second hardly ever."""
BRIGHT = 215 / 255
INTENDED_RATIO, UNINTENDED_RATIO = 0.1, 0.25
"""Bright pixels for each white one. Around overexposed lights and skies the brightness falls off gradually; the white
of a page or of a product photo ends abruptly."""
PLATEAU_DOUBTFUL, PLATEAU_CERTAIN = 0.006, 0.02
"""Shares of clipped pixels beyond those of a histogram that ends by itself. One stop of overexposure gives 0.03 in the
median of photos, and unclipped snow, paper and clouds give 0 or less."""
PLATEAU, BELOW_PLATEAU, CONTINUED = 254, 246, 0.6
"""Codes from which clipping heaps up pixels, and of the range below; a histogram that ends by itself has at most this
share of the range in the heap."""
PALE = 48 / 255
"""Range of the channels below which a colour is a white."""
DARKEST_SHARE, PALE_THROUGHOUT = 0.05, (115 / 255, 150 / 255)
"""Smallest channel of the darkest twentieth from which a photo is pale all over. Two stops of overexposure leave darker
shadows in nearly every photo."""
PALE_PLATEAUS = (0.15, 0.3)
"""Clipped shares: up to the first a pale photo is bright by nature, from the second it is overexposed."""
BRIGHTENING_STOPS = 0.1
"""Brightening from which a pixel's correction counts as brightening in full."""
REGION_PX = 16
MIN_REGION_LUMINANCE = 0.01


def read_exposure(picture: Picture, pixels: Samples, ev_error: float | None) -> ExposureReading:
    """The exposure of pixels (h, w, 3) in the picture's colour space, 8 or 16 bits."""
    return ExposureReading(
        crushed_share=_share_between(pixels, 0, CRUSHED),
        clipped_share=1 - _share_between(pixels, 0, CLIPPED - 1),
        mean_luminance=_mean_luminance(picture, pixels),
        ev_error=ev_error,
    )


def estimate_ev_error(photo: Floats, scene: Floats, usable: NDArray[np.bool_]) -> float | None:
    """The median of the stops from the scene, in linear light, to the photo, in sRGB 0..1; (h, w, 3) each."""
    if usable.mean() < MIN_USABLE_SHARE:
        return None
    shown, true = luminance(decode_srgb(photo[usable])), luminance(scene[usable])
    stops = np.log2(np.maximum(shown, MIN_LIGHT) / np.maximum(true, MIN_LIGHT))
    return round(float(np.median(stops)), 3)


def is_usable(photo: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(h, w): whether no channel of a pixel is crushed or clipped."""
    return np.asarray(((photo > CRUSHED) & (photo < CLIPPED)).all(axis=2))


def _share_between(pixels: Samples, low: int, high: int) -> float:
    """The share of pixels with all channels in low..high, in steps of 8 bits."""
    step = int(np.iinfo(pixels.dtype).max) // 255
    inside = cv2.inRange(pixels, (low * step,) * 3, (high * step + step // 2,) * 3)
    return cv2.countNonZero(inside) / inside.size


def regular_sample(pixels: Samples) -> Samples:
    """Every n-th pixel of a photo (h, w, 3), so that its sides are below twice SAMPLED_PX.

    Unlike resizing, this keeps the extremes.
    """
    rows, columns = (max(1, side // SAMPLED_PX) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _mean_luminance(picture: Picture, pixels: Samples) -> float:
    light = decode_srgb(to_float(to_srgb(replace(picture, pixels=regular_sample(pixels)))))
    return min(1.0, float(luminance(light).mean(dtype=np.float64)))


def overexposure_certainty(pixels: Samples) -> float:
    """The certainty, 0..1, that a photo (h, w, 3) is overexposed: it has clipped areas, and they are not intended.

    A bright photo without clipped areas, such as snow or paper, shows its subject completely and is not overexposed.
    """
    sample = to_float(regular_sample(pixels))
    plateau = _clipped_plateau(sample)
    clipping = _smoothstep(plateau, PLATEAU_DOUBTFUL, PLATEAU_CERTAIN)
    if clipping == 0:
        return 0.0
    pale = _paleness(sample) * (1 - _smoothstep(plateau, *PALE_PLATEAUS))
    return clipping * (1 - max(white_certainty(sample), pale))


def _paleness(sample: Floats) -> float:
    """The certainty, 0..1, that a photo (h, w, 3) is pale all over, such as clouds, which exposure does not explain."""
    return _smoothstep(float(np.quantile(sample.min(axis=2), DARKEST_SHARE)), *PALE_THROUGHOUT)


def _clipped_plateau(sample: Floats) -> float:
    """The share of pixels that clipping heaps up; 0 or negative for a bright histogram that ends by itself."""
    lowest, middle, highest = (np.sort(sample, axis=2)[..., rank] for rank in range(3))
    # Cream paper reaches the end of the red channel alone.
    level = np.where(highest - lowest > PALE, highest, middle)
    codes = np.bincount(np.rint(255 * level).astype(np.uint8).ravel(), minlength=256) / level.size
    piled_up = codes[PLATEAU:].sum() - CONTINUED * codes[BELOW_PLATEAU:PLATEAU].sum()
    # Some encoders end at 253, with a sudden peak there.
    return float(max(piled_up, codes[PLATEAU - 1] - 2 * codes[PLATEAU - 2]))


def white_certainty(sample: Floats) -> float:
    """The certainty, 0..1, that white areas of a photo (h, w, 3) are intended, from how abruptly they end."""
    white = sample.min(axis=2) >= CLIPPED / 255
    bright = (sample.max(axis=2) >= BRIGHT) & ~white
    if white.mean() < CLIPPED_SHARE_CERTAIN:
        return 0.0
    return 1 - _smoothstep(float(bright.mean() / white.mean()), INTENDED_RATIO, UNINTENDED_RATIO)


def without_darkening(shown: Floats, wanted: Floats, *, overexposed: float) -> Floats:
    """A correction (h, w, 3) with only the share `overexposed` of its darkening; sRGB in 0..1."""
    gains = np.log2(
        (luminance(decode_srgb(wanted)) + MIN_REGION_LUMINANCE) / (luminance(decode_srgb(shown)) + MIN_REGION_LUMINANCE)
    )
    kept = overexposed + (1 - overexposed) * np.clip(gains / BRIGHTENING_STOPS, 0, 1)
    return np.asarray(shown + kept[..., None] * (wanted - shown), np.float32)


def correction_share(shown: Floats, wanted: Floats) -> float:
    """The share of a correction to apply, 0..1, from the stops by which it moves regions; sRGB (h, w, 3) in 0..1.

    A photo shows its right exposure to no better than half a stop, so that small corrections of good photos are left
    out.
    """
    stops = _region_stops(wanted) - _region_stops(shown)
    darkens = float(stops.mean()) < 0
    clipped = float((shown.max(axis=2) >= CLIPPED / 255).mean())
    certain = _smoothstep(clipped, CLIPPED_SHARE_DOUBTFUL, CLIPPED_SHARE_CERTAIN) if darkens else 0.0
    none_below = NO_CORRECTION_STOPS + certain * (CLIPPED_NO_CORRECTION_STOPS - NO_CORRECTION_STOPS)
    full_from = FULL_CORRECTION_STOPS + certain * (CLIPPED_FULL_CORRECTION_STOPS - FULL_CORRECTION_STOPS)
    return _smoothstep(float(np.sqrt(np.mean(stops**2))), none_below, full_from)


def _smoothstep(value: float, low: float, high: float) -> float:
    """Cubic Hermite interpolation from 0 at `low` to 1 at `high`."""
    share = float(np.clip((value - low) / (high - low), 0, 1))
    return share * share * (3 - 2 * share)


def _region_stops(srgb: Floats) -> Floats:
    height, width = srgb.shape[:2]
    regions = (max(1, width // REGION_PX), max(1, height // REGION_PX))
    means = cv2.resize(luminance(decode_srgb(srgb)), regions, interpolation=cv2.INTER_AREA)
    return np.asarray(np.log2(means + MIN_REGION_LUMINANCE), np.float32)
