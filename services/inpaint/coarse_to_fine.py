"""Coarse-to-fine filling of holes: the size and context at which the network predicts each pixel.

Small holes are predicted at full size. Deeper ones are predicted at a smaller size first, upsampled, and refined near
known pixels at each larger size. Deep holes are completed with copies of known patches.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.compositing.diffusion import biharmonic_fill, blend_rim
from services.inpaint.compositing.seams import (
    blend_smooth_areas,
    clamp_colours,
    match_tone,
    smooth_interior,
    window_weights,
)
from services.inpaint.patch_completion.agreement import agreement
from services.inpaint.patch_completion.em import complete_holes
from services.inpaint.patch_completion.shift_map import LowResolutionCompletion, copy_by_shift_map
from services.inpaint.pyramid import (
    Fill,
    Floats,
    Pixels,
    PyramidLevel,
    accumulate,
    composite,
    halve,
    halve_hole,
    hole_depth_px,
    new_fill,
    upsample,
)
from services.inpaint.windows import MARGIN_PX, NetworkWindow, cover, network_pixels
from sightline.inference.predictor import Plan, Round, Tensors

NETWORK_DEPTH_PX = 32  # depth in holes to which the network predicts; deeper in, the fill of the coarser level is kept
WINDOWS_PER_ROUND = 16  # bounds the memory of windows in flight
MAX_NETWORK_SIDE_PX = 500  # longer side up to which the network does best; larger photos are completed at this size
MIN_COPIED_DEPTH_PX = 16  # holes that are nowhere deeper have no middle that the network would blur
# Share of copies, against the prediction, in photos that are completed at full size: PLAIN_SHARE where they have no
# texture, and half of the rest more where the standard deviation of their lightness is TEXTURE_LEVELS of 255. Copies
# alone would look a little sharper, but in smooth areas they are further from the truth than the prediction.
PLAIN_SHARE, TEXTURE_LEVELS, TEXTURE_SIGMA_PX = 0.3, 24.0, 1.5
# Bounds of the levels at which copies are refined: time grows with both.
MAX_REFINED_PIXELS, MAX_REFINED_HOLE_PIXELS = 1_200_000, 60_000
# The level that is completed first, in photos that are larger than the network: its longer side, or its holes' depth.
GUESS_SIDE_PX, GUESS_DEPTH_PX = 256, 20
CROSSFADE_PX = 12  # depth over which predictions at the rim of a hole give way to mixed copies
MAX_LEVEL_PIXELS = 16_000_000  # a level that needs more pixels of network windows is only upsampled

# Shares of the time that large photos take.
GUESS_SPAN, COMPLETION_SPAN, COPY_SPAN = (0.0, 0.1), (0.1, 0.3), (0.3, 0.4)

ResultT = TypeVar("ResultT")
Span = tuple[float, float]
"""Start and end of a part of the work, in 0..1."""


@dataclass(frozen=True, slots=True)
class LevelPass:
    """The windows that the network predicted at one level, where the photo has `1 / scale` of its size."""

    scale: int
    windows: tuple[NetworkWindow, ...]


@dataclass(frozen=True, slots=True)
class FilledHoles:
    """The fill of all holes, and the passes that produced it, the coarsest first."""

    fill: Fill
    passes: tuple[LevelPass, ...]


def fill_holes(photo: PyramidLevel, sides_px: Sequence[int], *, copy_patches: bool = True) -> Plan[FilledHoles]:
    """Fills the holes of a photo with at least one known pixel; `sides_px` are the network's sizes in rising order.

    Deep holes are filled with copies of known patches, in large photos chosen at a small size; without `copy_patches`,
    by the network alone.
    """
    if not copy_patches or hole_depth_px(photo).max() <= MIN_COPIED_DEPTH_PX:
        return (yield from _predict_pyramid(photo, 1, sides_px, (0, 1)))
    levels = _completed_levels(photo)
    small, halvings = levels[-1], len(levels) - 1
    predicted = yield from _predict_pyramid(small, 2**halvings, sides_px, GUESS_SPAN)
    guess, finer = composite(small, predicted.fill), _refined_levels(levels)
    completing = complete_holes(guess, halve_hole(photo.hole, halvings) == 1, finer)
    completion = yield from _as_rounds(completing, COMPLETION_SPAN)
    if completion is None:
        return (yield from _predict_pyramid(photo, 1, sides_px, (COMPLETION_SPAN[1], 1)))
    refined = levels[halvings - len(finer)]
    low = LowResolutionCompletion(completion, refined.pixels, 2 ** (halvings - len(finer)))
    if max(photo.size) <= MAX_NETWORK_SIDE_PX:
        return FilledHoles((yield from _mix_copies(photo, low, predicted.fill)), predicted.passes)
    fill, last = yield from _copy_and_predict(photo, low, sides_px)
    return FilledHoles(fill, (*predicted.passes, last))


def _completed_levels(photo: PyramidLevel) -> list[PyramidLevel]:
    """Returns the photo and its halved versions down to the one whose completion decides on structure."""
    levels = [photo]
    if max(photo.size) > MAX_NETWORK_SIDE_PX:
        while max(levels[-1].size) > GUESS_SIDE_PX and not _keeps_patterns(levels[-1]):
            levels.append(halve(levels[-1]))
    return levels


def _keeps_patterns(level: PyramidLevel) -> bool:
    """Returns whether a level is small enough, though halving would blur patterns that are finer than its holes."""
    return level.hole.size <= MAX_REFINED_PIXELS and hole_depth_px(level).max() <= GUESS_DEPTH_PX


def _refined_levels(levels: Sequence[PyramidLevel]) -> list[PyramidLevel]:
    """Returns the levels, the coarsest first, at which shifts are refined: between the smallest and the photo itself.

    Holes of these levels are where any of the photo's pixels under them is missing.
    """
    refined = []
    for halvings in range(len(levels) - 2, -1, -1):
        hole, level = halve_hole(levels[0].hole, halvings), levels[halvings]
        if hole.size > MAX_REFINED_PIXELS or np.count_nonzero(hole) > MAX_REFINED_HOLE_PIXELS:
            break
        refined.append(PyramidLevel(level.pixels, hole))
    return refined


def _predict_pyramid(photo: PyramidLevel, scale: int, sides_px: Sequence[int], span: Span) -> Plan[FilledHoles]:
    """Fills a photo that has `1 / scale` of its size by the network alone, coarse to fine."""
    levels = _levels(photo, sides_px[0])
    spans = _spans(len(levels), span)
    level = levels.pop()
    fill, windows = new_fill(level.size), cover(level.hole, sides_px)
    yield from _predict(level, level.hole, windows, np.zeros(level.size, np.float32), fill, next(spans))
    passes = [LevelPass(scale * 2 ** len(levels), tuple(windows))]
    while levels:
        coarse, level = level, levels.pop()
        fill, windows = yield from _refine(level, coarse, fill, sides_px, next(spans))
        passes.append(LevelPass(scale * 2 ** len(levels), tuple(windows)))
    return FilledHoles(fill, tuple(passes))


def _copy_and_predict(
    photo: PyramidLevel, low: LowResolutionCompletion, sides_px: Sequence[int]
) -> Plan[tuple[Fill, LevelPass]]:
    """Fills with copied pixels, cross-faded into the network's prediction at the rim of holes."""
    copied_share = _deep_holes(photo)
    missing = photo.hole * (copied_share < 1)
    windows = cover(missing, sides_px)
    if network_pixels(windows) > MAX_LEVEL_PIXELS:
        copied_share, windows = photo.hole.astype(np.float32), []
    fill = yield from _as_rounds(copy_by_shift_map(photo, low, copied_share), COPY_SPAN)
    yield from _predict(photo, missing, windows, copied_share, fill, (COPY_SPAN[1], 1))
    return fill, LevelPass(1, tuple(windows))


def _mix_copies(photo: PyramidLevel, low: LowResolutionCompletion, predicted: Fill) -> Plan[Fill]:
    """Fills with copied pixels and the network's prediction, both of full size."""
    copied = yield from _as_rounds(copy_by_shift_map(photo, low, photo.hole.astype(np.float32)), (COPY_SPAN[0], 1))
    usual = _copied_share(photo) * _texture_share(composite(photo, copied))
    share = np.maximum(usual, agreement(photo, low.completion.shifts))[..., None]
    return np.asarray(np.rint(predicted + (copied.astype(np.float32) - predicted) * share), np.uint16)


def _texture_share(pixels: Pixels) -> Floats:
    """Returns (h, w) the share of copies, 0..1: the larger, the more texture they have."""
    grey = pixels.astype(np.float32).mean(2)
    mean, square = (np.asarray(cv2.GaussianBlur(each, (0, 0), TEXTURE_SIGMA_PX)) for each in (grey, grey * grey))
    variance = cv2.GaussianBlur(np.maximum(square - mean * mean, 0), (0, 0), TEXTURE_SIGMA_PX)
    textured = variance / (variance + np.float32(TEXTURE_LEVELS**2))
    return np.asarray(PLAIN_SHARE + (1 - PLAIN_SHARE) * textured, np.float32)


def _copied_share(photo: PyramidLevel) -> Floats:
    return np.asarray(np.minimum(hole_depth_px(photo) / CROSSFADE_PX, 1), np.float32)


def _deep_holes(photo: PyramidLevel) -> Floats:
    """Returns (h, w) 1 in the connected holes that are deep somewhere, else 0."""
    count, labels = cv2.connectedComponents(photo.hole, connectivity=8)
    deep = np.zeros(count, np.float32)
    deep[labels[hole_depth_px(photo) > MIN_COPIED_DEPTH_PX]] = 1
    deep[0] = 0
    return np.asarray(deep[labels], np.float32)


def _as_rounds(work: Generator[float, None, ResultT], span: Span) -> Plan[ResultT]:
    """Runs work without the network as rounds without samples, so that it can be cancelled between them."""
    while True:
        try:
            done = next(work)
        except StopIteration as stop:
            return cast(ResultT, stop.value)
        yield Round((), done=span[0] + (span[1] - span[0]) * done)


def _levels(photo: PyramidLevel, smallest_side_px: int) -> list[PyramidLevel]:
    """Returns the photo and its halves down to shallow holes or the network's smallest size."""
    levels = [photo]
    while max(levels[-1].size) > smallest_side_px and hole_depth_px(levels[-1]).max() > NETWORK_DEPTH_PX:
        levels.append(halve(levels[-1]))
    return levels


def _spans(levels: int, span: Span) -> Iterator[Span]:
    """Splits a span among levels, the coarsest first: each has four times the pixels of the one before."""
    ends = [span[0] + (span[1] - span[0]) * (4**done - 1) / (4**levels - 1) for done in range(levels + 1)]
    return pairwise(ends)


def _refine(
    level: PyramidLevel, coarse: PyramidLevel, coarse_fill: Fill, sides_px: Sequence[int], span: Span
) -> Plan[tuple[Fill, list[NetworkWindow]]]:
    """Upsamples the coarse fill, cross-faded towards known pixels into the network's prediction at this size."""
    coarse_share = np.minimum(hole_depth_px(level) / NETWORK_DEPTH_PX, 1, dtype=np.float32)
    missing = level.hole * (coarse_share < 1)
    windows = cover(missing, sides_px)
    if network_pixels(windows) > MAX_LEVEL_PIXELS:
        coarse_share, windows = level.hole.astype(np.float32), []
    fill = upsample(coarse, coarse_fill, coarse_share)
    yield from _predict(level, missing, windows, coarse_share, fill, span)
    return fill, windows


def _predict(
    level: PyramidLevel,
    missing: Pixels,
    windows: Sequence[NetworkWindow],
    coarse_share: NDArray[np.float32],
    fill: Fill,
    span: Span,
) -> Plan[None]:
    """Adds the network's share to the fill, predicted from all pixels but the missing ones."""
    total = np.zeros(level.size, np.uint32)
    for window in windows:
        total[window.area] += _weights(window, level)
    for first in range(0, len(windows), WINDOWS_PER_ROUND):
        chunk = windows[first : first + WINDOWS_PER_ROUND]
        done = span[0] + (span[1] - span[0]) * first / len(windows)
        inputs = Round((_network_input(level, missing, fill, window) for window in chunk), done=done)
        for window, tensors, outputs in zip(chunk, inputs, (yield inputs), strict=True):
            share = _share(window, level, total) * (1 - coarse_share[window.area])
            _blend_in(fill[window.area], tensors, outputs["filled"], share * missing[window.area])


def _share(window: NetworkWindow, level: PyramidLevel, total: NDArray[np.uint32]) -> Floats:
    return np.asarray(_weights(window, level) / total[window.area], np.float32)


def _network_input(level: PyramidLevel, missing: Pixels, fill: Fill, window: NetworkWindow) -> Tensors:
    """Returns (side, side, 3) pixels and (side, side, 1) mask, mirrored beyond the edges of the photo."""
    pixels = composite(PyramidLevel(level.pixels[window.area], level.hole[window.area]), fill[window.area])
    mask = missing[window.area][..., None]
    return {"image": _pad(pixels, window.side_px), "mask": _pad(mask, window.side_px)}


def _pad(pixels: Pixels, side_px: int) -> Pixels:
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, side_px - height), (0, side_px - width), (0, 0)), mode="symmetric")


def _blend_in(fill: Fill, tensors: Tensors, predicted: Floats, share: Floats) -> None:
    height, width = share.shape
    pixels = np.asarray(tensors["image"], np.float32) / np.float32(255)
    hole = np.asarray(tensors["mask"][..., 0], np.float32)
    matched = match_tone(smooth_interior(predicted, hole), pixels, hole)
    diffused = biharmonic_fill(pixels, hole)
    blended = blend_smooth_areas(blend_rim(matched, diffused, hole), diffused, pixels, hole)
    colours = clamp_colours(blended, pixels, hole)[:height, :width]
    accumulate(fill, np.clip(colours, 0, 1) * (share * np.float32(65535))[..., None])


def _weights(window: NetworkWindow, level: PyramidLevel) -> NDArray[np.uint16]:
    height, width = level.size
    bottom, right = window.top + window.side_px, window.left + window.side_px
    weights = window_weights(
        window.side_px, MARGIN_PX, open_edges=(window.top > 0, bottom < height, window.left > 0, right < width)
    )
    return weights[: height - window.top, : width - window.left]
