"""A planar surface lit by a point light: the differentiable microfacet rendering layer.

GGX with the terms of Karis, "Real Shading in Unreal Engine 4", 2013, as in Li, Sunkavalli, Chandraker: "Materials for
Masses", ECCV 2018, arXiv:1804.05790. There every material reflects 5 % head-on; here metals reflect their base colour
and have no diffuse part, as in glTF's metallic-roughness model.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

DIELECTRIC_F0 = 0.05
SMALLEST_ROUGHNESS = 0.02
SMALLEST_DENOMINATOR = 1e-6
LOG_GAIN = 10.0
SHORTEST = 1e-6


@dataclass(frozen=True, slots=True)
class Surface:
    """albedo: (b, 3, h, w) linear in 0..1, the base colour of metals; normal: (b, 3, h, w) of unit length, x right,
    y up, z towards the camera; roughness: (b, 1, h, w) in 0..1, alpha = roughness ** 2; metallic: (b, 1, 1, 1)."""

    albedo: Tensor
    normal: Tensor
    roughness: Tensor
    metallic: Tensor


def plane_points(coordinates: Tensor) -> Tensor:
    """(b, 2, h, w) x and y on the plane z = -1 to its points (b, 3, h, w), the camera being at the origin."""
    return torch.cat([coordinates, -torch.ones_like(coordinates[:, :1])], 1)


def render(surface: Surface, points: Tensor, light: Tensor) -> Tensor:
    """Linear radiance (b, 3, h, w), not clipped, of points (b, 3, h, w) seen from the origin.

    light: (b, 3), where the point light is; its power makes a white diffuse surface at distance 1 that faces it 1.
    """
    to_light = light[:, :, None, None] - points
    squared_distance = dot(to_light, to_light)
    toward_light = to_light * torch.rsqrt(squared_distance)
    reflected = reflectance(surface, unit(-points), toward_light)
    facing = dot(surface.normal, toward_light).clamp_min(0)
    return math.pi * reflected * facing / squared_distance


def reflectance(surface: Surface, view: Tensor, light: Tensor) -> Tensor:
    """The BRDF (b, 3, h, w), per steradian, for unit vectors (b, 3, h, w) towards the camera and the light."""
    half = unit(view + light)
    n_dot_h, n_dot_v, n_dot_l = (dot(surface.normal, each).clamp(0, 1) for each in (half, view, light))
    f0 = DIELECTRIC_F0 + surface.metallic * (surface.albedo - DIELECTRIC_F0)
    fresnel = f0 + (1 - f0) * schlick(dot(view, half).clamp(0, 1))
    diffuse = (1 - surface.metallic) * surface.albedo / math.pi
    return diffuse + fresnel * microfacets(surface.roughness, n_dot_h, n_dot_v, n_dot_l)


def microfacets(roughness: Tensor, n_dot_h: Tensor, n_dot_v: Tensor, n_dot_l: Tensor) -> Tensor:
    """D * G / (4 (n.l) (n.v)), in which the two cosines cancel."""
    roughness = roughness.clamp_min(SMALLEST_ROUGHNESS)
    alpha_squared = roughness**4
    k = (roughness + 1) ** 2 / 8
    spread = n_dot_h**2 * (alpha_squared - 1) + 1
    shadowed = (n_dot_v * (1 - k) + k) * (n_dot_l * (1 - k) + k)
    return alpha_squared / (4 * math.pi * spread**2 * shadowed).clamp_min(SMALLEST_DENOMINATOR)


def schlick(v_dot_h: Tensor) -> Tensor:
    """How far the reflection goes from head-on to all, by the spherical Gaussian for (1 - v.h) ** 5."""
    return torch.pow(2.0, (-5.55472 * v_dot_h - 6.98316) * v_dot_h)


def tame(radiance: Tensor) -> Tensor:
    """Logarithmic, so that a highlight does not outweigh everything else."""
    return torch.log1p(LOG_GAIN * radiance)


def unit(vectors: Tensor) -> Tensor:
    """(b, 3, h, w) of length 1; a third of the time that `F.normalize` takes on CPU across channels."""
    return vectors * torch.rsqrt(dot(vectors, vectors).clamp_min(SHORTEST**2))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """(b, 3, h, w) twice to (b, 1, h, w)."""
    return (a * b).sum(1, keepdim=True)
