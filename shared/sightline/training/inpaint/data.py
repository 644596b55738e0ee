"""Training samples: a random crop of a random photo and an irregular mask for it."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sightline.training.inpaint.masks import irregular_mask
from sightline.training.photos import PhotoStore

HOLE_SHARE = (0.02, 0.65)
SHARE_WIDTH = 0.1
SMALLEST_CROP = 0.6


@dataclass(frozen=True, slots=True)
class Batch:
    """image: (b, 3, h, w) in 0..1; valid: (b, 1, h, w), 1 = known, 0 = hole."""

    image: Tensor
    valid: Tensor

    def to(self, device: torch.device) -> "Batch":
        image = self.image.to(device, non_blocking=True, memory_format=torch.channels_last)
        return Batch(image, self.valid.to(device, non_blocking=True))


class HoledPhotos(Dataset[tuple[NDArray[np.uint8], NDArray[np.uint8]]]):
    """Sample i is a function of (seed, i) alone, so that a resumed job goes on with the samples it had not seen."""

    def __init__(self, photos: PhotoStore, crop_px: int, *, seed: int, start: int, step: int) -> None:
        self.photos, self.crop_px, self.seed = photos, crop_px, seed
        self.start, self.step = start, step

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, at: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        rng = np.random.default_rng((self.seed, self.start + at * self.step))
        photo = self.photos[int(rng.integers(len(self.photos)))]
        return random_crop(rng, photo, self.crop_px), random_mask(rng, self.crop_px)


def random_crop(rng: np.random.Generator, photo: NDArray[np.uint8], crop_px: int) -> NDArray[np.uint8]:
    """A square of random size, resized to (crop, crop, 3) and mirrored half of the time."""
    height, width = photo.shape[:2]
    longest = min(height, width)
    side = int(rng.integers(min(longest, int(crop_px * SMALLEST_CROP)), longest + 1))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    square = photo[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > crop_px else cv2.INTER_CUBIC
    crop = cv2.resize(square, (crop_px, crop_px), interpolation=how)
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop, np.uint8)


def random_mask(rng: np.random.Generator, size_px: int) -> NDArray[np.uint8]:
    low = float(rng.uniform(HOLE_SHARE[0], HOLE_SHARE[1] - SHARE_WIDTH))
    try:
        return irregular_mask(rng, size_px, (low, low + SHARE_WIDTH))
    except ValueError:
        return irregular_mask(rng, size_px, (0.0, 1.0))


def collate(samples: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(np.stack([image for image, _ in samples])).permute(0, 3, 1, 2)
    holes = torch.from_numpy(np.stack([mask for _, mask in samples])).unsqueeze(1)
    return images, holes


def batches(dataset: HoledPhotos, batch_size: int, *, workers: int = 1) -> Iterator[Batch]:
    """Endless batches in the dataset's order; pixels travel between processes as uint8."""
    loader = DataLoader(
        dataset,
        batch_size,
        sampler=range(len(dataset)),
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=_one_thread,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
    )
    for images, holes in loader:
        yield Batch(images.float() / 255, 1 - holes.float())


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
