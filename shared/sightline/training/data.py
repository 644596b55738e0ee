"""Endless training samples, each a function of the seed and its number."""

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

MIN_CROP_SHARE = 0.6

Arrays = tuple[NDArray[Any], ...]
Make = Callable[[np.random.Generator], Arrays]
"""A function that makes one random sample; picklable, because loader processes call it."""


class Samples(Dataset[Arrays]):
    """Data set whose sample i is a function of (seed, i), so that a resumed job continues with the next samples."""

    def __init__(self, make: Make, *, seed: int, start: int, step: int) -> None:
        self.make, self.seed = make, seed
        self.start, self.step = start, step

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, at: int) -> Arrays:
        return self.make(np.random.default_rng((self.seed, self.start + at * self.step)))


def batches(samples: Samples, batch_size: int, *, workers: int = 1) -> Iterator[list[Tensor]]:
    """Yields batches without end, in order, with one tensor for each array of a sample. Pixels are not converted, so
    that they pass between processes as bytes."""
    loader: DataLoader[list[Tensor]] = DataLoader(
        samples,  # type: ignore[arg-type] # its items become tensors on the way
        batch_size,
        sampler=range(len(samples)),
        num_workers=workers,
        worker_init_fn=_one_thread,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        # Without a generator the loader draws from torch's global one, whose state a resumed run restores.
        generator=torch.Generator(),
    )
    return iter(loader)


def random_crop(rng: np.random.Generator, photo: NDArray[np.uint8], crop_px: int) -> NDArray[np.uint8]:
    """A random square of the picture, resized to (crop, crop, 3) and mirrored in half of the cases."""
    height, width = photo.shape[:2]
    longest = min(height, width)
    side = int(rng.integers(min(longest, int(crop_px * MIN_CROP_SHARE)), longest + 1))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    square = photo[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > crop_px else cv2.INTER_CUBIC
    crop = cv2.resize(square, (crop_px, crop_px), interpolation=how)
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop, np.uint8)


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
