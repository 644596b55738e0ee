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


def correction_share(shown: Floats, wanted: Floats, *, white_intended: float = 0.0) -> float:
    """The share of a correction to apply, 0..1, from the stops by which it moves regions; sRGB (h, w, 3) in 0..1.

    A photo shows its right exposure to no better than half a stop, so that small corrections of good photos are left
    out. white_intended: certainty that white areas are intended, 0..1.
    """
    stops = _region_stops(wanted) - _region_stops(shown)
    darkens = float(stops.mean()) < 0
    clipped = float((shown.max(axis=2) >= CLIPPED / 255).mean())
    certain = _smoothstep(clipped, CLIPPED_SHARE_DOUBTFUL, CLIPPED_SHARE_CERTAIN) if darkens else 0.0
    none_below = NO_CORRECTION_STOPS + certain * (CLIPPED_NO_CORRECTION_STOPS - NO_CORRECTION_STOPS)
    full_from = FULL_CORRECTION_STOPS + certain * (CLIPPED_FULL_CORRECTION_STOPS - FULL_CORRECTION_STOPS)
    share = _smoothstep(float(np.sqrt(np.mean(stops**2))), none_below, full_from)
    return share * (1 - white_intended) if darkens else share


def white_certainty(pixels: Samples) -> float:
    """The certainty, 0..1, that white areas of a photo (h, w, 3) are intended, from how abruptly they end."""
    sample = to_float(regular_sample(pixels))
    white = sample.min(axis=2) >= CLIPPED / 255
    bright = (sample.max(axis=2) >= BRIGHT) & ~white
    if white.mean() < CLIPPED_SHARE_CERTAIN:
        return 0.0
    return 1 - _smoothstep(float(bright.mean() / white.mean()), INTENDED_RATIO, UNINTENDED_RATIO)


def _smoothstep(value: float, low: float, high: float) -> float:
    """Cubic Hermite interpolation from 0 at `low` to 1 at `high`."""
    share = float(np.clip((value - low) / (high - low), 0, 1))
    return share * share * (3 - 2 * share)


def _region_stops(srgb: Floats) -> Floats:
    height, width = srgb.shape[:2]
    regions = (max(1, width // REGION_PX), max(1, height // REGION_PX))
    means = cv2.resize(luminance(decode_srgb(srgb)), regions, interpolation=cv2.INTER_AREA)
    return np.asarray(np.log2(means + MIN_REGION_LUMINANCE), np.float32)
