"""Training samples of the base colour model: evidence at pixels of simulated flash photos, with the true colours.

The photos differ from those of the network in three ways. Some surfaces are metal in parts, as rivets and worn paint
are. Many have one plain colour, so that brightness in the photo is relief and gloss. And a photo is exposed by the
surface's brightness in part, as cameras do, so that the brightness of the photo tells of that of the surface.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from sightline.materials.base_colour import collect_evidence, grey_card_level
from sightline.materials.maps import Floats, SurfaceMaps, unit
from sightline.networks.rendering import Surface
from sightline.networks.svbrdf_net import METAL
from sightline.training.svbrdf.data import as_surface, mixed, random_view, unit_normals, varied
from sightline.training.svbrdf.evaluate import Estimator
from sightline.training.svbrdf.flash import random_flash, random_window
from sightline.training.svbrdf.materials import MaterialStore, TrainingMaterial

SIZE_PX = 256
PIXELS = 384
"""Pixels that are kept of a photo: neighbours tell little more."""
METAL_SHARE, MIXED_SHARE, PARTLY_SHARE, PLAIN_SHARE, TINTED_SHARE = 0.35, 0.2, 0.4, 0.7, 0.5
GREY = 0.18
METERING = (0.4, 1.0)
"""Exponent of the surface's brightness in that of the photo: 0 exposes all surfaces equally, 1 all by one setting."""
EXPOSURE_SPREAD = 0.35


@dataclass(frozen=True, slots=True, eq=False)
class ColourSample:
    """features (n, FEATURES), fills (n, 9), albedo (n, 3) and metallic (n, 1) at n pixels of one photo."""

    features: Floats
    fills: Floats
    albedo: Floats
    metallic: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PartlyMetal:
    """A surface. maps: (h, w, 7) as in `MaterialView`; metallic: (h, w)."""

    maps: Floats
    metallic: Floats


def draw_samples(rng: np.random.Generator, materials: MaterialStore, estimate: Estimator) -> Iterator[ColourSample]:
    """Yields samples of random surfaces without end."""
    while True:
        surface = draw_surface(rng, materials)
        coordinates = random_window(rng).coordinates(SIZE_PX, SIZE_PX)
        yield make_sample(rng, surface, photograph(rng, surface, coordinates), coordinates, estimate)


def make_sample(
    rng: np.random.Generator, surface: PartlyMetal, photo: Floats, coordinates: Floats, estimate: Estimator
) -> ColourSample:
    """The evidence of a photo (h, w, 3) at random pixels of half its resolution."""
    found, points = estimate(photo, coordinates), np.dstack([*coordinates, -np.ones_like(coordinates[0])])
    if found.probabilities is None:
        raise ValueError("the base colour model needs a network with material types")
    values = found.maps
    maps = SurfaceMaps(values[..., :3], unit(values[..., 3:6]), values[..., 6], found.metallic)
    evidence = collect_evidence(maps, photo, points, found.probabilities)
    half = (SIZE_PX // 2, SIZE_PX // 2)
    truth, metallic = (
        cv2.resize(each, half, interpolation=cv2.INTER_AREA) for each in (surface.maps[..., :3], surface.metallic)
    )
    chosen = rng.choice(truth.shape[0] * truth.shape[1], PIXELS, replace=False)
    parts = (evidence.features, evidence.fills, truth, metallic)
    return ColourSample(*(np.asarray(each, np.float32).reshape(truth.shape[0] ** 2, -1)[chosen] for each in parts))


def draw_surface(rng: np.random.Generator, materials: MaterialStore) -> PartlyMetal:
    """A random surface: of one material, a blend of two, or one in places and the other elsewhere."""
    first = _draw(rng, materials)
    view = random_view(rng, first, SIZE_PX)
    surface = PartlyMetal(_recoloured(rng, view.maps), np.full((SIZE_PX, SIZE_PX), view.metallic, np.float32))
    kind = rng.random()
    if kind < MIXED_SHARE:
        other = random_view(rng, _draw(rng, materials), SIZE_PX)
        both = mixed(
            replace(view, maps=surface.maps), replace(other, maps=_recoloured(rng, other.maps)), rng.uniform(0.5, 1)
        )
        return PartlyMetal(both.maps, np.full_like(surface.metallic, both.metallic))
    if kind < MIXED_SHARE + PARTLY_SHARE:
        return _partly(rng, surface, materials)
    return surface


def _partly(rng: np.random.Generator, surface: PartlyMetal, materials: MaterialStore) -> PartlyMetal:
    other = _draw(rng, materials)
    for _ in range(2):  # three of four pairs are metal and something else then
        if (other.metallic > 0.5) != (surface.metallic[0, 0] > 0.5):
            break
        other = _draw(rng, materials)
    mask = random_mask(rng, SIZE_PX)
    maps = _recoloured(rng, random_view(rng, other, SIZE_PX).maps)
    metallic = (1 - mask) * surface.metallic + mask * np.float32(other.metallic)
    return PartlyMetal(unit_normals((1 - mask[..., None]) * surface.maps + mask[..., None] * maps), metallic)


def _draw(rng: np.random.Generator, materials: MaterialStore) -> TrainingMaterial:
    wants_metal = rng.random() < METAL_SHARE
    drawn = materials.draw(rng)
    for _ in range(30 if wants_metal else 0):
        if drawn.type == METAL:
            break
        drawn = materials.draw(rng)
    return drawn


def _recoloured(rng: np.random.Generator, maps: Floats) -> Floats:
    """The maps with other colours than the training material's, which the network knows."""
    changed = varied(rng, maps)
    logs = np.log(np.clip(changed[..., :3], 4e-3, 1))
    if rng.random() < PLAIN_SHARE:
        mean = logs.mean(axis=(0, 1), keepdims=True)
        logs = mean + (logs - mean) * rng.uniform(0, 0.5)
    if rng.random() < TINTED_SHARE:
        grey, tint = logs.mean(axis=2, keepdims=True), rng.normal(0, 0.35, 3)
        logs = grey + (logs - grey) * rng.uniform(0.2, 2.2) + (tint - tint.mean()) * rng.uniform(0, 1.5)
    changed[..., :3] = np.clip(np.exp(logs + rng.normal(-0.25, 0.4)), 4e-3, 0.97)
    return changed


def random_mask(rng: np.random.Generator, size_px: int) -> Floats:
    """Returns the share (size, size), 0..1, of a surface's second material: blots, rivets or stripes."""
    kind = int(rng.integers(3))
    if kind == 0:
        noise = rng.standard_normal((size_px, size_px)).astype(np.float32)
        blurred = cv2.GaussianBlur(noise, (0, 0), float(np.exp(rng.uniform(np.log(1.5), np.log(40)))))
        noise = np.asarray((blurred - blurred.mean()) / blurred.std(), np.float32)
        edge = np.quantile(noise, rng.uniform(0.15, 0.85))
        return np.asarray(np.clip((noise - edge) / rng.uniform(0.02, 0.4) + 0.5, 0, 1), np.float32)
    mask = _rivets(rng, size_px) if kind == 1 else _stripes(rng, size_px)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), float(rng.uniform(0.4, 1.5))), np.float32)
    return 1 - mask if rng.random() < 0.3 else mask


def _rivets(rng: np.random.Generator, size_px: int) -> Floats:
    mask, pitch, angle = np.zeros((size_px, size_px), np.float32), rng.uniform(24, 110), rng.uniform(0, np.pi)
    radius, flatness, offset = pitch * rng.uniform(0.08, 0.35), rng.uniform(0.4, 1), rng.uniform(0, pitch, 2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for row, column in np.ndindex(26, 26):
        centre = turn @ ((np.array([row, column]) - 12) * pitch) + size_px / 2 + offset + rng.normal(0, pitch * 0.05, 2)
        if (centre > -radius).all() and (centre < size_px + radius).all():
            box = (
                (float(centre[0]), float(centre[1])),
                (2 * radius, 2 * radius * flatness),
                float(np.degrees(angle)) + 30,
            )
            cv2.ellipse(mask, box, (1.0,), -1, cv2.LINE_AA)
    return mask


def _stripes(rng: np.random.Generator, size_px: int) -> Floats:
    pitch, angle = rng.uniform(14, 120), rng.uniform(0, np.pi)
    y, x = np.indices((size_px, size_px))
    return np.asarray(((x * np.cos(angle) + y * np.sin(angle)) / pitch) % 1 < rng.uniform(0.1, 0.9), np.float32)


def photograph(rng: np.random.Generator, surface: PartlyMetal, coordinates: Floats) -> Floats:
    """A random flash photo (h, w, 3), linear light in 0..1, whose exposure depends on the surface's brightness."""
    plain = as_surface(torch.from_numpy(surface.maps)[None], torch.from_numpy(surface.metallic)[None])
    lit = Surface(plain.albedo, plain.normal, plain.roughness, plain.metallic)
    flash = random_flash(rng)
    light = flash.reach_camera(lit, torch.from_numpy(coordinates)[None])
    points = np.dstack([*coordinates, -np.ones_like(coordinates[0])])
    brightness = np.exp(np.log(light.mean(axis=2) + 1e-4).mean()) / grey_card_level(points)
    share = np.clip(brightness, 0.01, 0.9) / GREY
    exposure = GREY * share ** rng.uniform(*METERING) * np.exp(rng.normal(0, EXPOSURE_SPREAD))
    return replace(flash, exposure=float(exposure)).develop(light, rng)
