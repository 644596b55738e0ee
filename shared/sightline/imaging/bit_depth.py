"""Conversion between 8 bits, 16 bits and floating point, full range to full range."""

from enum import IntEnum
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sightline.imaging.picture import Samples

Floats: TypeAlias = NDArray[np.float32]


class Depth(IntEnum):
    """Bits per sample."""

    EIGHT = 8
    SIXTEEN = 16


def to_float(samples: NDArray[np.unsignedinteger[Any]]) -> Floats:
    """0..255 or 0..65535 to 0..1"""
    return np.asarray(np.divide(samples, np.iinfo(samples.dtype).max, dtype=np.float32), np.float32)


def to_8_bit(samples: Samples) -> NDArray[np.uint8]:
    """Rounds samples to 8 bits; returns the same array if it has 8 bits."""
    if samples.dtype == np.uint8:
        return np.asarray(samples, np.uint8)
    return _rounding_table()[samples]


def expand_to_16_bit(samples: Samples, bits: int) -> Samples:
    """Scales samples of 9 to 15 bits, in uint16, to the full range of 16."""
    return _expansion_table(bits)[np.minimum(samples, (1 << bits) - 1)]


def quantize(values: NDArray[Any], dtype: np.dtype[Any]) -> Samples:
    """Converts uint8, uint16 or floating point in 0..1 to uint8 or uint16."""
    if values.dtype == dtype:
        return values
    if values.dtype == np.uint8:
        return values.astype(np.uint16) * np.uint16(257)
    if values.dtype == np.uint16:
        return to_8_bit(values)
    top = np.iinfo(dtype).max
    result: Samples = np.rint(np.clip(values, 0, 1) * top).astype(dtype)
    return result


@lru_cache(maxsize=8)
def _expansion_table(bits: int) -> NDArray[np.uint16]:
    top = (1 << bits) - 1
    return ((np.arange(top + 1, dtype=np.uint64) * 65_535 + top // 2) // top).astype(np.uint16)


@lru_cache(maxsize=1)
def _rounding_table() -> NDArray[np.uint8]:
    return ((np.arange(65_536, dtype=np.uint32) * 255 + 32_767) // 65_535).astype(np.uint8)
