"""Training samples: a flash photo of a part of a material, the positions of its pixels, and the maps."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.networks.rendering import Surface
from sightline.training.data import Arrays
from sightline.training.svbrdf.flash import Floats, random_flash, random_window
from sightline.training.svbrdf.materials import FLAT, UNKNOWN, MaterialStore, TrainingMaterial

MIN_CROP_SHARE = 0.35  # of a material's side that a crop shows
MIXED_SHARE = 0.3  # of the samples
CLEAR_SHARE = 0.75  # of a mixture, from which on it is of the type of its larger part
LINEAR = decode_srgb(np.arange(256) / 255).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one training step.

    photo: (b, 3, h, w) linear light in 0..1; coordinates: (b, 2, h, w); type: (b,), the index in `TYPES` or -1.
    """

    photo: Tensor
    coordinates: Tensor
    surface: Surface
    type: Tensor

    @classmethod
    def of(cls, photos: Tensor, coordinates: Tensor, maps: Tensor, metallic: Tensor, types: Tensor) -> "Batch":
        """(b, h, w, 3) float16, (b, 2, h, w), (b, h, w, 7) float16, (b,) and (b,)."""
        return cls(photos.permute(0, 3, 1, 2).float(), coordinates, as_surface(maps.float(), metallic), types)

    def to(self, device: torch.device) -> "Batch":
        photo = self.photo.to(device, non_blocking=True, memory_format=torch.channels_last)
        surface = self.surface
        parts = (surface.albedo, surface.normal, surface.roughness, surface.metallic)
        moved = Surface(*(part.to(device, non_blocking=True) for part in parts))
        return Batch(photo, self.coordinates.to(device), moved, self.type.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class MaterialView:
    """The part of a material in a photo.

    maps: (size, size, 7) of `linear_maps`; type and metallic as in `TrainingMaterial`.
    """

    maps: Floats
    type: int
    metallic: float


@dataclass(frozen=True, slots=True)
class Photographed:
    """Makes samples from randomly drawn materials, all types equally often."""

    materials: MaterialStore
    crop_px: int

    def __call__(self, rng: np.random.Generator) -> Arrays:
        view = random_view(rng, self.materials.draw(rng), self.crop_px)
        if rng.random() < MIXED_SHARE:
            other = random_view(rng, self.materials.draw(rng), self.crop_px)
            view = mixed(view, other, float(rng.uniform(0.5, 1)))
        maps = varied(rng, view.maps)
        coordinates = random_window(rng).coordinates(self.crop_px, self.crop_px)
        photo = photograph(rng, maps, view.metallic, coordinates)
        types, metallic = np.int64(view.type), np.float32(view.metallic)
        return photo.astype(np.float16), coordinates, maps.astype(np.float16), np.asarray(metallic), np.asarray(types)


def photograph(rng: np.random.Generator, maps: Floats, metallic: float, coordinates: Floats) -> Floats:
    """A random flash photo (h, w, 3) of the surface, linear light in 0..1."""
    surface = as_surface(torch.from_numpy(maps)[None], torch.tensor([metallic], dtype=torch.float32))
    return random_flash(rng).shoot(surface, torch.from_numpy(coordinates)[None], rng)


def as_surface(maps: Tensor, metallic: Tensor) -> Surface:
    """Surface of maps (b, h, w, 7) and metallic (b,), or (b, h, w) where it varies."""
    albedo, normal, roughness = maps.permute(0, 3, 1, 2).split((3, 3, 1), 1)
    return Surface(albedo, normal, roughness, metallic.view(-1, 1, 1, 1) if metallic.ndim == 1 else metallic[:, None])


def linear_maps(maps: NDArray[np.uint8]) -> Floats:
    """Maps (h, w, 7) of a `TrainingMaterial` as linear base colour, normals of length near 1, and roughness in 0..1."""
    linear = np.empty(maps.shape, np.float32)
    linear[..., :3] = LINEAR[maps[..., :3]]
    linear[..., 3:6] = maps[..., 3:6] * np.float32(1 / FLAT) - 1
    linear[..., 6:] = maps[..., 6:] * np.float32(1 / 255)
    return linear


def random_view(rng: np.random.Generator, material: TrainingMaterial, size_px: int) -> MaterialView:
    """A square of a material, rotated by any angle and mirrored in half of the cases."""
    height, width = material.maps.shape[:2]
    angle = float(rng.uniform(0, 2 * np.pi))
    room = min(height, width) / (abs(np.cos(angle)) + abs(np.sin(angle)))
    side = max(2, int(room * rng.uniform(MIN_CROP_SHARE, 1)))
    reach = side * (abs(np.cos(angle)) + abs(np.sin(angle))) / 2
    x, y = rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)
    view = turned(material.maps, angle, (float(x), float(y)), side)
    maps = resized(mirrored(view) if rng.random() < 0.5 else view, size_px)
    return MaterialView(maps, material.type, material.metallic)


def mixed(one: MaterialView, other: MaterialView, share: float) -> MaterialView:
    """A blend of both surfaces with `share` of the first, which multiplies few authored materials (Deschaintre et al.
    2018)."""
    maps = share * one.maps + (1 - share) * other.maps
    kind = one.type if share >= CLEAR_SHARE or one.type == other.type else UNKNOWN
    return MaterialView(unit_normals(maps), kind, share * one.metallic + (1 - share) * other.metallic)


def turned(maps: NDArray[np.uint8], angle: float, centre: tuple[float, float], side_px: int) -> Floats:
    """A square cut out at an angle; normals along the cut's rows in the source lie along x afterwards."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    offset = np.asarray(centre) - turn @ np.full(2, (side_px - 1) / 2)
    source = np.column_stack([turn, offset])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    parts = [
        cv2.warpAffine(part, source, (side_px, side_px), flags=how, borderMode=cv2.BORDER_REFLECT_101)
        for part in (maps[..., :3], maps[..., 3:6], maps[..., 6])
    ]
    cut = linear_maps(np.dstack(parts).astype(np.uint8))
    # Rows run downwards and y upwards, so rotating the picture rotates its vectors the other way.
    x, y = cut[..., 3].copy(), cut[..., 4].copy()
    cut[..., 3], cut[..., 4] = cos * x - sin * y, sin * x + cos * y
    return cut


def mirrored(maps: Floats) -> Floats:
    """The maps with left and right exchanged."""
    flipped = maps[:, ::-1].copy()
    flipped[..., 3] *= -1
    return flipped


def resized(maps: Floats, size_px: int) -> Floats:
    how = cv2.INTER_AREA if maps.shape[0] > size_px else cv2.INTER_LINEAR
    small = np.dstack([cv2.resize(part, (size_px, size_px), interpolation=how) for part in np.dsplit(maps, [4])])
    return unit_normals(np.asarray(small, np.float32))


def unit_normals(maps: Floats) -> Floats:
    normal = maps[..., 3:6]
    normal[..., 2] = np.maximum(normal[..., 2], 0.05)
    normal /= np.sqrt(np.einsum("hwc,hwc->hw", normal, normal))[..., None]
    return maps


def varied(rng: np.random.Generator, maps: Floats) -> Floats:
    """The maps with random brightness, tint, gloss and relief."""
    varied = maps.copy()
    tint = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.08, 3))
    varied[..., :3] = np.clip(maps[..., :3] * tint, 0.005, 0.98)
    varied[..., 3:5] *= np.float32(np.exp(rng.normal(-0.15, 0.4)))
    varied[..., 6] = np.clip(maps[..., 6] ** np.exp(rng.normal(0, 0.15)), 0.04, 1)
    return unit_normals(varied)
