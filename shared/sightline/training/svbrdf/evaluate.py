"""Fixed flash photos of held-out materials, and errors of estimated maps."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.networks.rendering import plane_points, render
from sightline.networks.svbrdf_net import TYPES
from sightline.training.metrics import ssim
from sightline.training.photos import Picture
from sightline.training.svbrdf.data import as_surface, photograph, random_view
from sightline.training.svbrdf.flash import Floats, whole_window
from sightline.training.svbrdf.materials import UNKNOWN, TrainingMaterial
from sightline.training.tables import Figures, Row, make_rows

FOV_DEG = 60.0
LIGHTS = 10
MAX_LIGHT_DISTANCE = 0.9  # from the middle of the surface, of a light at distance 1


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Maps of a surface.

    maps: (h, w, 7): linear base colour, unit normals with y up, roughness; metallic: 0..1, of the whole; type: the
    index in `TYPES`, or UNKNOWN.
    """

    maps: Floats
    metallic: float
    type: int = UNKNOWN


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """photo: (h, w, 3) linear light in 0..1; coordinates: (2, h, w)."""

    photo: Floats
    coordinates: Floats
    truth: Maps


Estimator = Callable[[Floats, Floats], Maps]
"""Estimates maps from a photo and its coordinates."""


def make_cases(materials: Iterable[TrainingMaterial], *, size_px: int, per_material: int = 1) -> list[Case]:
    """Each material under random flashes; equal for equal seeds."""
    return [
        _make_case(material, size_px, seed=(at, shot))
        for at, material in enumerate(materials)
        for shot in range(per_material)
    ]


def _make_case(material: TrainingMaterial, size_px: int, *, seed: tuple[int, int]) -> Case:
    rng = np.random.default_rng(seed)
    maps = random_view(rng, material, size_px).maps
    coordinates = whole_window(FOV_DEG).coordinates(size_px, size_px)
    photo = photograph(rng, maps, material.metallic, coordinates)
    return Case(photo, coordinates, Maps(maps, material.metallic, material.type))


def figures_of(estimate: Maps, case: Case) -> Figures:
    """Errors of each map, and of renders under lights other than the photo's; lower is better, except for SSIM."""
    wrong, right = estimate.maps, case.truth.maps
    cosine = np.clip((wrong[..., 3:6] * right[..., 3:6]).sum(axis=2), -1, 1)
    pairs = list(zip(novel_renders(estimate, case), novel_renders(case.truth, case), strict=True))
    return {
        "albedo_rmse": _rmse(wrong[..., :3], right[..., :3]),
        "normal_l2": float(np.mean((wrong[..., 3:6] - right[..., 3:6]) ** 2)),
        "normal_deg": float(np.degrees(np.arccos(cosine)).mean()),
        "roughness_mae": float(np.abs(wrong[..., 6] - right[..., 6]).mean()),
        "roughness_rmse": _rmse(wrong[..., 6], right[..., 6]),
        "render_rmse": float(np.mean([_rmse(a / 255, b / 255) for a, b in pairs])),
        "render_ssim": float(np.mean([ssim(a, b) for a, b in pairs])),
    }


def novel_renders(maps: Maps, case: Case) -> list[Picture]:
    """sRGB pictures under ten lights around the surface."""
    surface = as_surface(torch.from_numpy(maps.maps)[None], torch.tensor([maps.metallic], dtype=torch.float32))
    points = plane_points(torch.from_numpy(case.coordinates)[None])
    pictures = [render(surface, points, torch.from_numpy(light)[None])[0] for light in novel_lights()]
    return [np.rint(255 * encode_srgb(each.permute(1, 2, 0).clamp(0, 1).numpy())).astype(np.uint8) for each in pictures]


def novel_lights() -> Floats:
    """Positions (10, 3) on a spiral over the hemisphere about the point (0, 0, -1), at distance 1."""
    across = MAX_LIGHT_DISTANCE * np.sqrt((np.arange(LIGHTS) + 0.5) / LIGHTS)
    azimuth = np.pi * (3 - 5**0.5) * np.arange(LIGHTS)
    place = [across * np.cos(azimuth), across * np.sin(azimuth), np.sqrt(1 - across**2) - 1]
    return np.stack(place, 1).astype(np.float32)


def compare(estimators: dict[str, Estimator], cases: Sequence[Case]) -> list[Row]:
    """Figures of every method on every case, in rows by type of material, then by method; all types together last."""
    figures = {
        name: [figures_of(estimate(case.photo, case.coordinates), case) for case in cases]
        for name, estimate in estimators.items()
    }
    by_type = make_rows(cases, lambda case: type_name(case.truth.type), figures)
    return by_type + make_rows(cases, lambda _: "all", figures)


def type_name(at: int) -> str:
    return "other" if at == UNKNOWN else TYPES[at]


def type_accuracy(estimate: Estimator, cases: Sequence[Case]) -> float:
    """Share of correct types among the materials of known type."""
    known = [case for case in cases if case.truth.type != UNKNOWN]
    return float(np.mean([estimate(case.photo, case.coordinates).type == case.truth.type for case in known]))


def _rmse(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean((a.astype(np.float64) - b) ** 2)))
