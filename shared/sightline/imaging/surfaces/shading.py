"""How maps look under a point light: the network's rendering layer in NumPy.

GGX with the terms of Karis, "Real Shading in Unreal Engine 4", 2013. Dielectrics reflect 5 % head-on, metals their base
colour and nothing else.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.imaging.surfaces.maps import Floats, Maps, unit

DIELECTRIC_F0 = 0.05
SMALLEST_ROUGHNESS = 0.02
SMALLEST_DENOMINATOR = 1e-6
AT_CAMERA = (0.0, 0.0, 0.0)


def shade(maps: Maps, points: Floats, light: tuple[float, float, float]) -> Floats:
    """Linear light (h, w, 3), not clipped, of points (h, w, 3) seen from the origin.

    The light's power makes a white diffuse surface at distance 1 that faces it 1.
    """
    to_light = np.asarray(light, np.float32) - points
    squared_distance = _dot(to_light, to_light)
    toward_light, view = unit(to_light), unit(-points)
    facing = np.maximum(_dot(maps.normal, toward_light), 0)
    return np.asarray(np.pi * reflectance(maps, view, toward_light) * facing / squared_distance, np.float32)


def reflectance(maps: Maps, view: Floats, light: Floats) -> Floats:
    """The BRDF (h, w, 3), per steradian, for unit vectors (h, w, 3) towards the camera and the light."""
    half = unit(view + light)
    n_dot_h, n_dot_v, n_dot_l = (np.clip(_dot(maps.normal, each), 0, 1) for each in (half, view, light))
    f0 = DIELECTRIC_F0 + maps.metallic * (maps.albedo - DIELECTRIC_F0)
    v_dot_h = np.clip(_dot(view, half), 0, 1)
    fresnel = f0 + (1 - f0) * np.exp2((-5.55472 * v_dot_h - 6.98316) * v_dot_h)
    specular = fresnel * microfacets(maps.roughness[..., None], n_dot_h, n_dot_v, n_dot_l)
    return np.asarray((1 - maps.metallic) * maps.albedo / np.pi + specular, np.float32)


def microfacets(roughness: Floats, n_dot_h: NDArray[Any], n_dot_v: NDArray[Any], n_dot_l: NDArray[Any]) -> Floats:
    """D * G / (4 (n.l) (n.v)), in which the two cosines cancel."""
    roughness = np.maximum(roughness, SMALLEST_ROUGHNESS)
    alpha_squared, k = roughness**4, (roughness + 1) ** 2 / 8
    spread = n_dot_h**2 * (alpha_squared - 1) + 1
    shadowed = (n_dot_v * (1 - k) + k) * (n_dot_l * (1 - k) + k)
    return np.asarray(alpha_squared / np.maximum(4 * np.pi * spread**2 * shadowed, SMALLEST_DENOMINATOR), np.float32)


def _dot(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """(..., 3) twice to (..., 1)."""
    return np.asarray(np.sum(a * b, axis=-1, keepdims=True), np.float32)
