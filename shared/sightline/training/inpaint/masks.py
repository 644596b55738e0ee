"""Irregular hole masks of brush strokes, blobs and boxes, for training and for fixed test sets.

The paper derived its masks from occlusions between video frames and published no code. Later work trains with free-form
strokes (Yu et al., "Free-Form Image Inpainting with Gated Convolution", ICCV 2019).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
BUCKETS = ((0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.5, 0.6))
MAX_SHAPES = 200


def irregular_mask(rng: np.random.Generator, size_px: int, share: tuple[float, float], *, border_px: int = 0) -> Mask:
    """A mask (size, size) uint8, 1 = hole, whose share of hole pixels lies in `share`.

    `border_px` keeps holes this far from the border. ValueError if the share cannot be reached.
    """
    target = rng.uniform(*share)
    mask = np.zeros((size_px, size_px), np.uint8)
    for _ in range(MAX_SHAPES):
        if mask.mean() >= target:
            break
        drawn = mask.copy()
        _draw_shape(rng, drawn)
        _clear_border(drawn, border_px)
        if drawn.mean() <= share[1]:
            mask = drawn
    if not share[0] <= mask.mean() <= share[1]:
        raise ValueError(f"no mask covers {share[0]:.0%} to {share[1]:.0%} and keeps a border of {border_px} px")
    return mask


def _clear_border(mask: Mask, border_px: int) -> None:
    if border_px:
        mask[:border_px] = mask[-border_px:] = 0
        mask[:, :border_px] = mask[:, -border_px:] = 0


def _draw_shape(rng: np.random.Generator, mask: Mask) -> None:
    kind = rng.random()
    if kind < 0.6:
        _draw_stroke(rng, mask)
    elif kind < 0.9:
        _draw_blob(rng, mask)
    else:
        _draw_box(rng, mask)


def _draw_stroke(rng: np.random.Generator, mask: Mask) -> None:
    size = mask.shape[0]
    brush = int(rng.integers(max(2, size // 40), max(3, size // 7)))
    at = rng.uniform(0, size, 2)
    angle = rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 9))):
        angle += rng.normal(0, 0.8)
        end = at + rng.uniform(size / 16, size / 3) * np.array([np.cos(angle), np.sin(angle)])
        end = np.clip(end, 0, size - 1)
        cv2.line(mask, _point(at), _point(end), 1, brush)
        cv2.circle(mask, _point(end), brush // 2, 1, -1)
        at = end


def _draw_blob(rng: np.random.Generator, mask: Mask) -> None:
    size = mask.shape[0]
    centre = rng.uniform(0, size, 2)
    corners = np.linspace(0, 2 * np.pi, int(rng.integers(6, 14)), endpoint=False)
    radii = rng.uniform(size / 30, size / 5) * rng.uniform(0.5, 1.3, len(corners))
    outline = centre + radii[:, None] * np.stack([np.cos(corners), np.sin(corners)], 1)
    cv2.fillPoly(mask, [outline.round().astype(np.int32)], 1)


def _draw_box(rng: np.random.Generator, mask: Mask) -> None:
    size = mask.shape[0]
    corner = rng.uniform(-size / 8, size, 2)
    far = corner + rng.uniform(size / 20, size / 3, 2)
    cv2.rectangle(mask, _point(corner), _point(far), 1, -1)


def _point(xy: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))
