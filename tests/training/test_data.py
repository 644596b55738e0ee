from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.training.data import Arrays, Samples, batches, random_crop


@dataclass(frozen=True)
class Numbers:
    """Samples of one number and its double."""

    high: int = 1_000_000

    def __call__(self, rng: np.random.Generator) -> Arrays:
        number = rng.integers(self.high, size=1)
        return number, 2 * number


def test_resumed_samples_continue_where_the_run_stopped() -> None:
    whole = Samples(Numbers(), seed=0, start=0, step=1)
    resumed = Samples(Numbers(), seed=0, start=5, step=1)

    assert whole[7] == resumed[2]
    assert whole[7] != whole[8]


def test_workers_share_the_samples_without_overlap() -> None:
    alone = [Samples(Numbers(), seed=0, start=0, step=1)[at] for at in range(4)]
    pair = [Samples(Numbers(), seed=0, start=rank, step=2)[at] for at in range(2) for rank in range(2)]

    assert alone == pair


def test_loader_process_gives_the_same_batches() -> None:
    samples = Samples(Numbers(), seed=0, start=0, step=1)

    here, there = (next(batches(samples, 3, workers=workers)) for workers in (0, 1))

    assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))
    assert torch.equal(here[1], 2 * here[0])
    assert here[0].shape == (3, 1)


def test_crops_have_the_asked_size_from_any_photo(photo: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)

    assert all(random_crop(rng, photo[:high], 48).shape == (48, 48, 3) for high in (20, 48, 80))
