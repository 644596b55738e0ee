"""Fixed flash photos of held-out materials, and errors of estimated maps."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.networks.rendering import plane_points, render
from sightline.networks.svbrdf_net import TYPES
from sightline.training.metrics import ssim
from sightline.training.photos import Picture, read_rgb
from sightline.training.svbrdf.data import LINEAR, as_surface, linear_maps, photograph, random_view, unit_normals
from sightline.training.svbrdf.flash import Floats, whole_window
from sightline.training.svbrdf.materials import PUBLISHED, UNKNOWN, TrainingMaterial, metal_pixels, read_materials
from sightline.training.tables import Figures, Row, make_rows

FOV_DEG = 60.0
LIGHTS = 10
PHOTO = "flash.jpg"
BRIGHTNESSES = np.exp(np.linspace(-2.5, 2.5, 51)).astype(np.float32)
MAX_LIGHT_DISTANCE = 0.9  # from the middle of the surface, of a light at distance 1


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Maps of a surface.

    maps: (h, w, 7): linear base colour, unit normals with y up, roughness; metallic: (h, w) in 0..1; type: the index
    in `TYPES`, or UNKNOWN; probabilities: (8,) of the types, of an estimate.
    """

    maps: Floats
    metallic: Floats
    type: int = UNKNOWN
    probabilities: Floats | None = None


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
    return Case(photo, coordinates, Maps(maps, plain(material.metallic, maps), material.type))


def plain(metallic: float, maps: Floats) -> Floats:
    """One metallicness (h, w) for all pixels of the maps."""
    return np.full(maps.shape[:2], metallic, np.float32)


def photographed_cases(folder: Path) -> list[Case]:
    """The published test materials with the flash photo that was published with each, `flash.jpg`.

    Their exposure is that of their authors' renderer, and metallicness differs from pixel to pixel: a pixel is metal
    where `specular` reflects more than dielectrics do.
    """
    materials = read_materials(folder, "test", PUBLISHED)
    return [_photographed(folder / each.name, each) for each in materials if (folder / each.name / PHOTO).exists()]


def _photographed(folder: Path, material: TrainingMaterial) -> Case:
    maps = unit_normals(linear_maps(material.maps))
    height, width = maps.shape[:2]
    light = cv2.resize(LINEAR[read_rgb(folder / PHOTO)], (width, height), interpolation=cv2.INTER_AREA)
    photo = np.asarray(light, np.float32)
    metallic = np.asarray(metal_pixels(folder), np.float32)
    return Case(photo, whole_window(FOV_DEG).coordinates(height, width), Maps(maps, metallic, material.type))


def figures_of(estimate: Maps, case: Case) -> Figures:
    """Errors of each map, and of renders under lights other than the photo's; lower is better, except for SSIM."""
    wrong, right = estimate.maps, case.truth.maps
    cosine = np.clip((wrong[..., 3:6] * right[..., 3:6]).sum(axis=2), -1, 1)
    pairs = list(zip(novel_renders(estimate, case), novel_renders(case.truth, case), strict=True))
    return {
        "albedo_rmse": _rmse(wrong[..., :3], right[..., :3]),
        "colour_rmse": _rmse(encode_srgb(wrong[..., :3]), encode_srgb(right[..., :3])),
        "colour_best": best_scale_rmse(wrong[..., :3], right[..., :3]),
        "metallic_rmse": _rmse(estimate.metallic, case.truth.metallic),
        "normal_l2": float(np.mean((wrong[..., 3:6] - right[..., 3:6]) ** 2)),
        "normal_deg": float(np.degrees(np.arccos(cosine)).mean()),
        "roughness_mae": float(np.abs(wrong[..., 6] - right[..., 6]).mean()),
        "roughness_rmse": _rmse(wrong[..., 6], right[..., 6]),
        "render_rmse": float(np.mean([_rmse(a / 255, b / 255) for a, b in pairs])),
        "render_ssim": float(np.mean([ssim(a, b) for a, b in pairs])),
    }


def best_scale_rmse(estimate: Floats, truth: Floats) -> float:
    """Error in sRGB of linear colours at the brightness of the estimate that fits best: that of the pattern alone."""
    right = encode_srgb(truth)
    return min(_rmse(encode_srgb(np.clip(scale * estimate, 0, 1)), right) for scale in BRIGHTNESSES)


def novel_renders(maps: Maps, case: Case) -> list[Picture]:
    """sRGB pictures under ten lights around the surface."""
    surface = as_surface(torch.from_numpy(maps.maps)[None], torch.from_numpy(maps.metallic)[None])
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
