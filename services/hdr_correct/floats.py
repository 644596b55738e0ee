"""Pictures as floating point numbers."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]


def to_unit(samples: NDArray[np.unsignedinteger[Any]]) -> Floats:
    """0..255 or 0..65535 to 0..1"""
    return np.asarray(np.divide(samples, np.iinfo(samples.dtype).max, dtype=np.float32), np.float32)
