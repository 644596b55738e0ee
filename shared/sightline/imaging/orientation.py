"""EXIF orientation: turning pixels from the stored frame into the displayed one and back."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.picture import Samples

_SWAPPING = frozenset({5, 6, 7, 8})
_FROM_RIGHT = frozenset({2, 3, 6, 7})
_FROM_BOTTOM = frozenset({3, 4, 7, 8})
"""Orientations whose stored frame begins at the right of the displayed one, and at its bottom."""
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


def boxes_to_stored(boxes_xyxy: NDArray[np.float32], orientation: int, width: int, height: int) -> NDArray[np.float32]:
    """Boxes (..., 4) in pixels of the displayed frame, which is of this width and height, to the stored frame."""
    x, y = boxes_xyxy[..., 0::2], boxes_xyxy[..., 1::2]
    if orientation in _FROM_RIGHT:
        x = width - x[..., ::-1]
    if orientation in _FROM_BOTTOM:
        y = height - y[..., ::-1]
    across, down = (y, x) if swaps_sides(orientation) else (x, y)
    return np.stack([across[..., 0], down[..., 0], across[..., 1], down[..., 1]], axis=-1)


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
