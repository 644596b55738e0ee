"""Training samples: a badly exposed photo, the good one, and the scene where it is known."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.networks.drht import compress
from sightline.training.data import Arrays, random_crop
from sightline.training.hdr_correct.cameras import Linear, decode_srgb, random_camera
from sightline.training.hdr_correct.scenes import SceneStore, good_photo
from sightline.training.photos import PhotoStore, Picture

WHITE = 100.0
"""What the white of a well-exposed photo is in the scenes that the network estimates."""
CLIPPED = 250
WELL_EXPOSED_MEAN = (0.22, 0.66)
MAX_CLIPPED_SHARE = 0.06
MAX_CRUSHED_SHARE = 0.25
CRUSHED = 8
TRIES = 12


@dataclass(frozen=True, slots=True)
class Batch:
    """photo and target: (b, 3, h, w) sRGB in 0..1; compressed: (b, 3, h, w), the scene as the first half should
    estimate it; known: (b, 1, h, w), 1 where the scene is known."""

    photo: Tensor
    target: Tensor
    compressed: Tensor
    known: Tensor

    @classmethod
    def of(cls, photos: Tensor, targets: Tensor, scenes: Tensor, known: Tensor) -> "Batch":
        """(b, h, w, 3) uint8, the same, (b, h, w, 3) float16 with white at 1, and (b, h, w) uint8."""
        photo, target = (pixels.permute(0, 3, 1, 2).float() / 255 for pixels in (photos, targets))
        compressed = compress(WHITE * scenes.permute(0, 3, 1, 2).float())
        return cls(photo, target, compressed, known.unsqueeze(1).float())

    def to(self, device: torch.device) -> "Batch":
        photo = self.photo.to(device, non_blocking=True, memory_format=torch.channels_last)
        rest = (part.to(device, non_blocking=True) for part in (self.target, self.compressed, self.known))
        return Batch(photo, *rest)


@dataclass(frozen=True, slots=True)
class BadlyExposed:
    """Makes samples from well-exposed photos and, in the given share of cases, from HDR scenes."""

    photos: PhotoStore
    scenes: SceneStore | None
    crop_px: int
    scene_share: float = 0.25

    def __call__(self, rng: np.random.Generator) -> Arrays:
        if self.scenes is not None and rng.random() < self.scene_share:
            scene, target, known = self._from_scene(rng, self.scenes)
        else:
            scene, target, known = self._from_photo(rng)
        photo = random_camera(rng).shoot(scene, rng)
        return photo, target, np.minimum(scene, 60_000).astype(np.float16), known

    def _from_photo(self, rng: np.random.Generator) -> tuple[Linear, Picture, NDArray[np.uint8]]:
        """The photo is its own target; where it is clipped nobody knows the scene."""
        target = self._well_exposed(rng)
        known = np.asarray((target < CLIPPED).all(axis=2), np.uint8)
        return decode_srgb(target.astype(np.float32) / 255), target, known

    def _from_scene(self, rng: np.random.Generator, scenes: SceneStore) -> tuple[Linear, Picture, NDArray[np.uint8]]:
        stored = scenes[int(rng.integers(len(scenes)))]
        scene = random_window(rng, stored.astype(np.float32), self.crop_px)
        return scene, good_photo(scene), np.ones(scene.shape[:2], np.uint8)

    def _well_exposed(self, rng: np.random.Generator) -> Picture:
        for _ in range(TRIES):
            crop = random_crop(rng, self.photos[int(rng.integers(len(self.photos)))], self.crop_px)
            if is_well_exposed(crop):
                break
        return crop


def is_well_exposed(photo: Picture) -> bool:
    """Whether it may serve as a target: neither dark nor pale, and little of it crushed or clipped."""
    low, high = WELL_EXPOSED_MEAN
    crushed, clipped = (photo < CRUSHED).all(axis=2).mean(), (photo > CLIPPED).any(axis=2).mean()
    return bool(low < photo.mean() / 255 < high and clipped < MAX_CLIPPED_SHARE and crushed < MAX_CRUSHED_SHARE)


def random_window(rng: np.random.Generator, scene: Linear, size_px: int) -> Linear:
    """A square of random size out of a scene, resized to (size, size, 3)."""
    longest = min(scene.shape[:2])
    side = int(rng.integers(min(longest, int(0.6 * longest)), longest + 1))
    top, left = (int(rng.integers(length - side + 1)) for length in scene.shape[:2])
    square = scene[top : top + side, left : left + side]
    resized = cv2.resize(square, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(resized[:, ::-1] if rng.random() < 0.5 else resized)
