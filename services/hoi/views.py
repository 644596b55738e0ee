"""Views of a photo for the detector: the whole frame, and tiles in which small people are large enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from services.hoi.detections import Floats
from sightline.inference.detector import PICTURE, SCALE, DetectorInput, resize_picture
from sightline.inference.signature import Tensors

GREY = 127
OVERLAP = 0.25
"""Share of a tile. An object that is cut at one level is whole in some tile of the next coarser one, where it still has
an eighth of the detector's input."""
EDGE_PX = 4.0
"""Pixels of the detector: a box this close to an inner edge of a tile was cut by it."""

Size = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a photo, in its pixels; `width` and `height` are those of the whole photo."""

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
    """A window resized to `seen_width` x `seen_height` px, in an input of `size` whose rest is grey."""

    window: Window
    seen_width: int
    seen_height: int
    size: Size

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Pixels of the detector in one pixel of the photo."""
        window = self.window
        return self.seen_width / (window.right - window.left), self.seen_height / (window.bottom - window.top)

    def draw(self, part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The detector's input (h, w, 3), from the window's pixels or a smaller copy of them."""
        picture = np.full((self.size["h"], self.size["w"], 3), GREY, np.uint8)
        picture[: self.seen_height, : self.seen_width] = resize_picture(part, self.seen_width, self.seen_height)
        return picture

    def sample(self, part: NDArray[np.uint8], detector: DetectorInput | None) -> Tensors:
        """The sample of the window's pixels, with the picture of the detector that replaces the shipped one."""
        own = {"image": self.draw(part)}
        if detector is None:
            return own
        across, down = detector.fit(part.shape[1], part.shape[0])
        scale = np.array([self.seen_width / across, self.seen_height / down], np.float32)
        return {**own, PICTURE: detector.draw(part), SCALE: scale}

    def to_photo(self, boxes_xyxy: Floats) -> Floats:
        """Boxes in pixels of the photo, cut at the window's edges, from boxes in pixels of the view."""
        window, (across, down) = self.window, self.scale_xy
        boxes = boxes_xyxy / np.array([across, down] * 2) + [window.left, window.top] * 2
        low, high = [window.left, window.top] * 2, [window.right, window.bottom] * 2
        return np.asarray(np.clip(boxes, low, high), np.float32)

    def is_whole(self, boxes_xyxy: Floats) -> NDArray[np.bool_]:
        """(n,): whether each box, in pixels of the photo, is not cut by the window."""
        window, (across, down) = self.window, self.scale_xy
        inner = np.array([window.left > 0, window.top > 0, window.right < window.width, window.bottom < window.height])
        edges = np.array([window.left, window.top, window.right, window.bottom])
        distance_px = np.abs(boxes_xyxy - edges) * np.array([across, down] * 2)
        return np.asarray(~(inner & (distance_px < EDGE_PX)).any(axis=1))


def whole_frame(width: int, height: int, sizes: Sequence[Size]) -> View:
    """The view of the whole photo."""
    return _fitted(Window(0, 0, width, height, width, height), sizes)


def tiles(width: int, height: int, sizes: Sequence[Size], max_tiles: int) -> list[View]:
    """At most `max_tiles` views of overlapping parts; none of a photo whose frame fits at its own scale.

    They are at the photo's scale, or as near to it as their number allows, and at halves of that.
    """
    side = max(max(size["h"], size["w"]) for size in sizes)
    while sum(map(len, levels := _levels(width, height, side))) > max_tiles:
        side = ceil(1.1 * side)
    return [_fitted(window, sizes) for level in levels for window in level]


def _levels(width: int, height: int, side: int) -> list[list[Window]]:
    """Windows of sides that double from level to level, while they are smaller than the photo."""
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
    """Starts of windows of that side, evenly over the length, that overlap by at least `OVERLAP`."""
    if side >= length:
        return [0]
    count = 1 + ceil((length - side) / (side * (1 - OVERLAP)))
    return [round(start) for start in np.linspace(0, length - side, count)]


def _fitted(window: Window, sizes: Sequence[Size]) -> View:
    """The view of a window in the size in which it is largest; of equal ones, the one with the least grey."""
    width, height = window.right - window.left, window.bottom - window.top

    def scale(size: Size) -> float:
        return min(size["w"] / width, size["h"] / height)

    size = max(sizes, key=lambda each: (scale(each), -each["h"] * each["w"]))
    return View(window, max(1, round(width * scale(size))), max(1, round(height * scale(size))), size)
