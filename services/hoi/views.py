"""What the detector gets to see of a photo: the whole frame, and tiles of it in which small people are large enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from services.hoi.found import Floats

GREY = 127
OVERLAP = 0.25
"""Of neighbouring tiles. With it a thing that is cut at one level is whole in some tile of the next coarser one,
where it still has an eighth of the detector's sight."""
EDGE_PX = 4.0
"""Of the detector's pixels: a box that comes so close to an inner edge of a tile was cut by it."""

Size = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a photo in its pixels; `width` and `height` are the whole photo's."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    height: int

    def cut(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return pixels[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True, slots=True)
class View:
    """A window as the detector sees it: `seen_width` x `seen_height` px of a picture of `size`, the rest is grey."""

    window: Window
    seen_width: int
    seen_height: int
    size: Size

    @property
    def scale_xy(self) -> tuple[float, float]:
        """The detector's pixels in one of the photo's."""
        window = self.window
        return self.seen_width / (window.right - window.left), self.seen_height / (window.bottom - window.top)

    def draw(self, part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(h, w, 3) of the view's size out of the window's pixels, or out of a smaller copy of them."""
        shrinks = part.shape[1] >= self.seen_width and part.shape[0] >= self.seen_height
        filtering = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        picture = np.full((self.size["h"], self.size["w"], 3), GREY, np.uint8)
        seen = cv2.resize(part, (self.seen_width, self.seen_height), interpolation=filtering)
        picture[: self.seen_height, : self.seen_width] = seen
        return picture

    def to_photo(self, boxes_xyxy: Floats) -> Floats:
        """Of boxes in the view's pixels, cut at the window's edges."""
        window, (across, down) = self.window, self.scale_xy
        boxes = boxes_xyxy / np.array([across, down] * 2) + [window.left, window.top] * 2
        low, high = [window.left, window.top] * 2, [window.right, window.bottom] * 2
        return np.asarray(np.clip(boxes, low, high), np.float32)

    def whole(self, boxes_xyxy: Floats) -> NDArray[np.bool_]:
        """(n,): whether a box in the photo's pixels, seen in this window, was not cut by it."""
        window, (across, down) = self.window, self.scale_xy
        inner = np.array([window.left > 0, window.top > 0, window.right < window.width, window.bottom < window.height])
        edges = np.array([window.left, window.top, window.right, window.bottom])
        distance_px = np.abs(boxes_xyxy - edges) * np.array([across, down] * 2)
        return np.asarray(~(inner & (distance_px < EDGE_PX)).any(axis=1))


def whole_frame(width: int, height: int, sizes: Sequence[Size]) -> View:
    return _fitted(Window(0, 0, width, height, width, height), sizes)


def tiles(width: int, height: int, sizes: Sequence[Size], most: int) -> list[View]:
    """Views of overlapping parts, at most so many: at the photo's own scale, or as near to it as their number lets
    them be, then at halves of that. None for a photo that is seen whole at its own scale."""
    side = max(max(size["h"], size["w"]) for size in sizes)
    while sum(map(len, levels := _levels(width, height, side))) > most:
        side = ceil(1.1 * side)
    return [_fitted(window, sizes) for level in levels for window in level]


def _levels(width: int, height: int, side: int) -> list[list[Window]]:
    """Windows of ever larger sides, each twice the one before, as long as they are smaller than the photo."""
    levels = []
    while side < max(width, height):
        levels.append(_windows(width, height, side))
        side *= 2
    return levels


def _windows(width: int, height: int, side: int) -> list[Window]:
    return [
        Window(left, top, min(left + side, width), min(top + side, height), width, height)
        for top in _starts(height, side)
        for left in _starts(width, side)
    ]


def _starts(length: int, side: int) -> list[int]:
    """Of windows of that side, evenly over the length, that overlap by a share of at least `OVERLAP`."""
    if side >= length:
        return [0]
    count = 1 + ceil((length - side) / (side * (1 - OVERLAP)))
    return [round(start) for start in np.linspace(0, length - side, count)]


def _fitted(window: Window, sizes: Sequence[Size]) -> View:
    """In the size in which the window is seen largest, and of equals in the one with the least grey."""
    width, height = window.right - window.left, window.bottom - window.top

    def scale(size: Size) -> float:
        return min(size["w"] / width, size["h"] / height)

    size = max(sizes, key=lambda each: (scale(each), -each["h"] * each["w"]))
    return View(window, max(1, round(width * scale(size))), max(1, round(height * scale(size))), size)
