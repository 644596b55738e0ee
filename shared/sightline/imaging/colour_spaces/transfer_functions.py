"""TransferFunction functions: sRGB (IEC 61966-2-1), gamma, PQ (SMPTE ST 2084) and HLG (ITU-R BT.2100)."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.tags import ColourTags, TransferFunction
from sightline.imaging.colour_spaces.tone_mapping import REFERENCE_NITS

Floats = NDArray[np.float32]

_PQ = (2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128)  # m1, m2, c1, c2, c3 of SMPTE ST 2084
_PQ_NITS = 10_000.0
_HLG = (0.17883277, 0.28466892, 0.55991073)  # a, b, c of ITU-R BT.2100


def encode_srgb(light: NDArray[Any]) -> NDArray[np.float32]:
    """Encodes linear light 0..1 as sRGB 0..1."""
    high = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, high).astype(np.float32)


def decode_srgb(encoded: NDArray[Any]) -> NDArray[np.float32]:
    """Decodes sRGB 0..1 to linear light 0..1."""
    high = ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, encoded / 12.92, high).astype(np.float32)


@lru_cache(maxsize=8)
def linearization_table(tags: ColourTags, dtype: np.dtype[Any]) -> Floats:
    """Returns the light of every code value; 1 is white, reference white for PQ, the scene's brightest for HLG."""
    code = np.linspace(0, 1, int(np.iinfo(dtype).max) + 1)
    if tags.transfer is TransferFunction.SRGB:
        return decode_srgb(code)
    if tags.transfer is TransferFunction.GAMMA:
        return np.asarray(code**tags.exponent, np.float32)
    if tags.transfer is TransferFunction.HLG:
        a, b, c = _HLG
        return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)
    m1, m2, c1, c2, c3 = _PQ
    root = code ** (1 / m2)
    nits = _PQ_NITS * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return np.asarray(nits / REFERENCE_NITS, np.float32)


def encode(light: Floats, tags: ColourTags) -> Floats:
    """Inverts the linearization table; returns 0..1."""
    if tags.transfer is TransferFunction.SRGB:
        return encode_srgb(np.clip(light, 0, 1))
    if tags.transfer is TransferFunction.GAMMA:
        return np.clip(light, 0, 1) ** np.float32(1 / tags.exponent)
    if tags.transfer is TransferFunction.HLG:
        a, b, c = _HLG
        light = np.clip(light, 0, 1)
        high = a * np.log(np.maximum(12 * light - b, 1e-6)) + c
        return np.where(light <= 1 / 12, np.sqrt(3 * light), high).astype(np.float32)
    m1, m2, c1, c2, c3 = _PQ
    root = np.clip(light.astype(np.float64) * REFERENCE_NITS / _PQ_NITS, 0, 1) ** m1
    return np.asarray(((c1 + c2 * root) / (1 + c3 * root)) ** m2, np.float32)
