"""Classical exposure correction, as baselines."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.transfer_functions import decode_srgb, encode_srgb
from sightline.training.photos import Picture

Corrector = Callable[[Picture], Picture]
CLIP_LIMIT = 2.0
TILES = (8, 8)
MIN_MEAN = 1 / 255
RETINEX_GAMMA, RETINEX_EDGE, RETINEX_WINDOWS = 0.8, 0.1, 32
MIN_ILLUMINATION = 0.02
FUSED_EVS = (-2.0, -1.0, 0.0, 1.0, 2.0, 3.0)


def identity(photo: Picture) -> Picture:
    return photo


def equalized(photo: Picture) -> Picture:
    """The photo after histogram equalisation of the lightness."""
    return _with_lightness(photo, cv2.equalizeHist)


def clahe(photo: Picture) -> Picture:
    """The photo after CLAHE of the lightness (Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", 1994)."""
    return _with_lightness(photo, cv2.createCLAHE(CLIP_LIMIT, TILES).apply)


def gamma_to_mean(photo: Picture) -> Picture:
    """The photo after a power function that brings its mean to the middle of the range."""
    values = photo.astype(np.float32) / 255
    mean = float(np.clip(values.mean(), MIN_MEAN, 1 - MIN_MEAN))
    return _to_bytes(values ** np.float32(np.log(0.5) / np.log(mean)))


def fusion(photo: Picture) -> Picture:
    """Exposure fusion (Mertens et al. 2007) of brighter and darker copies of one photo."""
    light = decode_srgb(photo.astype(np.float32) / 255)
    bracket = [_to_bytes(encode_srgb(np.clip(light * 2.0**ev, 0, 1))) for ev in FUSED_EVS]
    return _to_bytes(cv2.createMergeMertens().process(bracket))


def retinex(photo: Picture) -> Picture:
    """The photo divided by its illumination, as in LIME (Guo et al. 2017), with a guided filter as the smoothing."""
    values = photo.astype(np.float32) / 255
    illumination = guided_filter(values.max(axis=2), round(max(photo.shape) / RETINEX_WINDOWS), RETINEX_EDGE)
    return _to_bytes(values / np.maximum(illumination, MIN_ILLUMINATION)[..., None] ** np.float32(RETINEX_GAMMA))


def guided_filter(values: NDArray[np.float32], radius_px: int, edge: float) -> NDArray[np.float32]:
    """Values (h, w) smoothed where their contrast is below `edge` (He et al. 2010, guided by themselves)."""

    def box(plane: NDArray[np.floating]) -> NDArray[np.float32]:
        window = 2 * radius_px + 1
        return np.asarray(cv2.blur(plane, (window, window), borderType=cv2.BORDER_REFLECT), np.float32)

    mean = box(values)
    variance = box(values * values) - mean * mean
    kept = variance / (variance + np.float32(edge**2))
    return np.asarray(box(kept) * values + box(mean - kept * mean), np.float32)


BASELINES: dict[str, Corrector] = {
    "identity": identity,
    "equalized": equalized,
    "clahe": clahe,
    "gamma_to_mean": gamma_to_mean,
    "fusion": fusion,
    "retinex": retinex,
}


def _with_lightness(photo: Picture, change: Callable[[Picture], cv2.typing.MatLike]) -> Picture:
    lab = cv2.cvtColor(photo, cv2.COLOR_RGB2LAB)
    lab[..., 0] = change(np.ascontiguousarray(lab[..., 0], np.uint8))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def _to_bytes(values: cv2.typing.MatLike) -> Picture:
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
