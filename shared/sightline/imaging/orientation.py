"""EXIF orientation: turning pixels from the stored frame into the displayed one and back."""

from collections.abc import Mapping

import cv2
import numpy as np

from sightline.imaging.picture import Samples

_SWAPPING = frozenset({5, 6, 7, 8})
_INVERSE: Mapping[int, int] = {6: 8, 8: 6}
_FLIPS: Mapping[int, int] = {2: 1, 3: -1, 4: 0}
_TURNS: Mapping[int, int] = {6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}


def swaps_sides(orientation: int) -> bool:
    return orientation in _SWAPPING


def to_displayed(samples: Samples, orientation: int) -> Samples:
    """From the stored frame to the one a viewer sees; a contiguous array, the same one for orientation 1."""
    if orientation == 1:
        return np.ascontiguousarray(samples)
    return _turned(samples, orientation)


def to_stored(samples: Samples, orientation: int) -> Samples:
    return to_displayed(samples, _INVERSE.get(orientation, orientation))


def _turned(samples: Samples, orientation: int) -> Samples:
    channels = samples.shape[2:]
    turned = _turned_by_opencv(np.ascontiguousarray(samples), orientation)
    return turned.reshape(*turned.shape[:2], *channels)  # OpenCV drops a last axis of one channel


def _turned_by_opencv(samples: Samples, orientation: int) -> Samples:
    if orientation in _FLIPS:
        return _array(cv2.flip(samples, _FLIPS[orientation]), samples)
    if orientation in _TURNS:
        return _array(cv2.rotate(samples, _TURNS[orientation]), samples)
    transposed = cv2.transpose(samples)
    return _array(transposed if orientation == 5 else cv2.flip(transposed, -1), samples)


def _array(turned: object, like: Samples) -> Samples:
    return np.asarray(turned, like.dtype)
