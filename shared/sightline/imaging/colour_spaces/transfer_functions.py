"""The transfer curve of sRGB (IEC 61966-2-1)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode_srgb(light: NDArray[Any]) -> NDArray[np.float32]:
    """Linear 0..1 to sRGB 0..1."""
    high = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(light <= 0.0031308, 12.92 * light, high).astype(np.float32)


def decode_srgb(encoded: NDArray[Any]) -> NDArray[np.float32]:
    """sRGB 0..1 to linear 0..1."""
    high = ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, encoded / 12.92, high).astype(np.float32)
