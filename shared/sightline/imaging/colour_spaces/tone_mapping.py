"""Tone mapping of HDR for SDR displays: reference white tone mapping of SMPTE ST 2094-50, as in browsers.

Light is relative to reference white (203 cd/m2, ITU-R BT.2408), which maps to half of the display's light and leaves
the rest to highlights; the brightest light maps to the display's white.
"""

from dataclasses import dataclass
from math import log2
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

REFERENCE_NITS = 203.0
_FULL_HEADROOM = log2(1000 / REFERENCE_NITS)
_ROUNDNESS = 0.65

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class ToneCurve:
    """Proportional up to reference white, a parabola (quadratic Bezier curve) from there to the peak.

    knee: the output for reference white; peak: the light that maps to 1.
    """

    knee: float
    peak: float

    @classmethod
    def for_peak(cls, peak_nits: float) -> Self:
        """Returns the curve for a brightest light in cd/m2."""
        peak = max(peak_nits / REFERENCE_NITS, 1.0)
        return cls(1 - min(log2(peak) / _FULL_HEADROOM, 1) / 2, peak)

    @property
    def compresses(self) -> bool:
        """True if the picture has light beyond reference white."""
        return self.peak > 1

    def apply(self, light: Floats) -> Floats:
        """Maps light to 0..1."""
        if not self.compresses:
            return np.minimum(light, 1)
        start, middle, end = self._x
        parameter = _solve_bezier(start, middle, end, np.clip(light, 1, self.peak))
        return np.where(light <= 1, self.knee * light, _bezier(*self._y, parameter))

    def invert(self, shown: Floats) -> Floats:
        """Maps 0..1 back to light from 0 to the peak."""
        if not self.compresses:
            return shown
        start, middle, end = self._y
        parameter = _solve_bezier(start, middle, end, np.clip(shown, self.knee, 1))
        return np.where(shown <= self.knee, shown / self.knee, _bezier(*self._x, parameter))

    @property
    def _x(self) -> tuple[float, float, float]:
        return 1.0, 1 + _ROUNDNESS * (1 / self.knee - 1), self.peak

    @property
    def _y(self) -> tuple[float, float, float]:
        return self.knee, self.knee + _ROUNDNESS * (1 - self.knee), 1.0


def _bezier(start: float, middle: float, end: float, parameter: Floats) -> Floats:
    return (1 - parameter) ** 2 * start + 2 * parameter * (1 - parameter) * middle + parameter**2 * end


def _solve_bezier(start: float, middle: float, end: float, value: Floats) -> Floats:
    """Returns the parameter 0..1 at which a rising curve reaches the value."""
    curvature, slope = start - 2 * middle + end, 2 * (middle - start)
    # Stable form of the quadratic formula, as the curvature may be zero.
    excess = value - start
    return np.asarray(2 * excess / (slope + np.sqrt(np.maximum(slope**2 + 4 * curvature * excess, 1e-12))))
