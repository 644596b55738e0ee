"""Pictures whose class is their colour, from several sources."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.api.screening import Category
from sightline.training.hra_screening.examples import Example, read_examples

COLOURS = {Category.ARMS: (230, 30, 30), Category.ENVIRONMENT: (30, 230, 30), Category.NO_VIOLATION: (30, 30, 230)}
SOURCES = ("one", "two", "three", "four", "five", "six")


def draw(path: Path, category: Category, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    texture = cv2.resize(rng.normal(0, 25, (6, 8, 3)).astype(np.float32), (64, 48), interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(np.array(COLOURS[category]) + texture, 0, 255).astype(np.uint8)
    cv2.imwrite(str(path), pixels[..., ::-1])


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes, eighteen pictures each; the sources `five` and `six` are of the split val alone."""
    folder = tmp_path_factory.mktemp("hra")
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "class", "split", "source_repo"])
        for at in range(54):
            category, source = list(COLOURS)[at % 3], SOURCES[at // 9]
            name = f"images/{category}/{at:02}.png"
            draw(folder / name, category, at)
            writer.writerow([name, category, "val" if source in ("five", "six") else "train", source])
    return folder


@pytest.fixture(scope="session")
def examples(data: Path) -> list[Example]:
    return read_examples(data)
