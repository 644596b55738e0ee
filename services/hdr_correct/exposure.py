"""How a photo is exposed: what is crushed or clipped, how bright it is, and by how much that is wrong."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from services.hdr_correct.floats import Floats, to_unit
from services.hdr_correct.scene import luminance
from services.hdr_correct.schemas import ExposureReading
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.imaging.picture import Picture, Samples

CRUSHED, CLIPPED = 2, 253  # of 255
SAMPLED_PX = 1024
LEAST_SHARE = 0.01  # of the pixels, for their median to say something
LEAST_LIGHT = 1e-6


def read_exposure(picture: Picture, pixels: Samples, ev_error: float | None) -> ExposureReading:
    """Of pixels (h, w, 3) in the picture's colour space, 8 or 16 bits."""
    return ExposureReading(
        crushed_share=_share_between(pixels, 0, CRUSHED),
        clipped_share=1 - _share_between(pixels, 0, CLIPPED - 1),
        mean_luminance=_mean_luminance(picture, pixels),
        ev_error=ev_error,
    )


def estimate_ev_error(photo: Floats, scene: Floats, usable: NDArray[np.bool_]) -> float | None:
    """Median of the stops from the scene, in linear light, to the photo, in sRGB 0..1; (h, w, 3) each."""
    if usable.mean() < LEAST_SHARE:
        return None
    shown, true = luminance(decode_srgb(photo[usable])), luminance(scene[usable])
    stops = np.log2(np.maximum(shown, LEAST_LIGHT) / np.maximum(true, LEAST_LIGHT))
    return round(float(np.median(stops)), 3)


def is_usable(photo: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(h, w): no channel is crushed or clipped."""
    return np.asarray(((photo > CRUSHED) & (photo < CLIPPED)).all(axis=2))


def _share_between(pixels: Samples, low: int, high: int) -> float:
    """Of pixels all of whose channels lie between, in steps of 8 bits."""
    step = int(np.iinfo(pixels.dtype).max) // 255
    inside = cv2.inRange(pixels, (low * step,) * 3, (high * step + step // 2,) * 3)
    return cv2.countNonZero(inside) / inside.size


def regular_sample(pixels: Samples) -> Samples:
    """Of a photo (h, w, 3), less than twice SAMPLED_PX to a side; scaled down it would have lost its extremes."""
    rows, columns = (max(1, side // SAMPLED_PX) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _mean_luminance(picture: Picture, pixels: Samples) -> float:
    light = decode_srgb(to_unit(to_srgb(replace(picture, pixels=regular_sample(pixels)))))
    return min(1.0, float(luminance(light).mean(dtype=np.float64)))
