"""Maps of a surface, and their mirror images.

The mean of the estimates from a photo and its mirror image has a smaller error than either.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
MIN_LENGTH = 1e-6
FLIP_X_2D, FLIP_X_3D = np.array([-1, 1], np.float32), np.array([-1, 1, 1], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceMaps:
    """Maps of one surface.

    albedo: (h, w, 3) linear in 0..1, the base colour of metals; normal: (h, w, 3) of unit length, x right, y up, z
    towards the camera; roughness and metallic: (h, w) in 0..1, as in glTF.
    """

    albedo: Floats
    normal: Floats
    roughness: Floats
    metallic: Floats

    @property
    def height(self) -> int:
        return int(self.roughness.shape[0])

    @property
    def width(self) -> int:
        return int(self.roughness.shape[1])


def unit(vectors: NDArray[Any]) -> Floats:
    """Vectors (..., 3) divided by their lengths."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, MIN_LENGTH), np.float32)


def mirrored_view(light: Floats, coordinates: Floats) -> tuple[Floats, Floats]:
    """Light (h, w, 3) and coordinates (h, w, 2) of the mirrored photo."""
    return np.ascontiguousarray(light[:, ::-1]), np.ascontiguousarray(coordinates[:, ::-1] * FLIP_X_2D)


def mirrored_maps(maps: SurfaceMaps) -> SurfaceMaps:
    """Maps of the mirrored surface, with left and right exchanged."""
    normal = np.asarray(maps.normal[:, ::-1] * FLIP_X_3D, np.float32)
    return SurfaceMaps(maps.albedo[:, ::-1], normal, maps.roughness[:, ::-1], maps.metallic[:, ::-1])


def mean_maps(one: SurfaceMaps, other: SurfaceMaps) -> SurfaceMaps:
    """Mean of two estimates of one surface."""
    names = ("albedo", "roughness", "metallic")
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    albedo, roughness, metallic = (np.asarray((a + b) / 2, np.float32) for a, b in pairs)
    return SurfaceMaps(albedo, unit(one.normal + other.normal), roughness, metallic)
