"""Refinement of maps: smoothing that keeps the edges of the photo, and roughness from the highlight.

Three dense conditional random fields with terms for the microfacet model, after Li, Sunkavalli, Chandraker: "Materials
for Masses", ECCV 2018, arXiv:1804.05790. All terms are quadratic: an estimate costs by its distance from the network's,
and by its differences from near pixels and from near pixels that are alike. Jacobi steps find the minimum.
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
    """Weights of the pairwise terms of one field, against 1 for the network's estimate.

    spatial: of differences between near pixels; bilateral: between near pixels that are alike in the guide; sigma: the
    reach of both, in shares of the picture's longer side.
    """

    spatial: float = 0.0
    bilateral: float = 0.0
    sigma: float = 0.02


@dataclass(frozen=True, slots=True)
class Coefficients:
    """Weights of the three fields.

    The guide is the photo's brightness for albedo, the albedo's gradient for normals, and the albedo for roughness.

    peak: weight of the roughness that explains the highlight best, where the highlight is strongest.
    """

    albedo: SmoothnessWeights = field(default_factory=SmoothnessWeights)
    normal: SmoothnessWeights = field(default_factory=SmoothnessWeights)
    roughness: SmoothnessWeights = field(default_factory=SmoothnessWeights)
    peak: float = 0.0


SHIPPED = Coefficients(
    albedo=SmoothnessWeights(bilateral=0.5, sigma=0.03),
    roughness=SmoothnessWeights(spatial=2.0, bilateral=2.0, sigma=0.03),
)
"""What `sightline evaluate svbrdf --search-px 256` found; neither smoother normals nor the roughness of the highlight
helped there."""

SIGMA_BRIGHTNESS, SIGMA_GRADIENT, SIGMA_ALBEDO = 0.25, 0.1, 0.25
"""Standard deviations of the bilateral kernels over the guides, in natural logarithms."""


def refine(maps: SurfaceMaps, light: Floats, points: Floats, coefficients: Coefficients) -> SurfaceMaps:
    """Refined maps, from maps, the photo's light and the surface's points, (h, w, ...) of one size."""
    albedo = refine_albedo(maps, light, coefficients.albedo)
    normal = refine_normal(replace(maps, albedo=albedo), coefficients.normal)
    bent = replace(maps, albedo=albedo, normal=normal)
    return replace(bent, roughness=refine_roughness(bent, light, points, coefficients.roughness, coefficients.peak))


def refine_albedo(maps: SurfaceMaps, light: Floats, weights: SmoothnessWeights) -> Floats:
    """(h, w, 3): the albedo smoothed; clipped pixels of the photo are no neighbours."""
    seen = np.asarray((light < CLIPPED).all(axis=2), np.float32)
    guide = _log(np.asarray(light.mean(axis=2), np.float32))
    return np.clip(_solve(maps.albedo, 1.0, _terms(weights, guide, SIGMA_BRIGHTNESS, seen)), 0, 1)


def refine_normal(maps: SurfaceMaps, weights: SmoothnessWeights) -> Floats:
    """(h, w, 3): the normals smoothed."""
    return unit(_solve(maps.normal, 1.0, _terms(weights, _steepness(maps.albedo), SIGMA_GRADIENT)))


def refine_roughness(
    maps: SurfaceMaps, light: Floats, points: Floats, weights: SmoothnessWeights, peak: float
) -> Floats:
    """(h, w): the roughness smoothed, towards that of the highlight by the weight `peak`."""
    estimate, certainty = maps.roughness, np.ones_like(maps.roughness)
    if peak > 0:
        trust = peak * highlight(maps, points)
        explained = explain_highlight(maps, light, points)
        certainty = 1 + trust
        estimate = np.asarray((estimate + trust * explained) / certainty, np.float32)
    terms = _terms(weights, _log(maps.albedo.mean(axis=2)), SIGMA_ALBEDO)
    return np.clip(_solve(estimate[..., None], certainty[..., None], terms)[..., 0], 0, 1)


def explain_highlight(maps: SurfaceMaps, light: Floats, points: Floats) -> Floats:
    """(h, w): the roughness at which each pixel, and those next to it, would look most like the photo."""
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
    """(h, w) in 0..1: the distribution of microfacets towards the camera, and the flash beside it, over its peak."""
    facing = np.clip((maps.normal * unit(-points)).sum(axis=2), 0, 1)
    alpha_squared = np.maximum(maps.roughness, 0.1) ** 4
    return np.asarray((alpha_squared / (facing**2 * (alpha_squared - 1) + 1)) ** 2, np.float32)


def _terms(weights: SmoothnessWeights, guide: Floats, sigma_guide: float, seen: Floats | None = None) -> list[Term]:
    sigma_px = max(1.0, weights.sigma * max(guide.shape))
    terms: list[Term] = []
    if weights.spatial > 0:
        terms.append((weights.spatial, lambda values: _spatial_mean(values, sigma_px)))
    if weights.bilateral > 0:
        grid = BilateralGrid.build(guide, sigma_px=sigma_px, sigma_guide=sigma_guide, weights=seen)
        terms.append((weights.bilateral, grid.mean))
    return terms


def _spatial_mean(values: Floats, sigma_px: float) -> Floats:
    blurred = cv2.GaussianBlur(values, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32).reshape(values.shape)


def _solve(estimate: Floats, certainty: Floats | float, terms: Sequence[Term]) -> Floats:
    """The minimum, (h, w, c), by Jacobi steps."""
    values, total = estimate, certainty + sum(weight for weight, _ in terms)
    for _ in range(JACOBI_STEPS if terms else 0):
        pulled = sum((weight * mean(values) for weight, mean in terms), certainty * estimate)
        values = np.asarray(pulled / total, np.float32)
    return values


def _log(values: Floats) -> Floats:
    return np.asarray(np.log(values + np.float32(LOG_OFFSET)), np.float32)


def _steepness(albedo: Floats) -> Floats:
    """(h, w): the gradient of the albedo's logarithm."""
    logs = _log(albedo.mean(axis=2))
    across, down = (cv2.Sobel(logs, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    return np.asarray(np.hypot(across, down), np.float32)
