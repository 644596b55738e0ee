"""Class activation maps over the picture they are of."""

import cv2
import numpy as np
from numpy.typing import NDArray

from services.hra_screening.verdict import Verdict, softmax
from sightline.api.screening import CATEGORIES, Category

STRONGEST = 0.6
"""How much of the picture the hottest colour hides."""
BAND_ROWS = 64
"""Blended at a time: in floats a photo of 108 megapixels would take 4 GB at once."""


def cell_logits(verdict: Verdict, category: Category) -> NDArray[np.float32]:
    """(rows, columns)"""
    return np.asarray(verdict.activation[..., CATEGORIES.index(category)], np.float32)


def cell_probabilities(verdict: Verdict, category: Category) -> NDArray[np.float32]:
    """(rows, columns) in 0..1: the probability of the class, were the picture like the cell throughout."""
    return np.asarray(softmax(verdict.activation)[..., CATEGORIES.index(category)], np.float32)


def overlay(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w, 3) sRGB under a map in 0..1 of any size: no colour where it is 0, yellow where it is 1."""
    height, width = pixels.shape[:2]
    smooth = np.asarray(cv2.resize(heat, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    np.clip(smooth, 0, 1, out=smooth)
    drawn = np.empty_like(pixels)
    for top in range(0, height, BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        drawn[rows] = _blended(pixels[rows], smooth[rows])
    return drawn


def _blended(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (STRONGEST * heat)[..., None]
    return np.asarray(pixels * (1 - share) + colours * share + 0.5, np.uint8)
