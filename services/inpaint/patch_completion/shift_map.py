"""Full-resolution pixels, copied into holes by the shift map of a completion at low resolution.

The photo is `scale` times as large as the completed image; distances in "low-resolution pixels" count in the latter.
"""

from collections.abc import Generator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.compositing.diffusion import interpolate
from services.inpaint.patch_completion.em import Completion
from services.inpaint.pyramid import Fill, Floats, Pixels, PyramidLevel, accumulate, new_fill

# Sizes and distances in low-resolution pixels:
BLOCK = 2  # side of the squares that are copied; with the ring they lie within one source patch
RING = 1  # width in which a block fades into its neighbours
TONE_SIGMA = 2.0  # coarser detail comes from the completed image, finer detail from the copies
RIM = 2  # width of the rim around holes in which copies are compared with the photo
RIM_FADE = 6.0  # depth at which the rim's tone error counts 1 / e

STRIP_ROWS = 256
CHUNK_BLOCKS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class LowResolutionCompletion:
    """A completion of a shrunk photo; pixels: (h, w, 3) of the shrunk photo; scale: factor to the photo's size."""

    completion: Completion
    pixels: Pixels
    scale: int


def copy_by_shift_map(photo: PyramidLevel, low: LowResolutionCompletion, share: Floats) -> Generator[float, None, Fill]:
    """Returns copied pixels times `share` (h, w), which is 0 outside of holes; yields the share of work done."""
    fill, weights, shifts = new_fill(photo.size), _block_weights(low.scale), low.completion.shifts
    origins = _block_origins(share, low.scale)
    last = np.array(shifts.shape[:2]) - 1
    for first in range(0, len(origins), CHUNK_BLOCKS):
        chunk = origins[first : first + CHUNK_BLOCKS]
        rows, columns = np.clip(chunk, 0, last).T
        for origin, shift in zip(chunk.tolist(), shifts[rows, columns].tolist(), strict=True):
            _copy_block(photo, fill, share, weights, origin, shift, low.scale)
        yield first / len(origins)
    _match_tone(fill, share, _tone_errors(low), low.scale)
    return fill


def _block_origins(share: Floats, scale: int) -> NDArray[np.intp]:
    """Returns (n, 2) rows and columns, in low-resolution pixels, of the blocks that reach into holes.

    The first ones may lie one block outside of the image.
    """
    ring, side = RING * scale, BLOCK * scale
    padded = np.pad((share > 0).astype(np.uint8), ((side, 2 * side), (side, 2 * side)))
    reach = np.asarray(cv2.dilate(padded, np.ones((2 * ring + 1, 2 * ring + 1), np.uint8)), np.uint8)
    rows, columns = (length // side for length in reach.shape)
    blocks = reach[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return (np.argwhere(blocks.any((1, 3))) - 1) * BLOCK


def _block_weights(scale: int) -> Floats:
    """Returns (side, side, 1) weights of a block with its ring; those of adjacent blocks add up to 1."""
    ring, side = RING * scale, BLOCK * scale
    ramp = (np.arange(2 * ring) + 0.5) / (2 * ring)
    line = np.concatenate([ramp, np.ones(side - 2 * ring), ramp[::-1]])
    return np.asarray(np.outer(line, line)[..., None], np.float32)


def _copy_block(
    photo: PyramidLevel,
    fill: Fill,
    share: Floats,
    weights: Floats,
    origin: list[int],
    shift: list[int],
    scale: int,
) -> None:
    (top, left), (down, across) = ((at - RING) * scale for at in origin), (by * scale for by in shift)
    bottom, right = (min(at + len(weights), length) for at, length in zip((top, left), photo.size, strict=True))
    rows, columns = slice(max(top, 0), bottom), slice(max(left, 0), right)
    copied = photo.pixels[rows.start + down : bottom + down, columns.start + across : right + across]
    part = weights[rows.start - top : bottom - top, columns.start - left : right - left]
    part = part * (share[rows, columns] * np.float32(257))[..., None]
    accumulate(fill[rows, columns], copied * part)


def _tone_errors(low: LowResolutionCompletion) -> Floats:
    """Returns (h, w, 3) smoothed differences between completion and copies, in levels of 255."""
    completion = low.completion
    copied = _copy_low_resolution(low)
    hole = completion.hole.astype(np.float32)
    inside = _blur((completion.values - copied) * hole[..., None]) / (_blur(hole) + np.float32(1e-3))[..., None]
    return np.asarray(inside + _rim_errors(low.pixels - copied, completion.hole), np.float32)


def _copy_low_resolution(low: LowResolutionCompletion) -> Floats:
    """Returns (h, w, 3) the shrunk photo with its target patches copied in the same blocks as the photo's."""
    hole, shifts = low.completion.hole, low.completion.shifts
    rows, columns = np.indices(hole.shape)
    moved = shifts[rows // BLOCK * BLOCK, columns // BLOCK * BLOCK]
    return np.asarray(low.pixels[rows + moved[..., 0], columns + moved[..., 1]], np.float32)


def _rim_errors(errors: Floats, hole: NDArray[np.bool_]) -> Floats:
    """Spreads the errors at the rim into the hole, fading with depth, so that copies meet the tone around them."""
    rim = cv2.dilate(hole.astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > hole
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    spread = interpolate(errors, (~rim).astype(np.float32))
    return np.asarray(spread * np.exp(-depth / np.float32(RIM_FADE))[..., None], np.float32)


def _match_tone(fill: Fill, share: Floats, errors: Floats, scale: int) -> None:
    for top in range(0, len(share), STRIP_ROWS):
        strip = share[top : top + STRIP_ROWS]
        if strip.any():
            white = (strip * np.float32(65535))[..., None]
            correction = _upsampled_rows(errors, top, strip.shape, scale) / 255 * white
            # Copies brighter than white would take some of the network's share of the pixel.
            fill[top : top + STRIP_ROWS] = np.rint(np.clip(fill[top : top + STRIP_ROWS] + correction, 0, white))


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
