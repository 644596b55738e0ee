"""Rendering of maps under a point light, equal to the network's rendering layer, in NumPy.

GGX with the terms of Karis, "Real Shading in Unreal Engine 4", 2013. Dielectrics reflect 5 % at normal incidence,
metals their base colour without a diffuse part.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.materials.maps import Floats, SurfaceMaps, unit

DIELECTRIC_F0 = 0.05
MIN_ROUGHNESS = 0.02
MIN_DENOMINATOR = 1e-6
AT_CAMERA = (0.0, 0.0, 0.0)
CLIPPED = 0.98
"""Pixels of a photo with at least this linear light count as clipped."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera in front of the plane at distance 1, whose middle is on its axis.

    half_width, half_height: half the size of the visible part of the plane.
    """

    half_width: float
    half_height: float

    def coordinates(self, height: int, width: int, rows: slice = slice(None)) -> Floats:
        """x (right) and y (up) of the pixels' centres, (rows, w, 2)."""
        right = (2 * np.arange(width, dtype=np.float32) + 1) / width - 1
        up = 1 - (2 * np.arange(height, dtype=np.float32) + 1) / height
        return np.stack(np.meshgrid(self.half_width * right, self.half_height * up[rows]), -1).astype(np.float32)

    def points(self, height: int, width: int, rows: slice = slice(None)) -> Floats:
        """Points (rows, w, 3) of the pixels on the plane z = -1; the camera is at the origin."""
        return np.pad(self.coordinates(height, width, rows), ((0, 0), (0, 0), (0, 1)), constant_values=-1)


def camera_for(width: int, height: int, fov_deg: float) -> Camera:
    """The camera of a photo whose longer side covers the angle `fov_deg`."""
    half, longest = float(np.tan(np.deg2rad(fov_deg) / 2)), max(width, height)
    return Camera(half * width / longest, half * height / longest)


def shade(maps: SurfaceMaps, points: Floats, light: tuple[float, float, float]) -> Floats:
    """Linear light (h, w, 3), not clipped, of points (h, w, 3) seen from the origin.

    A white diffuse surface that faces the light at distance 1 has the value 1.
    """
    to_light = np.asarray(light, np.float32) - points
    squared_distance = _dot(to_light, to_light)
    toward_light, view = unit(to_light), unit(-points)
    facing = np.maximum(_dot(maps.normal, toward_light), 0)
    return np.asarray(np.pi * reflectance(maps, view, toward_light) * facing / squared_distance, np.float32)


def reflectance(maps: SurfaceMaps, view: Floats, light: Floats) -> Floats:
    """BRDF (h, w, 3), per steradian, for unit vectors (h, w, 3) towards the camera and the light."""
    half = unit(view + light)
    n_dot_h, n_dot_v, n_dot_l = (np.clip(_dot(maps.normal, each), 0, 1) for each in (half, view, light))
    f0 = specular_colour(maps)
    v_dot_h = np.clip(_dot(view, half), 0, 1)
    fresnel = f0 + (1 - f0) * np.exp2((-5.55472 * v_dot_h - 6.98316) * v_dot_h)
    specular = fresnel * microfacets(maps.roughness[..., None], n_dot_h, n_dot_v, n_dot_l)
    return np.asarray(diffuse_colour(maps) / np.pi + specular, np.float32)


def diffuse_colour(maps: SurfaceMaps) -> Floats:
    """The diffuse part (h, w, 3) of the base colour; metals have none."""
    return np.asarray((1 - maps.metallic[..., None]) * maps.albedo, np.float32)


def specular_colour(maps: SurfaceMaps) -> Floats:
    """The reflectance (h, w, 3) at normal incidence: 5 % for dielectrics, the base colour for metals."""
    return np.asarray(DIELECTRIC_F0 + maps.metallic[..., None] * (maps.albedo - DIELECTRIC_F0), np.float32)


def microfacets(roughness: Floats, n_dot_h: NDArray[Any], n_dot_v: NDArray[Any], n_dot_l: NDArray[Any]) -> Floats:
    """Specular term D * G / (4 (n.l) (n.v)), without Fresnel; the cosines in G cancel those in the denominator."""
    roughness = np.maximum(roughness, MIN_ROUGHNESS)
    alpha_squared, k = roughness**4, (roughness + 1) ** 2 / 8
    spread = n_dot_h**2 * (alpha_squared - 1) + 1
    shadowed = (n_dot_v * (1 - k) + k) * (n_dot_l * (1 - k) + k)
    return np.asarray(alpha_squared / np.maximum(4 * np.pi * spread**2 * shadowed, MIN_DENOMINATOR), np.float32)


def rerender(maps: SurfaceMaps, camera: Camera) -> Floats:
    """Render (h, w, 3) of the surface in linear light under a flash at the camera."""
    return shade(maps, camera.points(maps.height, maps.width), AT_CAMERA)


def rerender_rmse(maps: SurfaceMaps, light: Floats, camera: Camera) -> float:
    """Root mean square difference in sRGB 0..1 between the photo and a render under a flash at the camera."""
    rendered = rerender(maps, camera)
    shown = np.clip(fit_exposure(light, rendered) * rendered, 0, 1)
    error = encode_srgb(light) - encode_srgb(shown)
    return float(np.sqrt(np.mean(error.astype(np.float64) ** 2)))


def fit_exposure(light: Floats, rendered: Floats) -> float:
    """Factor by which a render fits the unclipped pixels of the photo best, as the power of the flash is unknown."""
    unclipped = (light < CLIPPED).all(axis=2)
    target, render = (light[unclipped], rendered[unclipped]) if unclipped.any() else (light, rendered)
    return float((target * render).sum() / max(float((render * render).sum()), 1e-12))


def _dot(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Dot products (..., 1) of vectors (..., 3)."""
    return np.asarray(np.sum(a * b, axis=-1, keepdims=True), np.float32)
