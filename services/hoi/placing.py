"""Finds places for labels so that none hides another."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rect(NamedTuple):
    """In whole pixels, without its right column and bottom row."""

    left: int
    top: int
    right: int
    bottom: int


class Size(NamedTuple):
    width: int
    height: int


class Spot(NamedTuple):
    """Where the left upper corner of a label would be."""

    left: float
    top: float


class Placer:
    """Takes labels in the order of their importance."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._taken: NDArray[np.int64] = np.empty((0, 4), np.int64)

    def place(self, size: Size, spots: Iterable[Spot]) -> Rect | None:
        """The first of the spots, moved into the picture, that is free; None where there is none."""
        for rect in self._within(size, spots):
            if not self._covered_px(rect):
                return self._take(rect)
        return None

    def squeeze_in(self, size: Size, spots: Iterable[Spot]) -> Rect | None:
        """The spot at which least is hidden; None for a label that is larger than the picture."""
        rect = min(self._within(size, spots), key=self._covered_px, default=None)
        return None if rect is None else self._take(rect)

    def _within(self, size: Size, spots: Iterable[Spot]) -> Iterable[Rect]:
        free = self._width - size.width, self._height - size.height
        if min(free) < 0:
            return
        for spot in spots:
            left, top = (round(min(max(at, 0), most)) for at, most in zip(spot, free, strict=True))
            yield Rect(left, top, left + size.width, top + size.height)

    def _covered_px(self, rect: Rect) -> int:
        low, high = np.maximum(self._taken[:, :2], rect[:2]), np.minimum(self._taken[:, 2:], rect[2:])
        return int(np.prod(np.maximum(high - low, 0), axis=1).sum())

    def _take(self, rect: Rect) -> Rect:
        self._taken = np.vstack([self._taken, np.array(rect)])
        return rect
