"""Training samples: a badly exposed photo, the good photo, and the scene where it is known."""

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.imaging.colour_spaces.transfer_functions import decode_srgb
from sightline.networks.drht import compress
from sightline.training.data import Arrays
from sightline.training.hdr_correct.cameras import Linear, random_camera
from sightline.training.hdr_correct.pairs import PairStore
from sightline.training.hdr_correct.scenes import MAX_LIGHT, HdrSceneStore, good_photo
from sightline.training.photos import PhotoStore, Picture

WHITE = 100.0
"""Value of the white of a well-exposed photo in the scenes that the network estimates."""
CLIPPED = 250
WELL_EXPOSED_MEAN = (0.22, 0.66)
MAX_CLIPPED_SHARE = 0.06
MAX_CRUSHED_SHARE = 0.25
CRUSHED = 8
TRIES = 12
MIN_FRAME_SHARE = 0.7
WELL_EXPOSED_SHARE = 0.85

PixelT = TypeVar("PixelT", np.uint8, np.float32)


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one training step.

    photo and target: (b, 3, h, w) sRGB in 0..1; compressed: (b, 3, h, w), the expected output of the first half; known:
    (b, 1, h, w), 1 where the scene is known.
    """

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
    """Makes samples from well-exposed photos and, in the given shares of cases, from HDR scenes and real pairs."""

    photos: PhotoStore
    scenes: HdrSceneStore | None
    pairs: PairStore | None
    crop_px: int
    scene_share: float = 0.2
    pair_share: float = 0.4

    def __call__(self, rng: np.random.Generator) -> Arrays:
        if self.pairs is not None and rng.random() < self.pair_share:
            return self._from_pair(rng, self.pairs)
        if self.scenes is not None and rng.random() < self.scene_share:
            scene, target, known = self._from_scene(rng, self.scenes)
        else:
            target = self._good(rng)
            scene, known = scene_of(target)
        photo = random_camera(rng).shoot(scene, rng)
        return photo, target, np.minimum(scene, MAX_LIGHT).astype(np.float16), known

    def _from_pair(self, rng: np.random.Generator, pairs: PairStore) -> Arrays:
        pair, seed = pairs[int(rng.integers(len(pairs)))], int(rng.integers(2**32))
        photo, target = (random_frame(np.random.default_rng(seed), each, self.crop_px) for each in pair)
        scene, known = scene_of(target)
        return photo, target, scene.astype(np.float16), known

    def _from_scene(self, rng: np.random.Generator, scenes: HdrSceneStore) -> tuple[Linear, Picture, NDArray[np.uint8]]:
        stored = scenes[int(rng.integers(len(scenes)))]
        scene = random_frame(rng, stored.astype(np.float32), self.crop_px)
        return scene, good_photo(scene), np.ones(scene.shape[:2], np.uint8)

    def _good(self, rng: np.random.Generator) -> Picture:
        """Well exposed, but for some pictures as they come: pages and things on white are meant to be clipped."""
        for _ in range(TRIES if rng.random() < WELL_EXPOSED_SHARE else 1):
            frame = random_frame(rng, self.photos[int(rng.integers(len(self.photos)))], self.crop_px)
            if is_well_exposed(frame):
                break
        return frame


def scene_of(target: Picture) -> tuple[Linear, NDArray[np.uint8]]:
    """The scene of a good photo, and a mask (h, w), 1 where the photo is not clipped and the scene therefore known."""
    known = np.asarray((target < CLIPPED).all(axis=2), np.uint8)
    return decode_srgb(target.astype(np.float32) / 255), known


def is_well_exposed(photo: Picture) -> bool:
    """True for a usable target: neither dark nor pale, with few crushed or clipped pixels."""
    low, high = WELL_EXPOSED_MEAN
    crushed, clipped = (photo < CRUSHED).all(axis=2).mean(), (photo > CLIPPED).any(axis=2).mean()
    return bool(low < photo.mean() / 255 < high and clipped < MAX_CLIPPED_SHARE and crushed < MAX_CRUSHED_SHARE)


def random_frame(rng: np.random.Generator, picture: NDArray[PixelT], size_px: int) -> NDArray[PixelT]:
    """Most of a picture, stretched to (size, size, 3) and mirrored in half of the cases: the right brightness of a
    place depends on the whole picture."""
    height, width = (round(length * rng.uniform(MIN_FRAME_SHARE, 1)) for length in picture.shape[:2])
    top, left = int(rng.integers(picture.shape[0] - height + 1)), int(rng.integers(picture.shape[1] - width + 1))
    window = picture[top : top + height, left : left + width]
    how = cv2.INTER_AREA if min(height, width) >= size_px else cv2.INTER_LINEAR
    frame = cv2.resize(window, (size_px, size_px), interpolation=how)
    return np.ascontiguousarray(frame[:, ::-1] if rng.random() < 0.5 else frame, picture.dtype)
