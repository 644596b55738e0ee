"""Layout of the overlay: links between boxes, and places for labels.

Links are curved, so that two links between the same boxes in opposite directions do not overlap.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import cos, pi, sin
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BEND = 0.12
"""Distance of a link's middle from the straight line, in lengths of that line."""
POINTS = 33  # of a drawn curve; odd, so that one is its middle
ALONG = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)  # places for a label on a curve, 0..1, the middle first
RINGS, DIRECTIONS = 6, 12  # places around the middle of a curve, where none on it is free
Points = NDArray[np.float64]


class Rect(NamedTuple):
    """A rectangle in whole pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


class Size(NamedTuple):
    """Size of a label in pixels."""

    width: int
    height: int


class Spot(NamedTuple):
    """Position of the upper left corner of a label."""

    left: float
    top: float


class LabelPlacer:
    """Places labels, the most important first, so that none hides another."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._taken: NDArray[np.int64] = np.empty((0, 4), np.int64)

    def place(self, size: Size, spots: Iterable[Spot]) -> Rect | None:
        """The first free spot, moved into the picture; None where every spot is taken."""
        for rect in self._within(size, spots):
            if not self._covered_px(rect):
                return self._take(rect)
        return None

    def _within(self, size: Size, spots: Iterable[Spot]) -> Iterable[Rect]:
        free = self._width - size.width, self._height - size.height
        if min(free) < 0:
            return
        for spot in spots:
            left, top = (round(min(max(place, 0), limit)) for place, limit in zip(spot, free, strict=True))
            yield Rect(left, top, left + size.width, top + size.height)

    def _covered_px(self, rect: Rect) -> int:
        low, high = np.maximum(self._taken[:, :2], rect[:2]), np.minimum(self._taken[:, 2:], rect[2:])
        return int(np.prod(np.maximum(high - low, 0), axis=1).sum())

    def _take(self, rect: Rect) -> Rect:
        self._taken = np.vstack([self._taken, np.array(rect)])
        return rect


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A bent link; points: (n, 2), x and y from the middle of one box to that of another."""

    points: Points

    @classmethod
    def between(cls, start_xyxy: list[float], end_xyxy: list[float]) -> "Curve":
        start, end = _middle(start_xyxy), _middle(end_xyxy)
        across = np.array([start[1] - end[1], end[0] - start[0]])
        control = (start + end) / 2 + 2 * BEND * across
        t = np.linspace(0, 1, POINTS)[:, None]
        return cls((1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end)

    @property
    def middle(self) -> Points:
        return np.asarray(self.points[POINTS // 2])

    def spots(self, size: Size) -> Iterator[Spot]:
        """Yields spots for a label: on the curve, then around its middle at growing distances."""
        for share in ALONG:
            yield _centred(self.points[round(share * (POINTS - 1))], size)
        for ring in range(1, RINGS + 1):
            for angle in np.arange(DIRECTIONS) * (2 * pi / DIRECTIONS):
                away = np.array([cos(angle) * size.width / 2, sin(angle) * size.height]) * ring
                yield _centred(self.middle + away, size)


def _middle(box_xyxy: list[float]) -> Points:
    left, top, right, bottom = box_xyxy
    return np.array([(left + right) / 2, (top + bottom) / 2])


def _centred(at: Points, size: Size) -> Spot:
    return Spot(float(at[0]) - size.width / 2, float(at[1]) - size.height / 2)
