"""From small maps to maps of the photo's size, whose fine detail is the photo's.

A guided filter (He, Sun: "Fast Guided Filter", 2015, arXiv:1505.00996): over small windows each map is a linear
function of the photo's brightness on a logarithmic scale, fitted where both are known and applied to the full photo.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from services.svbrdf.light import LinearPhoto
from sightline.materials.maps import Floats, SurfaceMaps, unit

WINDOW_PX = 7
FAINTEST = 4e-3
ALBEDO_NOISE, OTHER_NOISE = 1e-3, 0.05
"""Contrast of the guide below which it says nothing: little for colours, which its texture has; more for relief and
gloss, which it only hints at."""
STEEPEST = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class DetailedMaps:
    """slopes and offsets: (h, w, 6), for the logarithm of the albedo's three channels, the surface's slopes in x and y,
    and roughness."""

    slopes: Floats
    offsets: Floats
    metallic: float

    def bands(self, photo: LinearPhoto) -> Iterator[tuple[slice, SurfaceMaps]]:
        """Rows and their maps, from top to bottom of a photo of any size."""
        for rows in photo.bands():
            slopes, offsets = (_sampled(part, photo, rows) for part in (self.slopes, self.offsets))
            yield rows, _maps(slopes * _guide(photo.light(rows)) + offsets, self.metallic)

    def whole(self, photo: LinearPhoto) -> SurfaceMaps:
        parts = [maps for _, maps in self.bands(photo)]
        albedo, normal, roughness = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("albedo", "normal", "roughness")
        )
        return SurfaceMaps(albedo, normal, roughness, self.metallic)


def fit_detail(maps: SurfaceMaps, light: Floats) -> DetailedMaps:
    """Maps and the photo's light (h, w, 3), both small."""
    guide, target = _guide(light), _target(maps)
    guide_mean, target_mean = _blurred(guide), _blurred(target)
    shared = _blurred(guide * target) - guide_mean * target_mean
    spread = np.maximum(_blurred(guide * guide) - guide_mean**2, 0)
    noise = np.array([ALBEDO_NOISE] * 3 + [OTHER_NOISE] * 3, np.float32)
    slopes = shared / (spread + noise)
    return DetailedMaps(_blurred(slopes), _blurred(target_mean - slopes * guide_mean), maps.metallic)


def _guide(light: Floats) -> Floats:
    """(h, w, 6): each channel for its own, their mean for the rest."""
    logs = np.log(light + np.float32(FAINTEST))
    grey = np.repeat(np.log(light.mean(axis=2, keepdims=True) + np.float32(FAINTEST)), 3, axis=2)
    return np.concatenate([logs, grey], 2)


def _target(maps: SurfaceMaps) -> Floats:
    slopes = maps.normal[..., :2] / np.maximum(maps.normal[..., 2:], 1 / STEEPEST)
    return np.concatenate([np.log(maps.albedo + FAINTEST), slopes, maps.roughness[..., None]], 2).astype(np.float32)


def _maps(values: Floats, metallic: float) -> SurfaceMaps:
    albedo = np.clip(np.exp(np.minimum(values[..., :3], 0.5)) - FAINTEST, 0, 1)
    slopes = np.clip(values[..., 3:5], -STEEPEST, STEEPEST)
    normal = unit(np.concatenate([slopes, np.ones_like(slopes[..., :1])], 2))
    return SurfaceMaps(np.asarray(albedo, np.float32), normal, np.clip(values[..., 5], 0, 1), metallic)


def _blurred(values: Floats) -> Floats:
    return np.asarray(cv2.blur(values, (WINDOW_PX, WINDOW_PX), borderType=cv2.BORDER_REFLECT), np.float32)


def _sampled(small: Floats, photo: LinearPhoto, rows: slice) -> Floats:
    """The rows of what `small` is at the photo's size."""
    height, width = small.shape[:2]
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * height / photo.height - 0.5
    x = (np.arange(photo.width, dtype=np.float32) + 0.5) * width / photo.width - 0.5
    across, down = np.meshgrid(x, y)
    parts = [
        cv2.remap(np.ascontiguousarray(part), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for part in np.dsplit(small, 2)
    ]
    return np.concatenate(parts, 2).astype(np.float32)
