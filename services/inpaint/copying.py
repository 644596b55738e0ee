"""Pixels of a photo, copied into its holes at full size as a completed small picture says."""

from collections.abc import Generator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.completion import Completion
from services.inpaint.diffusion import interpolate
from services.inpaint.levels import Fill, Floats, Level, Pixels, add_colours, new_fill

BLOCK = 2  # small pixels at a time are copied to a side; with the ring they lie within one known patch
RING = 1  # small pixels over which a block fades into its neighbours
STRIP_ROWS = 256
BLOCKS_AT_ONCE = 4096
TONE_SIGMA = 2.0  # small pixels: what is coarser comes from the completed picture, what is finer is copied
RIM = 2  # small pixels around holes whose copies are compared with what is there
RIM_FADE = 6.0  # small pixels over which the difference loses most of its say


@dataclass(frozen=True, slots=True, eq=False)
class Stencil:
    """A completed picture, of which a photo is `scale` times the size: `small` is that picture before."""

    completion: Completion
    small: Pixels
    scale: int


def copy_known(photo: Level, stencil: Stencil, share: Floats) -> Generator[float, None, Fill]:
    """A fill of copied pixels times `share` (h, w), 0 outside of holes; yields how much of the work is done."""
    fill, taper, shifts = new_fill(photo.size), _taper(stencil.scale), stencil.completion.shifts
    places = _places(share, stencil.scale)
    last = np.array(shifts.shape[:2]) - 1
    for first in range(0, len(places), BLOCKS_AT_ONCE):
        some = places[first : first + BLOCKS_AT_ONCE]
        rows, columns = np.clip(some, 0, last).T
        for place, shift in zip(some.tolist(), shifts[rows, columns].tolist(), strict=True):
            _copy(photo, fill, share, taper, place, shift, stencil.scale)
        yield first / len(places)
    _match_tone(fill, share, _tone_errors(stencil), stencil.scale)
    return fill


def _places(share: Floats, scale: int) -> NDArray[np.intp]:
    """(n, 2) rows and columns, in small pixels, of the blocks that reach into holes; the first lie off the picture."""
    ring, side = RING * scale, BLOCK * scale
    padded = np.pad((share > 0).astype(np.uint8), ((side, 2 * side), (side, 2 * side)))
    reach = np.asarray(cv2.dilate(padded, np.ones((2 * ring + 1, 2 * ring + 1), np.uint8)), np.uint8)
    rows, columns = (length // side for length in reach.shape)
    blocks = reach[: rows * side, : columns * side].reshape(rows, side, columns, side)
    return (np.argwhere(blocks.any((1, 3))) - 1) * BLOCK


def _taper(scale: int) -> Floats:
    """(patch, patch, 1) weights; those of blocks side by side add up to 1."""
    ring, side = RING * scale, BLOCK * scale
    ramp = (np.arange(2 * ring) + 0.5) / (2 * ring)
    line = np.concatenate([ramp, np.ones(side - 2 * ring), ramp[::-1]])
    return np.asarray(np.outer(line, line)[..., None], np.float32)


def _copy(
    photo: Level, fill: Fill, share: Floats, taper: Floats, place: list[int], shift: list[int], scale: int
) -> None:
    (top, left), (down, across) = ((at - RING) * scale for at in place), (by * scale for by in shift)
    bottom, right = (min(at + len(taper), length) for at, length in zip((top, left), photo.size, strict=True))
    rows, columns = slice(max(top, 0), bottom), slice(max(left, 0), right)
    copied = photo.pixels[rows.start + down : bottom + down, columns.start + across : right + across]
    weights = taper[rows.start - top : bottom - top, columns.start - left : right - left]
    weights = weights * (share[rows, columns] * np.float32(257))[..., None]
    add_colours(fill[rows, columns], copied * weights)


def _tone_errors(stencil: Stencil) -> Floats:
    """(h, w, 3) what the copied pixels lack in levels of 255, smoothed."""
    completion = stencil.completion
    copied = _copied_small(stencil)
    hole = completion.hole.astype(np.float32)
    inside = _blur((completion.values - copied) * hole[..., None]) / (_blur(hole) + np.float32(1e-3))[..., None]
    return np.asarray(inside + _rim_errors(stencil.small - copied, completion.hole), np.float32)


def _copied_small(stencil: Stencil) -> Floats:
    """(h, w, 3) the small picture with its holes, and what their patches reach, copied the way the photo's are."""
    hole, shifts = stencil.completion.hole, stencil.completion.shifts
    rows, columns = np.indices(hole.shape)
    moved = shifts[rows // BLOCK * BLOCK, columns // BLOCK * BLOCK]
    return np.asarray(stencil.small[rows + moved[..., 0], columns + moved[..., 1]], np.float32)


def _rim_errors(errors: Floats, hole: NDArray[np.bool_]) -> Floats:
    """Where copies meet what is known they take its tone, and less so the deeper they lie."""
    around = cv2.dilate(hole.astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > hole
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3)
    spread = interpolate(errors, (~around).astype(np.float32))
    return np.asarray(spread * np.exp(-depth / np.float32(RIM_FADE))[..., None], np.float32)


def _match_tone(fill: Fill, share: Floats, errors: Floats, scale: int) -> None:
    for top in range(0, len(share), STRIP_ROWS):
        strip = share[top : top + STRIP_ROWS]
        if strip.any():
            white = (strip * np.float32(65535))[..., None]
            lacking = _enlarged(errors, top, strip.shape, scale) / 255 * white
            # Copies brighter than white would take some of the network's share of the pixel.
            fill[top : top + STRIP_ROWS] = np.rint(np.clip(fill[top : top + STRIP_ROWS] + lacking, 0, white))


def _enlarged(errors: Floats, top: int, shape: tuple[int, ...], scale: int) -> Floats:
    """The rows from `top` of the enlarged picture."""
    step, start = 1 / scale, 0.5 / scale - 0.5
    matrix = np.array([[step, 0, start], [0, step, start + top * step]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(errors, matrix, shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32
    )


def _blur(values: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), TONE_SIGMA), np.float32)
