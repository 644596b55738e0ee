from pathlib import Path

import cv2
import numpy as np
import torch

from sightline.networks.drht import compress
from sightline.training.data import Samples, batches
from sightline.training.hdr_correct.data import CLIPPED, WHITE, BadlyExposed, Batch, is_well_exposed
from sightline.training.hdr_correct.pairs import PairStore, list_pairs, pack_pairs
from sightline.training.hdr_correct.scenes import HdrSceneStore
from sightline.training.photos import PhotoStore


def test_photos_are_their_own_targets_and_scenes(photos: PhotoStore) -> None:
    photo, target, scene, known = BadlyExposed(photos, None, None, 32)(np.random.default_rng(1))

    assert photo.shape == target.shape == scene.shape == (32, 32, 3)
    assert not np.array_equal(photo, target)
    assert np.array_equal(known == 1, (target < CLIPPED).all(axis=2))
    assert scene.max() <= 1


def test_scenes_are_known_above_white(photos: PhotoStore, scenes: HdrSceneStore) -> None:
    make = BadlyExposed(photos, scenes, None, 32, scene_share=1)
    samples = [make(np.random.default_rng(seed)) for seed in range(6)]

    assert max(scene.max() for _, _, scene, _ in samples) > 10
    assert all(known.all() for *_, known in samples)


def test_batches_hold_pictures_and_compressed_scenes(photos: PhotoStore, scenes: HdrSceneStore) -> None:
    samples = Samples(BadlyExposed(photos, scenes, None, 32), seed=0, start=0, step=1)

    batch = Batch.of(*next(batches(samples, 4, workers=0)))

    assert batch.photo.shape == batch.target.shape == batch.compressed.shape == (4, 3, 32, 32)
    assert batch.known.shape == (4, 1, 32, 32)
    assert 0 <= batch.target.min() < batch.target.max() <= 1
    white = compress(torch.tensor(WHITE))
    assert batch.compressed.min() >= 0
    assert batch.compressed[:, :, :, :].median() < white


def test_real_pairs_keep_their_places(photos: PhotoStore, tmp_path: Path) -> None:
    y, x = np.mgrid[:60, :80].astype(np.uint8)
    good = np.dstack([x, y, x + y])
    for name, pixels in (("low/a.png", good // 2), ("high/a.png", good)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), pixels)
    pack_pairs(list_pairs(tmp_path), tmp_path / "packed", short_side_px=60)
    make = BadlyExposed(photos, None, PairStore(tmp_path / "packed"), 32, pair_share=1)

    photo, target, scene, known = make(np.random.default_rng(3))

    np.testing.assert_allclose(2.0 * photo, target, atol=3)
    assert scene.shape == (32, 32, 3)
    assert known.all()


def test_only_well_exposed_photos_are_targets() -> None:
    rng = np.random.default_rng(0)
    good = rng.integers(60, 190, (32, 32, 3), dtype=np.uint8)

    assert is_well_exposed(good)
    assert not is_well_exposed(good // 4)
    assert not is_well_exposed((128 + good // 2).astype(np.uint8))
    clipped = good.copy()
    clipped[:8] = 255
    assert not is_well_exposed(clipped)
