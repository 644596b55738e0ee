"""Where one box is as seen from another: offset of the centres in sizes of the person, and logarithms of the ratios
of the sides (Gkioxari et al., CVPR 2018, equation 3)."""

import numpy as np

from services.hoi.found import Floats

LARGEST_LOG = 6.0
"""Of a ratio of sides: e^6 is 400 times as large."""
LEAST_SIDE_PX = 1e-3


def encoded(boxes_xyxy: Floats, person_xyxy: Floats) -> Floats:
    """(n, 4)"""
    centres, sides = _centres(boxes_xyxy), _sides(boxes_xyxy)
    own_centre, own_sides = _centres(person_xyxy), _sides(person_xyxy)
    return np.asarray(np.concatenate([(centres - own_centre) / own_sides, np.log(sides / own_sides)], -1), np.float32)


def decoded(targets: Floats, person_xyxy: Floats) -> Floats:
    """(..., 4) to boxes in the person's frame, which may reach beyond the photo."""
    own_sides = _sides(person_xyxy)
    centres = _centres(person_xyxy) + targets[..., :2] * own_sides
    half = own_sides * np.exp(np.clip(targets[..., 2:], -LARGEST_LOG, LARGEST_LOG)) / 2
    return np.asarray(np.concatenate([centres - half, centres + half], -1), np.float32)


def _centres(boxes_xyxy: Floats) -> Floats:
    return np.asarray((boxes_xyxy[..., :2] + boxes_xyxy[..., 2:]) / 2)


def _sides(boxes_xyxy: Floats) -> Floats:
    return np.asarray(np.maximum(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], LEAST_SIDE_PX))
