"""Training samples: a random crop of a random photo and an irregular mask for it."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.training.data import random_crop
from sightline.training.inpaint.masks import irregular_mask
from sightline.training.photos import PhotoStore

HOLE_SHARE = (0.02, 0.65)
SHARE_WIDTH = 0.1


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one training step: image (b, 3, h, w) in 0..1; valid (b, 1, h, w), 1 = known, 0 = hole."""

    image: Tensor
    valid: Tensor

    @classmethod
    def of(cls, photos: Tensor, holes: Tensor) -> "Batch":
        """photos: (b, h, w, 3) uint8; holes: (b, h, w) uint8, 1 = hole."""
        return cls(photos.permute(0, 3, 1, 2).float() / 255, 1 - holes.unsqueeze(1).float())

    def to(self, device: torch.device) -> "Batch":
        image = self.image.to(device, non_blocking=True, memory_format=torch.channels_last)
        return Batch(image, self.valid.to(device, non_blocking=True))


@dataclass(frozen=True, slots=True)
class HoledPhotos:
    """Makes samples: (crop, crop, 3) uint8 pixels and (crop, crop) uint8 holes."""

    photos: PhotoStore
    crop_px: int

    def __call__(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        photo = self.photos[int(rng.integers(len(self.photos)))]
        return random_crop(rng, photo, self.crop_px), random_mask(rng, self.crop_px)


def random_mask(rng: np.random.Generator, size_px: int) -> NDArray[np.uint8]:
    low = float(rng.uniform(HOLE_SHARE[0], HOLE_SHARE[1] - SHARE_WIDTH))
    try:
        return irregular_mask(rng, size_px, (low, low + SHARE_WIDTH))
    except ValueError:
        return irregular_mask(rng, size_px, (0.0, 1.0))
