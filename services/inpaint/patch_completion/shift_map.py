"""Full-resolution pixels, copied into holes by the shift map of a completion at low resolution.

The photo is `scale` times as large as the completed image; distances in "low-resolution pixels" count in the latter.
"""

from collections.abc import Generator
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from services.inpaint.compositing.diffusion import interpolate
from services.inpaint.patch_completion.em import Completion
from services.inpaint.pyramid import Fill, Floats, Index, Pixels, PyramidLevel, new_fill

# Sizes and distances in low-resolution pixels:
BLOCK = 2  # side of the squares that one shift applies to; it fades linearly between their centres
TONE_SIGMA = 2.0  # coarser detail comes from the completed image, finer detail from the copies
RIM = 2  # width of the rim around holes in which copies are compared with the photo
RIM_FADE = 6.0  # depth at which the rim's tone error counts 1 / e

# Difference in levels of 255 of which half is matched. Larger ones are between different things, such as an animal and
# the meadow behind it, and would tint copies in colours that the photo lacks.
TONE_LIMIT = 30.0
ROUGH = 8.0  # mean of the Laplacian of surroundings, in levels of 255, from which on their errors fade so fast
MAX_TONE_SIDE_PX = 320  # of the picture in which tone is matched
STRIP_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class LowResolutionCompletion:
    """A completion of a shrunk photo; pixels: (h, w, 3) of the shrunk photo; scale: factor to the photo's size."""

    completion: Completion
    pixels: Pixels
    scale: int


def copy_by_shift_map(photo: PyramidLevel, low: LowResolutionCompletion, share: Floats) -> Generator[float, None, Fill]:
    """Returns copied pixels times `share` (h, w), which is 0 outside of holes; yields the share of work done."""
    fill, (errors, shrink) = new_fill(photo.size), _tone_errors(low)
    for top in range(0, len(share), STRIP_ROWS):
        strip = share[top : top + STRIP_ROWS]
        rows, columns = np.nonzero(strip)
        if len(rows):
            tone = _upsampled_rows(errors, top, strip.shape, low.scale * shrink)[rows, columns]
            colours = np.clip(_copies(photo, low, rows + top, columns) + tone, 0, 255)
            fill[top : top + STRIP_ROWS][rows, columns] = np.rint(colours * 257 * strip[rows, columns, None])
        yield top / len(share)
    return fill


def _copies(photo: PyramidLevel, low: LowResolutionCompletion, rows: Index, columns: Index) -> Floats:
    """Returns (n, 3) known pixels that the shifts lead to, blended between the four nearest blocks."""
    shifts, (height, width) = low.completion.shifts, low.completion.hole.shape
    top, down = _blocks(rows, low.scale)
    left, right = _blocks(columns, low.scale)
    pixels, copied = photo.pixels.reshape(-1, 3), np.zeros((len(rows), 3), np.float32)
    for row, column in product((0, 1), repeat=2):
        origins = (np.clip((top + row) * BLOCK, 0, height - 1), np.clip((left + column) * BLOCK, 0, width - 1))
        moved = shifts[origins] * low.scale
        found = np.take(pixels, (rows + moved[:, 0]) * photo.size[1] + columns + moved[:, 1], axis=0)
        weight = (down if row else 1 - down) * (right if column else 1 - right)
        copied += found * weight[:, None]
    return copied


def _blocks(at: Index, scale: int) -> tuple[Index, Floats]:
    """Returns (n,) the block whose centre is the last one before each row or column, and the way to the next, 0..1."""
    centred = (at + 0.5) / (BLOCK * scale) - 0.5
    first = np.floor(centred).astype(np.intp)
    return first, (centred - first).astype(np.float32)


def _tone_errors(low: LowResolutionCompletion) -> tuple[Floats, int]:
    """Returns (h, w, 3) smooth differences between completion and copies, in levels of 255, and how often they shrank.

    Inside, copies take the coarse colours of the completion. At the rim they take those of the photo.
    """
    hole, shrink = low.completion.hole.astype(np.float32), 1
    while max(hole.shape) > MAX_TONE_SIDE_PX * shrink:
        shrink *= 2
    errors, rim = _copy_errors(low)
    inside, outside, shares, rims, known = (
        _shrink(each, shrink) for each in (errors * hole[..., None], errors * rim[..., None], hole, rim, 1 - hole)
    )
    means = np.asarray(outside / np.maximum(rims, np.float32(1e-3))[..., None], np.float32)
    spread = interpolate(means, (rims == 0).astype(np.float32))
    fade = _rim_fade(_shrink(low.pixels * np.float32(1), shrink), known, shares)
    smooth = _blur(inside) / (_blur(shares) + np.float32(1e-3))[..., None] + spread * fade
    return np.asarray(smooth / (1 + (np.abs(smooth).max(2, keepdims=True) / TONE_LIMIT) ** 4), np.float32), shrink


def _copy_errors(low: LowResolutionCompletion) -> tuple[Floats, Floats]:
    """Returns (h, w, 3) completion minus copies in holes and around them, and the rim (h, w), 1 = around."""
    completion, around = low.completion, np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)
    reach = cv2.dilate(completion.hole.astype(np.uint8), around)
    rows, columns = np.nonzero(reach)
    moved = completion.shifts[rows // BLOCK * BLOCK, columns // BLOCK * BLOCK]
    errors = np.zeros(completion.values.shape, np.float32)
    errors[rows, columns] = completion.values[rows, columns] - low.pixels[rows + moved[:, 0], columns + moved[:, 1]]
    return errors, np.asarray(reach > completion.hole, np.float32)


def _rim_fade(pixels: Floats, known: Floats, hole: Floats) -> Floats:
    """Returns (h, w, 1) shares of the rim's errors by depth; in smooth surroundings such as skies they hardly fade."""
    edges = np.abs(cv2.Laplacian(pixels, cv2.CV_32F, borderType=cv2.BORDER_REFLECT)).mean(2)
    inner = np.asarray(cv2.erode((known == 1).astype(np.float32), np.ones((3, 3), np.uint8)), np.float32)
    roughness = cv2.boxFilter(edges * inner, cv2.CV_32F, (7, 7)) / (cv2.boxFilter(inner, cv2.CV_32F, (7, 7)) + 1e-3)
    near = ((cv2.dilate(hole, np.ones((5, 5), np.uint8)) > 0) & (known == 1)).astype(np.float32)
    spread = interpolate(np.repeat(roughness[..., None], 3, 2).astype(np.float32), 1 - near)[..., :1]
    depth = cv2.distanceTransform((hole > 0).astype(np.uint8), cv2.DIST_L2, 3)[..., None]
    return np.asarray(np.exp(-depth / RIM_FADE * np.minimum(spread / ROUGH, 1)), np.float32)


def _shrink(values: Floats, factor: int) -> Floats:
    """Returns means of squares of factor pixels, of which the last may reach beyond the edges, where values are 0."""
    height, width = (-length % factor for length in values.shape[:2])
    padded = cv2.copyMakeBorder(values, 0, height, 0, width, cv2.BORDER_CONSTANT, value=0)
    size = (padded.shape[1] // factor, padded.shape[0] // factor)
    return np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), np.float32)


def _upsampled_rows(errors: Floats, top: int, shape: tuple[int, ...], scale: int) -> Floats:
    """Returns the rows from `top` of the upsampled errors."""
    step, start = 1 / scale, 0.5 / scale - 0.5
    matrix = np.array([[step, 0, start], [0, step, start + top * step]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(errors, matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _blur(values: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), TONE_SIGMA), np.float32)
