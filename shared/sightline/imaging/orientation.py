"""EXIF orientation: conversion of pixels and boxes between the stored and the displayed frame."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.picture import Samples

_SWAPPING = frozenset({5, 6, 7, 8})
_FROM_RIGHT = frozenset({2, 3, 6, 7})
_FROM_BOTTOM = frozenset({3, 4, 7, 8})
"""Orientations whose stored frame starts at the right edge of the displayed one, and at its bottom edge."""
_INVERSE: Mapping[int, int] = {6: 8, 8: 6}
_FLIPS: Mapping[int, int] = {2: 1, 3: -1, 4: 0}
_ROTATIONS: Mapping[int, int] = {6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}


def swaps_sides(orientation: int) -> bool:
    """Returns whether width and height are swapped between the frames."""
    return orientation in _SWAPPING


def to_displayed(samples: Samples, orientation: int) -> Samples:
    """Converts samples from the stored to the displayed frame; returns a contiguous array."""
    if orientation == 1:
        return np.ascontiguousarray(samples)
    return _transform(samples, orientation)


def to_stored(samples: Samples, orientation: int) -> Samples:
    """Converts samples from the displayed to the stored frame; returns a contiguous array."""
    return to_displayed(samples, _INVERSE.get(orientation, orientation))


def boxes_to_stored(boxes_xyxy: NDArray[np.float32], orientation: int, width: int, height: int) -> NDArray[np.float32]:
    """Converts boxes (..., 4) from the displayed frame, of this width and height, to the stored frame."""
    x, y = boxes_xyxy[..., 0::2], boxes_xyxy[..., 1::2]
    if orientation in _FROM_RIGHT:
        x = width - x[..., ::-1]
    if orientation in _FROM_BOTTOM:
        y = height - y[..., ::-1]
    across, down = (y, x) if swaps_sides(orientation) else (x, y)
    return np.stack([across[..., 0], down[..., 0], across[..., 1], down[..., 1]], axis=-1)


def _transform(samples: Samples, orientation: int) -> Samples:
    channels = samples.shape[2:]
    transformed = _transform_by_opencv(np.ascontiguousarray(samples), orientation)
    return transformed.reshape(*transformed.shape[:2], *channels)  # OpenCV drops a last axis of one channel


def _transform_by_opencv(samples: Samples, orientation: int) -> Samples:
    if orientation in _FLIPS:
        return _array(cv2.flip(samples, _FLIPS[orientation]), samples)
    if orientation in _ROTATIONS:
        return _array(cv2.rotate(samples, _ROTATIONS[orientation]), samples)
    transposed = cv2.transpose(samples)
    return _array(transposed if orientation == 5 else cv2.flip(transposed, -1), samples)


def _array(transformed: object, like: Samples) -> Samples:
    return np.asarray(transformed, like.dtype)
