from pathlib import Path

import numpy as np
import pytest

from sightline.training.hdr_correct.cameras import Linear
from sightline.training.hdr_correct.scenes import HdrSceneStore, pack_scenes
from sightline.training.photos import PhotoStore, list_photos, pack_photos


@pytest.fixture
def panorama() -> Linear:
    """A sky with a sun of 14 stops above the ground, east of the middle."""
    rng = np.random.default_rng(0)
    panorama = rng.uniform(0.02, 0.3, (64, 128, 3)).astype(np.float32)
    panorama[:32] += np.array([0.4, 0.6, 1.0], np.float32)
    panorama[20:22, 96:98] = 5000
    return panorama


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> PhotoStore:
    pack_photos(list_photos(photo_folder), tmp_path / "store", short_side_px=64)
    return PhotoStore(tmp_path / "store")


@pytest.fixture
def scenes(panorama: Linear, tmp_path: Path) -> HdrSceneStore:
    pack_scenes([panorama, panorama[:, :64]], tmp_path / "scenes")
    return HdrSceneStore(tmp_path / "scenes")
