from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.api.screening import CATEGORIES, Category
from sightline.cli.screening.journal import FileResult

MakeFinding = Callable[..., FileResult]


def draw(path: Path, seed: int, *, height: int = 48, width: int = 64) -> Path:
    """A picture unlike those of other seeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Five pictures in folders, a copy of one, a broken file, an empty one, and a text."""
    folder = tmp_path / "pictures"
    for seed, name in enumerate(["a.png", "b.jpg", "deep/c.png", "deep/er/d.webp", "e.png"]):
        draw(folder / name, seed)
    (folder / "z copy.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def make_file_result() -> MakeFinding:
    def make(
        file: str = "a.png", most_likely: Category = Category.ARMS, chance: float = 0.9, **more: object
    ) -> FileResult:
        rest = (1 - chance) / (len(CATEGORIES) - 1)
        return FileResult.model_validate(
            {
                "file": file,
                "size_bytes": 10,
                "modified_ns": 1,
                "sha256": "0" * 64,
                "decision": most_likely,
                "most_likely": most_likely,
                "threshold": 0.85,
                "probabilities": {name: chance if name == most_likely else rest for name in CATEGORIES},
                **more,
            }
        )

    return make
