"""Refinement of maps: smoothing that keeps the edges of the photo, and roughness from the highlight.

Three dense conditional random fields with terms for the microfacet model, after Li, Sunkavalli, Chandraker: "Materials
for Masses", ECCV 2018, arXiv:1804.05790. All terms are quadratic: they penalise the
distance from the network's estimate and differences between near pixels, or near pixels with similar guide values.
Jacobi steps find the minimum.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from sightline.materials.bilateral_grid import BilateralGrid
from sightline.materials.maps import Floats, SurfaceMaps, unit
from sightline.materials.rendering import AT_CAMERA, CLIPPED, fit_exposure, shade

JACOBI_STEPS = 5
LOG_OFFSET = 4e-3
ROUGHNESS_CANDIDATES = np.linspace(0.1, 1.0, 13).astype(np.float32)

Mean = Callable[[Floats], Floats]
Term = tuple[float, Mean]


@dataclass(frozen=True, slots=True)
class SmoothnessWeights:
    """Weights of the pairwise terms of one field, relative to 1 for the network's estimate.

    spatial: weight of differences between near pixels; bilateral: of those between near pixels with similar guide
    values; sigma: standard deviation of the distance in both, as a share of the picture's longer side.
    """

    spatial: float = 0.0
    bilateral: float = 0.0
    sigma: float = 0.02


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Weights of the three fields.

    The guide is the photo's brightness for albedo, the albedo's gradient for normals, and the albedo for roughness.

    peak: weight of the roughness fitted to the highlight, where the highlight is strongest.
    """

    albedo: SmoothnessWeights = field(default_factory=SmoothnessWeights)
    normal: SmoothnessWeights = field(default_factory=SmoothnessWeights)
    roughness: SmoothnessWeights = field(default_factory=SmoothnessWeights)
    peak: float = 0.0


SHIPPED = Coefficients(
    albedo=SmoothnessWeights(bilateral=0.5, sigma=0.03),
    roughness=SmoothnessWeights(spatial=2.0, bilateral=2.0, sigma=0.03),
)
"""Result of `sightline evaluate svbrdf --search-px 256`, where neither smoother normals nor the roughness of the
highlight lowered the error."""

SIGMA_BRIGHTNESS, SIGMA_GRADIENT, SIGMA_ALBEDO = 0.25, 0.1, 0.25
"""Standard deviations of the bilateral kernels over the guides, in natural logarithms."""


def refine(maps: SurfaceMaps, light: Floats, points: Floats, coefficients: Coefficients) -> SurfaceMaps:
    """Refined maps from estimated maps, the photo's light and the surface's points, all (h, w, ...)."""
    albedo = refine_albedo(maps, light, coefficients.albedo)
    normal = refine_normal(replace(maps, albedo=albedo), coefficients.normal)
    refined = replace(maps, albedo=albedo, normal=normal)
    return replace(
        refined, roughness=refine_roughness(refined, light, points, coefficients.roughness, coefficients.peak)
    )


def refine_albedo(maps: SurfaceMaps, light: Floats, weights: SmoothnessWeights) -> Floats:
    """Smoothed albedo (h, w, 3); clipped pixels of the photo do not count as neighbours."""
    unclipped = np.asarray((light < CLIPPED).all(axis=2), np.float32)
    guide = _log(np.asarray(light.mean(axis=2), np.float32))
    return np.clip(_solve(maps.albedo, 1.0, _terms(weights, guide, SIGMA_BRIGHTNESS, unclipped)), 0, 1)


def refine_normal(maps: SurfaceMaps, weights: SmoothnessWeights) -> Floats:
    """Smoothed normals (h, w, 3)."""
    return unit(_solve(maps.normal, 1.0, _terms(weights, _steepness(maps.albedo), SIGMA_GRADIENT)))


def refine_roughness(
    maps: SurfaceMaps, light: Floats, points: Floats, weights: SmoothnessWeights, peak: float
) -> Floats:
    """Smoothed roughness (h, w), with that of the highlight at the weight `peak`."""
    estimate, certainty = maps.roughness, np.ones_like(maps.roughness)
    if peak > 0:
        trust = peak * highlight(maps, points)
        fitted = fit_highlight(maps, light, points)
        certainty = 1 + trust
        estimate = np.asarray((estimate + trust * fitted) / certainty, np.float32)
    terms = _terms(weights, _log(maps.albedo.mean(axis=2)), SIGMA_ALBEDO)
    return np.clip(_solve(estimate[..., None], certainty[..., None], terms)[..., 0], 0, 1)


def fit_highlight(maps: SurfaceMaps, light: Floats, points: Floats) -> Floats:
    """Roughness (h, w) at which a render of each pixel and its neighbours is most similar to the photo."""
    exposure = fit_exposure(light, shade(maps, points, AT_CAMERA))
    errors = [
        _error(replace(maps, roughness=np.full_like(maps.roughness, each)), light, points, exposure)
        for each in ROUGHNESS_CANDIDATES
    ]
    return np.asarray(ROUGHNESS_CANDIDATES[np.argmin(errors, axis=0)], np.float32)


def _error(maps: SurfaceMaps, light: Floats, points: Floats, exposure: float) -> Floats:
    shown = np.minimum(exposure * shade(maps, points, AT_CAMERA), 1)
    squared = ((_log(shown) - _log(light)) ** 2).mean(axis=2)
    return np.asarray(cv2.blur(squared, (5, 5)), np.float32)


def highlight(maps: SurfaceMaps, points: Floats) -> Floats:
    """Strength of the highlight (h, w) in 0..1: the microfacet distribution towards camera and flash over its peak."""
    facing = np.clip((maps.normal * unit(-points)).sum(axis=2), 0, 1)
    alpha_squared = np.maximum(maps.roughness, 0.1) ** 4
    return np.asarray((alpha_squared / (facing**2 * (alpha_squared - 1) + 1)) ** 2, np.float32)


def _terms(
    weights: SmoothnessWeights, guide: Floats, sigma_guide: float, pixel_weights: Floats | None = None
) -> list[Term]:
    sigma_px = max(1.0, weights.sigma * max(guide.shape))
    terms: list[Term] = []
    if weights.spatial > 0:
        terms.append((weights.spatial, lambda values: _spatial_mean(values, sigma_px)))
    if weights.bilateral > 0:
        grid = BilateralGrid.build(guide, sigma_px=sigma_px, sigma_guide=sigma_guide, weights=pixel_weights)
        terms.append((weights.bilateral, grid.mean))
    return terms


def _spatial_mean(values: Floats, sigma_px: float) -> Floats:
    blurred = cv2.GaussianBlur(values, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32).reshape(values.shape)


def _solve(estimate: Floats, certainty: Floats | float, terms: Sequence[Term]) -> Floats:
    """The minimum (h, w, c), by Jacobi steps."""
    values, total = estimate, certainty + sum(weight for weight, _ in terms)
    for _ in range(JACOBI_STEPS if terms else 0):
        pulled = sum((weight * mean(values) for weight, mean in terms), certainty * estimate)
        values = np.asarray(pulled / total, np.float32)
    return values


def _log(values: Floats) -> Floats:
    return np.asarray(np.log(values + np.float32(LOG_OFFSET)), np.float32)


def _steepness(albedo: Floats) -> Floats:
    """Gradient (h, w) of the albedo's logarithm."""
    logs = _log(albedo.mean(axis=2))
    across, down = (cv2.Sobel(logs, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    return np.asarray(np.hypot(across, down), np.float32)
