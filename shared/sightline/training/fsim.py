"""Feature similarity of pictures: Zhang, Zhang, Mou, Zhang, "FSIM: A Feature Similarity Index for Image Quality
Assessment", IEEE TIP 20(8), 2011.

Our own, as the packages that have it need torchvision, which the build of torch that is used here has no match for.
"""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.training.photos import Picture

Doubles = NDArray[np.float64]

WORKING_PX = 256  # the shorter side is brought near to this
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
CONGRUENCY_FLOOR, GRADIENT_FLOOR, CHROMA_FLOOR, CHROMA_POWER = 0.85, 160.0, 200.0, 0.03
SCALES, ORIENTATIONS, SHORTEST_WAVE_PX, SIGMA_ON_F, SPREAD_RATIO = 4, 4, 6, 0.55, 1.2
NOISE_SIGMAS, NOISE_OVERESTIMATED = 2.0, 1.7


def fsim(picture: Picture, truth: Picture) -> float:
    """FSIMc, with chroma, of (h, w, 3) uint8 sRGB: 1 for equal pictures."""
    a, b = _yiq(picture), _yiq(truth)
    congruency = phase_congruency(a[0]), phase_congruency(b[0])
    weight = np.maximum(*congruency)
    likeness = _likeness(*congruency, CONGRUENCY_FLOOR) * _likeness(_gradient(a[0]), _gradient(b[0]), GRADIENT_FLOOR)
    chroma = _likeness(a[1], b[1], CHROMA_FLOOR) * _likeness(a[2], b[2], CHROMA_FLOOR)
    return float((likeness * np.abs(chroma) ** CHROMA_POWER * weight).sum() / max(weight.sum(), 1e-12))


def phase_congruency(grey: Doubles) -> Doubles:
    """(h, w) in 0..1 of (h, w) in 0..255: how much the waves of all lengths agree (Kovesi, Videre 1(3), 1999)."""
    spectrum, bank = np.fft.fft2(grey), _filters(*grey.shape)
    energy, amplitude = np.zeros_like(grey), np.zeros_like(grey)
    for filters in bank:
        responses = np.fft.ifft2(spectrum * filters)
        total = responses.sum(0)
        # Turned so that the mean phase is real: what agrees with it minus what deviates.
        turned = responses * np.conj(total / (np.abs(total) + 1e-12))
        found = (turned.real - np.abs(turned.imag)).sum(0)
        energy += np.maximum(found - _noise_threshold(responses[0], filters), 0)
        amplitude += np.abs(responses).sum(0)
    return np.asarray(energy / (amplitude + 1e-12), np.float64)


def _noise_threshold(finest: NDArray[Any], filters: Doubles) -> float:
    """What noise alone would rarely exceed, from the median of the finest scale's energy."""
    power = np.median(np.abs(finest) ** 2) / np.log(2) / (filters[0] ** 2).sum()
    waves = np.fft.ifft2(filters).real * np.sqrt(finest.size)
    squares = (waves**2).sum()
    crossed = (waves.sum(0) ** 2).sum() - squares  # twice the sum of products of different scales
    tau = np.sqrt(power * (squares + crossed))
    return float(tau * (np.sqrt(np.pi / 2) + NOISE_SIGMAS * np.sqrt(2 - np.pi / 2)) / NOISE_OVERESTIMATED)


@lru_cache(maxsize=4)
def _filters(height: int, width: int) -> Doubles:
    """(orientations, scales, h, w) log-Gabor filters in the order of the spectrum."""
    down, across = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    radius, angle = np.hypot(down, across), np.arctan2(-down, across)
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    radius[0, 0] = 1
    centres = 1 / (SHORTEST_WAVE_PX * 2.0 ** np.arange(SCALES))
    bands = np.exp(-(np.log(radius / centres[:, None, None]) ** 2) / (2 * np.log(SIGMA_ON_F) ** 2)) * low_pass
    bands[:, 0, 0] = 0
    turns = np.arange(ORIENTATIONS)[:, None, None] * np.pi / ORIENTATIONS
    away = np.abs(np.angle(np.exp(1j * (angle - turns))))
    spread = np.exp(-(away**2) / (2 * (np.pi / (ORIENTATIONS * SPREAD_RATIO)) ** 2))
    return np.asarray(spread[:, None] * bands[None], np.float64)


def _yiq(picture: Picture) -> Doubles:
    factor = max(1, round(min(picture.shape[:2]) / WORKING_PX))
    size = (picture.shape[1] // factor, picture.shape[0] // factor)
    whole = picture[: size[1] * factor, : size[0] * factor].astype(np.float64)
    pooled = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.moveaxis(pooled @ TO_YIQ.T, 2, 0), np.float64)


def _gradient(grey: Doubles) -> Doubles:
    padded = np.pad(grey, 1) / 16
    across, down = (np.asarray(cv2.Scharr(padded, cv2.CV_64F, *axis)) for axis in ((1, 0), (0, 1)))
    return np.asarray(np.hypot(across, down)[1:-1, 1:-1], np.float64)


def _likeness(a: Doubles, b: Doubles, floor: float) -> Doubles:
    return np.asarray((2 * a * b + floor) / (a**2 + b**2 + floor), np.float64)
