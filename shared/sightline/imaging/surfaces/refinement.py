"""Maps made smooth where nothing in the photo speaks against it, and roughness read off the highlight.

Three dense conditional random fields with terms for the microfacet model, after Li, Sunkavalli, Chandraker: "Materials
for Masses", ECCV 2018, arXiv:1804.05790. All terms are quadratic: an estimate costs by its distance from the network's,
and by its differences from pixels that are near and alike. Jacobi steps find the minimum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from sightline.imaging.surfaces.bilateral import BilateralGrid
from sightline.imaging.surfaces.maps import Floats, Maps, unit
from sightline.imaging.surfaces.selfcheck import CLIPPED, fit_exposure
from sightline.imaging.surfaces.shading import AT_CAMERA, shade

STEPS = 5
FAINTEST = 4e-3
CANDIDATES = np.linspace(0.1, 1.0, 13).astype(np.float32)

Mean = Callable[[Floats], Floats]
Term = tuple[float, Mean]


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the differences between near pixels, and near ones that are alike in another respect, against the network's
    own estimate at 1. sigma: how near, in shares of the picture's side."""

    near: float = 0.0
    alike: float = 0.0
    sigma: float = 0.02


@dataclass(frozen=True, slots=True)
class Coefficients:
    """albedo: alike in the photo's brightness; normal: alike in the albedo's gradient; roughness: alike in albedo.
    peak: weight of the roughness that explains the highlight best, where the highlight is strongest."""

    albedo: Weights = field(default_factory=Weights)
    normal: Weights = field(default_factory=Weights)
    roughness: Weights = field(default_factory=Weights)
    peak: float = 0.0


SHIPPED = Coefficients(albedo=Weights(alike=0.5, sigma=0.03), roughness=Weights(near=2.0, alike=2.0, sigma=0.03))
"""What `sightline evaluate svbrdf --search-px 256` found; neither smoother normals nor the roughness of the highlight
helped there."""

ALIKE_BRIGHTNESS, ALIKE_GRADIENT, ALIKE_ALBEDO = 0.25, 0.1, 0.25
"""Standard deviations of the kernels, of natural logarithms."""


def refine(maps: Maps, light: Floats, points: Floats, coefficients: Coefficients) -> Maps:
    """Maps, the photo's light and the surface's points, (h, w, ...) of one size."""
    albedo = refine_albedo(maps, light, coefficients.albedo)
    normal = refine_normal(replace(maps, albedo=albedo), coefficients.normal)
    bent = replace(maps, albedo=albedo, normal=normal)
    return replace(bent, roughness=refine_roughness(bent, light, points, coefficients.roughness, coefficients.peak))


def refine_albedo(maps: Maps, light: Floats, weights: Weights) -> Floats:
    """Clipped pixels of the photo say nothing about who is alike."""
    seen = np.asarray((light < CLIPPED).all(axis=2), np.float32)
    guide = _log(np.asarray(light.mean(axis=2), np.float32))
    return np.clip(_solve(maps.albedo, 1.0, _terms(weights, guide, ALIKE_BRIGHTNESS, seen)), 0, 1)


def refine_normal(maps: Maps, weights: Weights) -> Floats:
    return unit(_solve(maps.normal, 1.0, _terms(weights, _steepness(maps.albedo), ALIKE_GRADIENT)))


def refine_roughness(maps: Maps, light: Floats, points: Floats, weights: Weights, peak: float) -> Floats:
    """(h, w)"""
    estimate, certainty = maps.roughness, np.ones_like(maps.roughness)
    if peak > 0:
        trust = peak * highlight(maps, points)
        explained = explain_highlight(maps, light, points)
        certainty = 1 + trust
        estimate = np.asarray((estimate + trust * explained) / certainty, np.float32)
    terms = _terms(weights, _log(maps.albedo.mean(axis=2)), ALIKE_ALBEDO)
    return np.clip(_solve(estimate[..., None], certainty[..., None], terms)[..., 0], 0, 1)


def explain_highlight(maps: Maps, light: Floats, points: Floats) -> Floats:
    """(h, w): the roughness at which each pixel, and those next to it, would look most like the photo."""
    exposure = fit_exposure(light, shade(maps, points, AT_CAMERA))
    errors = [
        _error(replace(maps, roughness=np.full_like(maps.roughness, each)), light, points, exposure)
        for each in CANDIDATES
    ]
    return np.asarray(CANDIDATES[np.argmin(errors, axis=0)], np.float32)


def _error(maps: Maps, light: Floats, points: Floats, exposure: float) -> Floats:
    shown = np.minimum(exposure * shade(maps, points, AT_CAMERA), 1)
    squared = ((_log(shown) - _log(light)) ** 2).mean(axis=2)
    return np.asarray(cv2.blur(squared, (5, 5)), np.float32)


def highlight(maps: Maps, points: Floats) -> Floats:
    """(h, w) in 0..1: the distribution of microfacets towards the camera, and the flash beside it, over its peak."""
    facing = np.clip((maps.normal * unit(-points)).sum(axis=2), 0, 1)
    alpha_squared = np.maximum(maps.roughness, 0.1) ** 4
    return np.asarray((alpha_squared / (facing**2 * (alpha_squared - 1) + 1)) ** 2, np.float32)


def _terms(weights: Weights, guide: Floats, alike: float, seen: Floats | None = None) -> list[Term]:
    sigma_px = max(1.0, weights.sigma * max(guide.shape))
    terms: list[Term] = []
    if weights.near > 0:
        terms.append((weights.near, lambda values: _near(values, sigma_px)))
    if weights.alike > 0:
        grid = BilateralGrid.of(guide, sigma_px=sigma_px, sigma_guide=alike, weights=seen)
        terms.append((weights.alike, grid.mean))
    return terms


def _near(values: Floats, sigma_px: float) -> Floats:
    blurred = cv2.GaussianBlur(values, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32).reshape(values.shape)


def _solve(estimate: Floats, certainty: Floats | float, terms: Sequence[Term]) -> Floats:
    """Jacobi steps, (h, w, c)."""
    values, total = estimate, certainty + sum(weight for weight, _ in terms)
    for _ in range(STEPS if terms else 0):
        pulled = sum((weight * mean(values) for weight, mean in terms), certainty * estimate)
        values = np.asarray(pulled / total, np.float32)
    return values


def _log(values: Floats) -> Floats:
    return np.asarray(np.log(values + np.float32(FAINTEST)), np.float32)


def _steepness(albedo: Floats) -> Floats:
    """(h, w): the gradient of the albedo's logarithm."""
    logs = _log(albedo.mean(axis=2))
    across, down = (cv2.Sobel(logs, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    return np.asarray(np.hypot(across, down), np.float32)
