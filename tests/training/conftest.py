from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny networks gain nothing from threads, and on a busy machine the threads wait for one another."""
    torch.set_num_threads(1)


def draw_photo(seed: int, height: int = 80, width: int = 96) -> NDArray[np.uint8]:
    """A smooth gradient with some discs: structure that a network can learn in seconds."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.float32)
    photo = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)
    for _ in range(4):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(photo, centre, int(rng.integers(5, 20)), rng.integers(0, 256, 3).tolist(), -1)
    return photo


@pytest.fixture
def photo_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(12):
        cv2.imwrite(str(folder / f"{seed:02}.png"), draw_photo(seed)[..., ::-1])
    return folder


@pytest.fixture
def photo() -> NDArray[np.uint8]:
    return draw_photo(0)
