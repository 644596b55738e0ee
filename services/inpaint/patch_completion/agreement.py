"""Agreement of copies with the known pixels around a hole, which tells continued patterns from similar textures."""

import cv2
import numpy as np

from services.inpaint.compositing.diffusion import interpolate
from services.inpaint.patch_completion.descriptors import PATCH_SIDE_PX
from services.inpaint.patch_completion.onion_peel import ShiftMap
from services.inpaint.pyramid import Floats, PyramidLevel

# Squared error of copies, as a share of the variance around them, up to which they agree fully, and from which not at
# all. Copies of a similar texture that does not continue the known one have an error of about 0.7 or more.
FULL_AGREEMENT, NO_AGREEMENT = 0.1, 0.4
MIN_VARIANCE = 30.0  # in levels of 255, squared: flat surroundings show no pattern that copies could continue
ERROR_SIGMA_PX, VARIANCE_SIGMA_PX = 2, 3


def agreement(photo: PyramidLevel, shifts: ShiftMap) -> Floats:
    """Returns (h, w), in holes: 1 where the copies of the known pixels around are like these, 0 where they differ.

    shifts: of all target patches, whose centres lie up to a patch's radius outside of holes.
    """
    around = _around(photo)
    errors = _copy_errors(photo, shifts, around)
    variance = _variance(photo)
    share = _blur(around, ERROR_SIGMA_PX) + np.float32(1e-4)
    error, typical = (_blur(each * around, ERROR_SIGMA_PX) / share for each in (errors, variance))
    ratio = np.asarray(error / (typical + np.float32(MIN_VARIANCE)), np.float32)
    spread = interpolate(np.repeat((ratio * around)[..., None], 3, 2), 1 - around)[..., 0]
    agreeing = np.clip((NO_AGREEMENT - spread) / (NO_AGREEMENT - FULL_AGREEMENT), 0, 1)
    return np.asarray(agreeing * photo.hole, np.float32)


def _around(photo: PyramidLevel) -> Floats:
    """Returns (h, w) 1 for known pixels within a patch's radius of holes."""
    reach = cv2.dilate(photo.hole, np.ones((PATCH_SIDE_PX, PATCH_SIDE_PX), np.uint8))
    return np.asarray(reach > photo.hole, np.float32)


def _copy_errors(photo: PyramidLevel, shifts: ShiftMap, around: Floats) -> Floats:
    """Returns (h, w) mean squared differences between the pixels around holes and their copies, 0 elsewhere."""
    rows, columns = np.nonzero(around)
    moved = shifts[rows, columns]
    copies = photo.pixels[rows + moved[:, 0], columns + moved[:, 1]].astype(np.float32)
    errors = np.zeros(photo.size, np.float32)
    errors[rows, columns] = np.square(copies - photo.pixels[rows, columns]).mean(1)
    return errors


def _variance(photo: PyramidLevel) -> Floats:
    """Returns (h, w) variances of the known pixels nearby."""
    known = 1 - photo.hole.astype(np.float32)
    share = _blur(known, VARIANCE_SIGMA_PX) + np.float32(1e-4)
    pixels = photo.pixels.astype(np.float32)
    means = _blur(pixels * known[..., None], VARIANCE_SIGMA_PX) / share[..., None]
    return np.asarray(_blur(np.square(pixels - means).mean(2) * known, VARIANCE_SIGMA_PX) / share, np.float32)


def _blur(values: Floats, sigma_px: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma_px), np.float32)
