from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sightline.training.inpaint.data import HoledPhotos, batches, random_crop
from sightline.training.photos import PhotoStore, list_photos, pack_photos


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> PhotoStore:
    pack_photos(list_photos(photo_folder), tmp_path / "store", short_side_px=64)
    return PhotoStore(tmp_path / "store")


def test_batches_hold_pictures_and_validity(photos: PhotoStore) -> None:
    batch = next(batches(HoledPhotos(photos, 32, seed=0, start=0, step=1), 4, workers=0))

    assert batch.image.shape == (4, 3, 32, 32)
    assert batch.valid.shape == (4, 1, 32, 32)
    assert 0 <= batch.image.min() < batch.image.max() <= 1
    assert set(batch.valid.unique().tolist()) == {0, 1}


def test_a_resumed_job_goes_on_with_the_samples_it_had_not_seen(photos: PhotoStore) -> None:
    whole = HoledPhotos(photos, 32, seed=0, start=0, step=1)
    resumed = HoledPhotos(photos, 32, seed=0, start=5, step=1)

    assert all(np.array_equal(a, b) for a, b in zip(whole[7], resumed[2], strict=True))
    assert not np.array_equal(whole[7][0], whole[8][0])


def test_workers_share_the_samples_without_overlap(photos: PhotoStore) -> None:
    alone = [HoledPhotos(photos, 32, seed=0, start=0, step=1)[at][0] for at in range(4)]
    pair = [HoledPhotos(photos, 32, seed=0, start=rank, step=2)[at][0] for at in range(2) for rank in range(2)]

    assert all(np.array_equal(a, b) for a, b in zip(alone, pair, strict=True))


def test_a_loader_process_gives_the_same_batches(photos: PhotoStore) -> None:
    dataset = HoledPhotos(photos, 32, seed=0, start=0, step=1)

    here, there = (next(batches(dataset, 2, workers=workers)) for workers in (0, 1))

    assert torch.equal(here.image, there.image)
    assert torch.equal(here.valid, there.valid)


def test_crops_have_the_asked_size_from_any_photo(photo: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(0)

    assert all(random_crop(rng, photo[:high], 48).shape == (48, 48, 3) for high in (20, 48, 80))
