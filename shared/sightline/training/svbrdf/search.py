"""The service's processing around the network, and a search for the refinement's coefficients on validation photos."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from sightline.materials.base_colour import BaseColourModel, estimate_base_colour
from sightline.materials.maps import SurfaceMaps, mean_maps, mirrored_maps, mirrored_view
from sightline.materials.refinement import Coefficients, SmoothnessWeights, refine, refine_albedo, refine_normal
from sightline.training.svbrdf.evaluate import Case, Estimator, Maps
from sightline.training.svbrdf.flash import Floats

CandidateT = TypeVar("CandidateT")

log = logging.getLogger(__name__)
STRENGTHS = (0.0, 0.5, 1.0, 2.0, 4.0)
SIGMAS = (0.01, 0.03)
PEAKS = (0.0, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Mirrored:
    """An estimator applied to the photo and its mirror image, as in the service; the photo itself gives the type, both
    the probabilities."""

    estimate: Estimator

    def __call__(self, photo: Floats, coordinates: Floats) -> Maps:
        maps = self.estimate(photo, coordinates)
        light, places = mirrored_view(photo, coordinates.transpose(1, 2, 0))
        other = self.estimate(light, np.ascontiguousarray(places.transpose(2, 0, 1)))
        mean = _with_surface(maps, mean_maps(_surface(maps), mirrored_maps(_surface(other))))
        if maps.probabilities is None or other.probabilities is None:
            return mean
        shares = np.asarray((maps.probabilities + other.probabilities) / 2, np.float32)
        return replace(mean, probabilities=shares)


@dataclass(frozen=True, slots=True)
class Coloured:
    """An estimator followed by the base colour model."""

    estimate: Estimator
    colours: BaseColourModel

    def __call__(self, photo: Floats, coordinates: Floats) -> Maps:
        maps, points = self.estimate(photo, coordinates), _points(coordinates)
        if maps.probabilities is None:
            return maps
        found = estimate_base_colour(self.colours, _surface(maps), photo, points, maps.probabilities)
        return _with_surface(maps, found)


@dataclass(frozen=True, slots=True)
class Refined:
    """An estimator followed by the refinement."""

    estimate: Estimator
    coefficients: Coefficients

    def __call__(self, photo: Floats, coordinates: Floats) -> Maps:
        maps = self.estimate(photo, coordinates)
        return _with_surface(maps, refine(_surface(maps), photo, _points(coordinates), self.coefficients))


@dataclass(frozen=True, slots=True, eq=False)
class Estimated:
    """A photo with its estimated and true maps."""

    maps: SurfaceMaps
    light: Floats
    points: Floats
    truth: SurfaceMaps


def search(estimate: Estimator, cases: Iterable[Case]) -> Coefficients:
    """Coefficients with the least error of each map: first albedo, then normals, then roughness given the refined
    others."""
    known = [
        Estimated(
            _surface(estimate(case.photo, case.coordinates)),
            case.photo,
            _points(case.coordinates),
            _surface(case.truth),
        )
        for case in cases
    ]
    albedo = _best(weights(), lambda each: _albedo_error(known, each), "albedo")
    known = [
        replace(each, maps=replace(each.maps, albedo=refine_albedo(each.maps, each.light, albedo))) for each in known
    ]
    normal = _best(weights(), lambda each: _normal_error(known, each), "normal")
    known = [replace(each, maps=replace(each.maps, normal=refine_normal(each.maps, normal))) for each in known]
    peak = _best(PEAKS, lambda each: _roughness_error(known, Coefficients(peak=each)), "peak")
    roughness = _best(
        weights(), lambda each: _roughness_error(known, Coefficients(roughness=each, peak=peak)), "roughness"
    )
    return Coefficients(albedo, normal, roughness, peak)


def weights() -> Iterator[SmoothnessWeights]:
    """No smoothing, every strength of either kind at every reach, and both kinds together."""
    yield SmoothnessWeights()
    for sigma in SIGMAS:
        for strength in STRENGTHS[1:]:
            yield SmoothnessWeights(spatial=strength, sigma=sigma)
            yield SmoothnessWeights(bilateral=strength, sigma=sigma)
            yield SmoothnessWeights(spatial=strength / 2, bilateral=strength / 2, sigma=sigma)


def _best(candidates: Iterable[CandidateT], error_of: Callable[[CandidateT], float], name: str) -> CandidateT:
    errors = [(error_of(each), each) for each in candidates]
    error, best = min(errors, key=lambda pair: pair[0])
    log.info("%s: error %.5f with %s, %.5f without", name, error, best, errors[0][0])
    return best


def _albedo_error(known: Sequence[Estimated], weights: SmoothnessWeights) -> float:
    return _mean(_rmse(refine_albedo(each.maps, each.light, weights), each.truth.albedo) for each in known)


def _normal_error(known: Sequence[Estimated], weights: SmoothnessWeights) -> float:
    return _mean(_rmse(refine_normal(each.maps, weights), each.truth.normal) for each in known)


def _roughness_error(known: Sequence[Estimated], coefficients: Coefficients) -> float:
    return _mean(
        _rmse(refine(each.maps, each.light, each.points, coefficients).roughness, each.truth.roughness)
        for each in known
    )


def _surface(maps: Maps) -> SurfaceMaps:
    values = maps.maps
    return SurfaceMaps(values[..., :3], values[..., 3:6], values[..., 6], maps.metallic)


def _with_surface(maps: Maps, surface: SurfaceMaps) -> Maps:
    values = np.dstack([surface.albedo, surface.normal, surface.roughness])
    return replace(maps, maps=values, metallic=surface.metallic)


def _points(coordinates: Floats) -> Floats:
    """Points (h, w, 3) on the plane z = -1 of coordinates (2, h, w)."""
    return np.dstack([*coordinates, -np.ones_like(coordinates[0])])


def _rmse(a: Floats, b: Floats) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def _mean(errors: Iterable[float]) -> float:
    return float(np.mean(list(errors)))
