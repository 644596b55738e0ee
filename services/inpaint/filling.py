"""Coarse to fine: which pixels the network predicts, at which size, from what."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from services.inpaint.blending import limit_colours, match_surroundings, window_weights
from services.inpaint.completion import complete
from services.inpaint.copying import Stencil, copy_known
from services.inpaint.diffusion import diffuse, prefer_diffused
from services.inpaint.levels import (
    Fill,
    Floats,
    Level,
    Pixels,
    add_colours,
    compose,
    distance_px,
    enlarge,
    halve,
    new_fill,
    touched,
)
from services.inpaint.smoothing import calm_depths, prefer_smooth
from services.inpaint.windows import MARGIN_PX, Window, cover, network_pixels
from sightline.inference.predictor import Plan, Round, Tensors

REACH_PX = 32  # how far from known pixels the network is trusted; deeper in, the coarser level's fill is
WINDOWS_A_ROUND = 16  # bounds the memory of what is in flight
COMPLETED_PX = 500  # longer side up to which the network does best; copies in larger pictures are chosen at this size
RIM_PX = 12  # how far from known pixels copies give way to the network
MAX_LEVEL_PIXELS = 16_000_000  # a level that would show the network more than this is only enlarged

GUESS_SPAN, COMPLETION_SPAN, COPY_SPAN = (0.0, 0.1), (0.1, 0.3), (0.3, 0.4)  # of the time that large pictures take

ResultT = TypeVar("ResultT")
Span = tuple[float, float]
"""From where to where a part of the work goes, of 0..1."""


@dataclass(frozen=True, slots=True)
class Pass:
    """What was done at one level: there the picture is `1 / scale` of its size."""

    scale: int
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Filled:
    """The filled holes, and how they came about, the coarsest pass first."""

    fill: Fill
    passes: tuple[Pass, ...]


def fill_holes(photo: Level, sides_px: Sequence[int]) -> Plan[Filled]:
    """Fill the holes of a picture that has a known pixel, by square windows of the given sides in rising order.

    Large holes of large pictures are filled with copies of what is known; how, is found out at a small size.
    """
    if max(photo.size) <= COMPLETED_PX or distance_px(photo).max() <= REACH_PX:
        return (yield from _climb(photo, 1, sides_px, (0, 1)))
    small, halvings = photo, 0
    while max(small.size) > COMPLETED_PX:
        small, halvings = halve(small), halvings + 1
    below = yield from _climb(small, 2**halvings, sides_px, GUESS_SPAN)
    guess = compose(small, below.fill)
    completion = yield from _stepwise(complete(guess, touched(photo.hole, halvings) == 1), COMPLETION_SPAN)
    if completion is None:
        return (yield from _climb(photo, 1, sides_px, (COMPLETION_SPAN[1], 1)))
    stencil = Stencil(completion, small.pixels, 2**halvings)
    fill, last = yield from _copy(photo, stencil, sides_px)
    return Filled(fill, (*below.passes, last))


def _climb(photo: Level, scale: int, sides_px: Sequence[int], span: Span) -> Plan[Filled]:
    """What the network makes of a picture that is `1 / scale` of the photo's size, coarse to fine."""
    levels = _levels(photo, sides_px[0])
    spans = _spans(len(levels), span)
    level = levels.pop()
    fill, windows = new_fill(level.size), cover(level.hole, sides_px)
    yield from _predict(level, level.hole, windows, np.zeros(level.size, np.float32), fill, next(spans))
    passes = [Pass(scale * 2 ** len(levels), tuple(windows))]
    while levels:
        coarse, level = level, levels.pop()
        fill, windows = yield from _refine(level, coarse, fill, sides_px, next(spans))
        passes.append(Pass(scale * 2 ** len(levels), tuple(windows)))
    return Filled(fill, tuple(passes))


def _copy(photo: Level, stencil: Stencil, sides_px: Sequence[int]) -> Plan[tuple[Fill, Pass]]:
    """Copied pixels, cross-faded at the rim of holes into what the network predicts."""
    copied_share = np.minimum(distance_px(photo) / RIM_PX, 1, dtype=np.float32)
    todo = photo.hole * (copied_share < 1)
    windows = cover(todo, sides_px)
    if network_pixels(windows) > MAX_LEVEL_PIXELS:
        copied_share, windows = photo.hole.astype(np.float32), []
    fill = yield from _stepwise(copy_known(photo, stencil, copied_share), COPY_SPAN)
    yield from _predict(photo, todo, windows, copied_share, fill, (COPY_SPAN[1], 1))
    return fill, Pass(1, tuple(windows))


def _stepwise(work: Generator[float, None, ResultT], span: Span) -> Plan[ResultT]:
    """Work that needs no network, as rounds without samples: between them it can be cancelled."""
    while True:
        try:
            done = next(work)
        except StopIteration as stop:
            return cast(ResultT, stop.value)
        yield Round((), done=span[0] + (span[1] - span[0]) * done)


def _levels(photo: Level, smallest_side_px: int) -> list[Level]:
    """The photo and as many halvings as it takes to bring known pixels within reach of all holes."""
    levels = [photo]
    while max(levels[-1].size) > smallest_side_px and distance_px(levels[-1]).max() > REACH_PX:
        levels.append(halve(levels[-1]))
    return levels


def _spans(levels: int, span: Span) -> Iterator[Span]:
    """Which part of the span each level is, the coarsest first: each has four times the pixels of the one before."""
    ends = [span[0] + (span[1] - span[0]) * (4**done - 1) / (4**levels - 1) for done in range(levels + 1)]
    return pairwise(ends)


def _refine(
    level: Level, coarse: Level, coarse_fill: Fill, sides_px: Sequence[int], span: Span
) -> Plan[tuple[Fill, list[Window]]]:
    """The enlarged coarse fill, cross-faded towards known pixels into what the network predicts at this size."""
    coarse_share = np.minimum(distance_px(level) / REACH_PX, 1, dtype=np.float32)
    todo = level.hole * (coarse_share < 1)
    windows = cover(todo, sides_px)
    if network_pixels(windows) > MAX_LEVEL_PIXELS:
        coarse_share, windows = level.hole.astype(np.float32), []
    fill = enlarge(coarse, coarse_fill, coarse_share)
    yield from _predict(level, todo, windows, coarse_share, fill, span)
    return fill, windows


def _predict(
    level: Level,
    todo: Pixels,
    windows: Sequence[Window],
    coarse_share: NDArray[np.float32],
    fill: Fill,
    span: Span,
) -> Plan[None]:
    """Add to the fill the network's share of it, predicted from all pixels but those to do."""
    total = np.zeros(level.size, np.uint32)
    for window in windows:
        total[window.area] += _weights(window, level)
    for first in range(0, len(windows), WINDOWS_A_ROUND):
        some = windows[first : first + WINDOWS_A_ROUND]
        done = span[0] + (span[1] - span[0]) * first / len(windows)
        views = Round((_look(level, todo, fill, window) for window in some), done=done)
        for window, view, seen in zip(some, views, (yield views), strict=True):
            share = _share(window, level, total) * (1 - coarse_share[window.area])
            _add(fill[window.area], view, seen["filled"], share * todo[window.area])


def _share(window: Window, level: Level, total: NDArray[np.uint32]) -> Floats:
    return np.asarray(_weights(window, level) / total[window.area], np.float32)


def _look(level: Level, todo: Pixels, fill: Fill, window: Window) -> Tensors:
    """What the network sees: (side, side, 3) pixels and (side, side, 1) mask, mirrored where the picture ends."""
    pixels = compose(Level(level.pixels[window.area], level.hole[window.area]), fill[window.area])
    return {"image": _pad(pixels, window.side_px), "mask": _pad(todo[window.area][..., None], window.side_px)}


def _pad(pixels: Pixels, side_px: int) -> Pixels:
    height, width = pixels.shape[:2]
    return np.pad(pixels, ((0, side_px - height), (0, side_px - width), (0, 0)), mode="symmetric")


def _add(fill: Fill, view: Tensors, predicted: Floats, share: Floats) -> None:
    height, width = share.shape
    pixels = np.asarray(view["image"], np.float32) / np.float32(255)
    hole = np.asarray(view["mask"][..., 0], np.float32)
    matched = match_surroundings(calm_depths(predicted, hole), pixels, hole)
    diffused = diffuse(pixels, hole)
    joined = prefer_smooth(prefer_diffused(matched, diffused, hole), diffused, pixels, hole)
    colours = limit_colours(joined, pixels, hole)[:height, :width]
    add_colours(fill, np.clip(colours, 0, 1) * (share * np.float32(65535))[..., None])


def _weights(window: Window, level: Level) -> NDArray[np.uint16]:
    height, width = level.size
    bottom, right = window.top + window.side_px, window.left + window.side_px
    weights = window_weights(
        window.side_px, MARGIN_PX, open_edges=(window.top > 0, bottom < height, window.left > 0, right < width)
    )
    return weights[: height - window.top, : width - window.left]
