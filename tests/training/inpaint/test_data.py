from itertools import starmap
from pathlib import Path

import numpy as np
import pytest

from sightline.training.data import Samples, batches
from sightline.training.inpaint.data import Batch, HoledPhotos
from sightline.training.photos import PhotoStore, list_photos, pack_photos


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> PhotoStore:
    pack_photos(list_photos(photo_folder), tmp_path / "store", short_side_px=64)
    return PhotoStore(tmp_path / "store")


def test_batches_hold_pictures_and_validity(photos: PhotoStore) -> None:
    samples = Samples(HoledPhotos(photos, 32), seed=0, start=0, step=1)
    batch = next(starmap(Batch.of, batches(samples, 4, workers=0)))

    assert batch.image.shape == (4, 3, 32, 32)
    assert batch.valid.shape == (4, 1, 32, 32)
    assert 0 <= batch.image.min() < batch.image.max() <= 1
    assert set(batch.valid.unique().tolist()) == {0, 1}


def test_batch_marks_holes_as_invalid(photos: PhotoStore) -> None:
    photo, hole = HoledPhotos(photos, 32)(np.random.default_rng(0))
    batch = Batch.of(*(next(batches(Samples(HoledPhotos(photos, 32), seed=0, start=0, step=1), 1, workers=0))))

    assert photo.shape == (32, 32, 3)
    assert set(np.unique(hole)) <= {0, 1}
    assert batch.valid.mean() < 1
