from pathlib import Path

import numpy as np
import OpenEXR
import pytest

from sightline.training.hdr_correct.cameras import Linear
from sightline.training.hdr_correct.scene_evaluation import ESTIMATORS, compare_scenes
from sightline.training.photos import Picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    y, x = np.mgrid[:120, :170] / 170
    scene = np.dstack([0.05 + x, 0.2 + y, 0.1 + x * y]).astype(np.float32)
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, {"RGB": scene}) as file:
        file.write(str(tmp_path / "scene.exr"))
    return tmp_path


def test_scene_is_known_where_the_photo_is_not_clipped(folder: Path) -> None:
    figures = _figures(compare_scenes({"linearized": ESTIMATORS["linearized"]}, folder))

    assert max(figures, key=lambda group: figures[group][0]) == "+0 EV"
    # A photo two stops too dark shows the scene but for its brightness.
    assert figures["-2 EV"][1] > figures["-2 EV"][0] + 5


def test_estimators_are_told_apart(folder: Path) -> None:
    def black(photo: Picture) -> Linear:
        return np.zeros(photo.shape, np.float32)

    table = compare_scenes({"black": black, **ESTIMATORS}, folder)

    methods = [line.split("|")[2].strip() for line in table.splitlines()[2:5]]
    assert methods == ["black", "linearized", "linearized_gamma"]


def _figures(table: str) -> dict[str, tuple[float, float]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {row[0].split(" (")[0]: (float(row[2]), float(row[3])) for row in rows}
