"""One box relative to another: offset of the centres in sizes of the reference, and logarithms of the ratios of the
sides (Gkioxari et al., CVPR 2018, equation 3)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MAX_LOG_RATIO = 6.0
"""Of two sides: e^6 is 400 times as large."""
MIN_SIDE_PX = 1e-3


def encode_boxes(boxes_xyxy: Floats, reference_xyxy: Floats) -> Floats:
    """(..., 4) boxes relative to (..., 4) reference boxes; both broadcast."""
    centres, sides = _centres(boxes_xyxy), _sides(boxes_xyxy)
    own_centres, own_sides = _centres(reference_xyxy), _sides(reference_xyxy)
    parts = [(centres - own_centres) / own_sides, np.log(sides / own_sides)]
    return np.asarray(np.concatenate(np.broadcast_arrays(*parts), -1), np.float32)


def decode_boxes(encoded: Floats, reference_xyxy: Floats) -> Floats:
    """(..., 4) encoded boxes to corners in the pixels of the reference; they may reach beyond the picture."""
    own_sides = _sides(reference_xyxy)
    centres = _centres(reference_xyxy) + encoded[..., :2] * own_sides
    half = own_sides * np.exp(np.clip(encoded[..., 2:], -MAX_LOG_RATIO, MAX_LOG_RATIO)) / 2
    return np.asarray(np.concatenate([centres - half, centres + half], -1), np.float32)


def _centres(boxes_xyxy: Floats) -> NDArray[Any]:
    return np.asarray((boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2)


def _sides(boxes_xyxy: Floats) -> NDArray[Any]:
    return np.asarray(np.maximum(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], MIN_SIDE_PX))
