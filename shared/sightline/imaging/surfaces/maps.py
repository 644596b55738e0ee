"""The maps of a surface."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
SHORTEST = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """albedo: (h, w, 3) linear in 0..1, the base colour of metals; normal: (h, w, 3) of unit length, x right, y up, z
    towards the camera; roughness: (h, w) in 0..1, as in glTF; metallic: 0..1, of the whole."""

    albedo: Floats
    normal: Floats
    roughness: Floats
    metallic: float

    @property
    def height(self) -> int:
        return int(self.roughness.shape[0])

    @property
    def width(self) -> int:
        return int(self.roughness.shape[1])


def unit(vectors: NDArray[Any]) -> Floats:
    """(..., 3) divided by their lengths."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, SHORTEST), np.float32)
