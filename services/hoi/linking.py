"""The geometry of links: slightly bent, so that two that join the same boxes both ways lie apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray

from services.hoi.placing import Size, Spot

BEND = 0.12
"""How far the middle of a link is beside the straight line, in its lengths."""
POINTS = 33
ALONG = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)
RINGS, DIRECTIONS = 6, 12
Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """points: (n, 2) x and y from the middle of one box to that of another."""

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
        """For a label: on the curve, else around its middle, ever farther away."""
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
